# Both main commands do their own set-up on a fresh Debian or Ubuntu with Go and make.
#   make demo   everything in one process: provider, SPA, services; prints one URL
#   make test   every test there is, against real Redis, real providers, a real browser

# The toolchain that go.mod asks for, also where the machine's default is to use only its own.
export GOTOOLCHAIN := go1.27.4
TOOL := go tool -modfile=tools/go.mod
LINT := go tool -modfile=$(CURDIR)/tools/lint/go.mod golangci-lint

.PHONY: demo test test-containers setup lint fuzz mutate build release

demo:
	go run ./cmd/cloakroom demo

build:
	VERSION="$$(git describe --tags --always --dirty)" COMMIT="$$(git rev-parse HEAD)" tools/build.sh bin/cloakroom

# Binaries for every platform, what they are made of, and checksums, into dist/.
release:
	tools/release.sh

test: setup lint
	node --test web/client/
	$(TOOL) gotestsum --format pkgname-and-test-fails -- -race -shuffle=on -timeout 12m ./...
	go -C deploy/helm/test test -shuffle=on ./...
	tools/fuzz.sh 10s FuzzTokenEndpoint FuzzVerify FuzzClientAssertion
	tools/containers.sh $(CONTAINERS)

# The image and the compose files: `present` tries them where a Docker engine answers and says so where none does; `required`
# starts an engine, as root, where none answers.
CONTAINERS ?= present
test-containers:
	tools/containers.sh required

# go vet and staticcheck among others: see .golangci.yml.
lint:
	$(LINT) run ./...
	cd deploy/helm/test && $(LINT) run ./...

setup:
	tools/setup.sh

# Each fuzz target for FUZZTIME; make test runs their seeds, and the three that read what services send for 10 s each.
FUZZTIME ?= 30s
fuzz:
	tools/fuzz.sh $(FUZZTIME)

# The tests' own test: changes the code of these rooms in each place where it decides, and counts what the tests let pass
# (docs/mutation.md). It takes an hour or two.
mutate:
	tools/mutate.sh token exchange
