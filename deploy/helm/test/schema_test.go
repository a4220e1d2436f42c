package chart

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the configuration's part of values.schema.json anew")

const schemaFile = folder + "/values.schema.json"

// reference is all that a secret may be in the values: they become a ConfigMap, and lie in a repository.
var reference = map[string]any{"type": "string", "pattern": `^\$\{[^}]+\}$`}

// part is one schema within another.
type part = map[string]any

// The chart refuses what `cloakroom config schema` refuses, so a misspelt key is found before anything is deployed.
func TestTheSchemaOfTheValuesHoldsTheSchemaOfTheConfiguration(t *testing.T) {
	raw, err := os.ReadFile("../../../cmd/cloakroom/config/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	product := parse(t, raw)
	plain(product)
	leaveToChart(product)
	referencesOnly(t, product)

	raw, err = os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	chart := parse(t, raw)
	definitions := chart["$defs"].(part)
	if *update {
		definitions["config"] = product
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", " ")
		if err := encoder.Encode(chart); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(schemaFile, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(product, definitions["config"]); diff != "" {
		t.Errorf("the configuration has changed; write the chart's part anew: go -C deploy/helm/test test -run TestTheSchemaOf -update\n%s", diff)
	}
}

func parse(t *testing.T, raw []byte) part {
	t.Helper()
	var out part
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// plain takes out what changes no decision, so that a better word in a description is no change of the chart.
func plain(value any) {
	switch v := value.(type) {
	case part:
		for key, inner := range v {
			_, text := inner.(string)
			_, list := inner.([]any)
			if key == "description" && text || key == "examples" && list || key == "$schema" && text {
				delete(v, key)
			} else {
				plain(inner)
			}
		}
	case []any:
		for _, inner := range v {
			plain(inner)
		}
	}
}

// leaveToChart takes out the keys that the chart sets, and demands what it cannot do without.
func leaveToChart(product part) {
	top := product["properties"].(part)
	for _, key := range []string{"secrets", "admin", "drain"} {
		delete(top, key)
	}
	for _, listener := range []string{"public", "internal"} {
		properties := top[listener].(part)["properties"].(part)
		delete(properties, "listen")
		if listener == "public" {
			delete(properties, "tls")
			continue
		}
		tls := properties["tls"].(part)["properties"].(part)
		delete(tls, "cert_file")
		delete(tls, "key_file")
	}
	product["required"] = []any{"public", "providers", "store"}
	top["store"].(part)["required"] = []any{"url"}
	top["providers"].(part)["minProperties"] = 1.0
	// Ingress, HTTPRoute and what is to be registered at the provider follow from it.
	top["public"].(part)["properties"].(part)["url"].(part)["pattern"] = "^https://[^$]+$"
}

// referencesOnly lets what the configuration's own schema marks as secret (writeOnly) be references alone: whatever its types hold as a
// secret.Text or a secret.Key. A URL that may hold a password may be written, without one.
func referencesOnly(t *testing.T, product part) {
	t.Helper()
	for _, url := range []part{property(t, product, "store", "url"), property(t, product, "providers", "*", "proxy")} {
		if !isSecret(url) {
			t.Fatal("a URL that may hold a password is no secret any more")
		}
		delete(url, "writeOnly")
		url["pattern"] = urlWithoutPassword
	}
	refer(product)
}

// urlWithoutPassword is anything without user information, or a URL whose password, if it has one, is a reference.
const urlWithoutPassword = `^[^@]*$|^[^:/@]+://([^/:@$]|\$\{[^}]+\})*(:\$\{[^}]+\})?@[^@]*$`

// property is the schema of a key within others; * is any key.
func property(t *testing.T, at part, path ...string) part {
	t.Helper()
	for _, key := range path {
		next, there := at["additionalProperties"].(part)
		if key != "*" {
			next, there = at["properties"].(part)[key].(part)
		}
		if !there {
			t.Fatalf("the configuration has no %s any more", strings.Join(path, "."))
		}
		at = next
	}
	return at
}

func isSecret(schema any) bool {
	p, _ := schema.(part)
	return p["writeOnly"] == true
}

// refer puts a reference in the place of each secret below.
func refer(schema any) {
	switch s := schema.(type) {
	case part:
		for key, inner := range s {
			if isSecret(inner) {
				s[key] = reference
			} else {
				refer(inner)
			}
		}
	case []any:
		for i, inner := range s {
			if isSecret(inner) {
				s[i] = reference
			} else {
				refer(inner)
			}
		}
	}
}

func TestTheValuesOfTheChartAreAllInItsSchemaAndItsValuesFile(t *testing.T) {
	raw, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	properties := parse(t, raw)["properties"].(part)
	delete(properties, "global") // Helm's own, of a chart that has this one in it
	defaults := defaultValues(t)
	var inSchema, inFile []string
	for key := range properties {
		inSchema = append(inSchema, key)
	}
	for key := range defaults {
		inFile = append(inFile, key)
	}
	slices.Sort(inSchema)
	slices.Sort(inFile)
	if diff := cmp.Diff(inSchema, inFile); diff != "" {
		t.Errorf("values.schema.json and values.yaml differ:\n%s", diff)
	}
}

func TestValuesThatWouldBeIgnoredAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ over, says string }{
		"an unknown value":                         {"replica: 3", "replica"},
		"an unknown value of a half":               {"browser: {replica: 3}", "replica"},
		"an unknown value within":                  {"ingress: {enable: true}", "enable"},
		"a misspelt key of the configuration":      {"config: {session: {idel: 5m}}", "idel"},
		"a listener's address":                     {`config: {public: {listen: ":9000"}}`, "listen"},
		"an admin section":                         {`config: {admin: {listen: "127.0.0.1:9090"}}`, "admin"},
		"a drain section":                          {"config: {drain: {delay: 1s}}", "drain"},
		"a certificate that the chart would mount": {"config: {internal: {tls: {cert_file: a, key_file: b}}}", "cert_file"},
		"no Secret":                                {"secret: {name: \"\"}", "/secret/name"},
		"no image":                                 {"image: {repository: \"\"}", "/image/repository"},
		"no certificate for the world":             {`config: {public: {url: "http://app.example.com"}}`, "/config/public/url"},
		"four secrets":                             {"secret: {seals: [a, b, c, d]}", "/secret/seals"},
		"memory without a limit":                   {"resources: {limits: {memory: null}}", "memory"},
		"GOMEMLIMIT beside the chart's":            {`env: {GOMEMLIMIT: {value: "1"}}`, "GOMEMLIMIT"},
		"an image of the app without a version":    {"spa: {image: {repository: app}}", "/spa/image"},
		"an HTTPRoute of no Gateway":               {"httpRoute: {enabled: true}", "parentRefs"},
		"a selector of its own for the spread":     {"topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: DoNotSchedule, labelSelector: {}}]", "labelSelector"},
		"another target for the app's route":       {`spa: {route: {upstream: "http://x"}}`, "/spa/route"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, values(t, "minimal", c.over), c.says)
		})
	}
}

func TestSecretsAreTakenByReferenceOnly(t *testing.T) {
	for name, over := range map[string]string{
		"the secrets":                          `config: {secrets: ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]}`,
		"the store's password":                 "config: {store: {password: hunter2}}",
		"a password in the store's URL":        `config: {store: {url: "redis://app:hunter2@redis:6379/0"}}`,
		"one that begins as a reference does":  `config: {store: {url: "redis://app:$hunter2@redis:6379/0"}}`,
		"one that only begins as one":          `config: {store: {url: "redis://app:${X}hunter2@redis:6379/0"}}`,
		"one that holds the URL's own signs":   `config: {store: {url: "redis://app:p@ss@redis:6379/0"}}`,
		"one without a user":                   `config: {store: {url: "redis://:hunter2@redis:6379/0"}}`,
		"one at the proxy":                     `config: {providers: {main: {proxy: "http://me:hunter2@proxy:3128"}}}`,
		"one at the collector of traces":       `config: {telemetry: {otlp_endpoint: "http://me:hunter2@collector:4318"}}`,
		"one at an upstream":                   `config: {routes: [{path: /, upstream: "http://me:hunter2@orders:9001"}]}`,
		"the Sentinels' password":              "config: {store: {sentinel_password: hunter2}}",
		"the secret at the provider":           "config: {providers: {main: {client_secret: hunter2}}}",
		"a secret that only ends as one":       `config: {providers: {main: {client_secret: "hunter2${X}"}}}`,
		"a client's secret":                    "config: {exchange: {clients: {a: {auth: {secret: hunter2}, audiences: [orders]}}}}",
		"one of a client's secrets":            `config: {exchange: {clients: {a: {auth: {secret: ["${A}", hunter2]}, audiences: [orders]}}}}`,
		"the key of pairwise subjects":         "config: {exchange: {pairwise_key: hunter2}}",
		"the secrets that signing keys are of": "config: {exchange: {signing: {secrets: [hunter2]}}}",
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, values(t, "minimal", over), "config")
		})
	}
	for name, over := range map[string]string{
		"a variable in the store's URL":   `config: {store: {url: "redis://app:${REDIS_PASSWORD}@redis:6379/0"}}`,
		"a file in the store's URL":       `config: {store: {url: "redis://${USER}:${file:/etc/cloakroom/files/redis/password}@redis:6379/0"}}`,
		"a user alone":                    `config: {store: {url: "redis://app@redis:6379/0", password: "${REDIS_PASSWORD}"}}`,
		"a variable":                      `config: {store: {password: "${REDIS_PASSWORD}"}}`,
		"a file":                          `config: {store: {password: "${file:/etc/cloakroom/files/redis/password}"}}`,
		"a proxy that asks for nothing":   `config: {providers: {main: {proxy: "http://proxy:3128"}}}`,
		"a variable in the proxy's URL":   `config: {providers: {main: {proxy: "http://me:${PROXY_PASSWORD}@proxy:3128"}}}`,
		"a variable for the whole proxy":  `config: {providers: {main: {proxy: "${PROXY_URL}"}}}`,
		"an upstream with an @ in a path": `config: {routes: [{path: /, upstream: "http://orders:9001/@team"}]}`,
	} {
		t.Run("but "+name, func(t *testing.T) {
			if _, err := render(values(t, "minimal", over)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestValuesThatContradictOneAnotherAreRefused(t *testing.T) {
	const another = "config: {providers: {other: {issuer: \"https://other.example.com\", client_id: a, client_secret: \"${B}\"}}}"
	for name, c := range map[string]struct{ over, says string }{
		"two providers and no default":       {another, "defaultProvider"},
		"a default that is no provider":      {"defaultProvider: nobody", "nobody is not in config.providers"},
		"memory of two pods":                 {`config: {store: {url: "memory:"}}`, "memory is one pod's own"},
		"memory of pods that may become two": {"replicas: 1\nautoscaling: {enabled: true}\nconfig: {store: {url: \"memory:\"}}", "memory is one pod's own"},
		"memory of two halves":               {"replicas: 1\nhalves: apart\nconfig: {store: {url: \"memory:\"}}", "memory is one pod's own"},
		"two places for the app's files":     {`spa: {image: {repository: app, tag: "1"}}`, "set either"},
		"a Gateway that would speak plainly": {"httpRoute: {enabled: true, parentRefs: [{name: edge}]}\ntls: {public: {secret: app-tls}}", "httpRoute.backendAuthorities"},
		"client certificates without TLS":    {"config: {internal: {tls: {client_ca_file: /etc/cloakroom/files/ca/ca.crt}}}", "tls.internal.secret"},
		"pods that are scaled by nothing":    {"autoscaling: {enabled: true, cpu: 0}", "autoscaling: set cpu or memory"},
		"a half that is scaled by nothing":   {"halves: apart\nservices: {autoscaling: {enabled: true, cpu: 0}}", "autoscaling: set cpu or memory"},
		"more pods at least than at most":    {"autoscaling: {enabled: true, minReplicas: 11}", "autoscaling.minReplicas: 11"},
		"a half of more than at most":        {"halves: apart\nbrowser: {autoscaling: {enabled: true, maxReplicas: 1}}", "autoscaling.minReplicas: 2"},
		"operators that have what seals":     {"secret: {seals: [cloakroom-1, admin-token]}", "secret.adminToken"},
		"a Prometheus that is not let in":    {"serviceMonitor: {enabled: true}\nnetworkPolicy: {enabled: true}", "networkPolicy.adminFrom"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, values(t, "minimal", c.over), c.says)
		})
	}
	for name, over := range map[string]string{
		"one pod keeps sessions in memory":      "replicas: 1\nconfig: {store: {url: \"memory:\"}}",
		"scaling that is off says nothing":      "autoscaling: {minReplicas: 11, cpu: 0}",
		"pods are scaled by memory alone":       "autoscaling: {enabled: true, minReplicas: 10, cpu: 0, memory: 80}",
		"a policy is without a Prometheus":      "networkPolicy: {enabled: true}",
		"a Prometheus is without a policy":      "serviceMonitor: {enabled: true}",
		"a half that there is not says nothing": "services: {autoscaling: {enabled: true, maxReplicas: 1}}",
	} {
		t.Run("but "+name, func(t *testing.T) {
			if _, err := render(values(t, "minimal", over)); err != nil {
				t.Error(err)
			}
		})
	}
}

// refused demands that the values are refused, and that what is said names the place.
func refused(t *testing.T, with map[string]any, says string) {
	t.Helper()
	_, err := render(with)
	switch {
	case err == nil:
		t.Error("accepted")
	case !strings.Contains(err.Error(), says):
		t.Errorf("refused without naming %q: %v", says, err)
	}
}
