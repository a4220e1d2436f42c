package demo

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/idptest"
)

func TestEachPartAnswersAtItsOwnURL(t *testing.T) {
	env := around(t)
	told := map[string]*bytes.Buffer{}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	for _, name := range Parts() {
		out := &bytes.Buffer{}
		told[name] = out
		go func() { ended <- ServePart(ctx, Part{Name: name, Env: env.lookup, Out: out}) }()
	}
	for _, name := range Parts() {
		at := env[strings.ToUpper(name)+"_URL"]
		for deadline := time.Now().Add(10 * time.Second); get(t, at+"/healthz") != http.StatusOK; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s does not answer at %s", name, at)
			}
		}
	}
	if status := get(t, env[providerVariable]+pool+"/.well-known/openid-configuration"); status != http.StatusOK {
		t.Errorf("the provider's metadata: %d", status)
	}
	for _, at := range []string{env[ordersVariable] + "/orders", env[paymentsVariable] + "/payments", env[providerVariable] + "/demo/issued"} {
		if status := get(t, at); status != http.StatusUnauthorized {
			t.Errorf("without a token %s answers %d", at, status)
		}
	}
	stop()
	for range Parts() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	for name, out := range told {
		if !strings.HasPrefix(out.String(), name+" answers at ") {
			t.Errorf("%s says %q", name, out)
		}
	}
}

func TestPartSaysEverythingItLacks(t *testing.T) {
	err := ServePart(t.Context(), Part{Name: "provider", Env: environment{}.lookup})
	for _, want := range []string{publicVariable, exchangeVariable, providerVariable, ordersVariable, paymentsVariable, clientFileVariable} {
		if err == nil || !strings.Contains(err.Error(), "set "+want) {
			t.Errorf("nothing is said of %s: %v", want, err)
		}
	}
	for what, change := range map[string]func(environment){
		"names no port":             func(e environment) { e[ordersVariable] = "http://orders" },
		"has a path":                func(e environment) { e[ordersVariable] += "/orders" },
		"names no file":             func(e environment) { e[ordersFileVariable] = "" },
		"names a file not there":    func(e environment) { e[ordersFileVariable] += "-gone" },
		"names a file with nothing": func(e environment) { e[ordersFileVariable] = os.DevNull },
	} {
		env := around(t)
		change(env)
		if _, _, err := (Part{Name: orders, Env: env.lookup}).open(t.Context()); err == nil {
			t.Errorf("accepted: it %s", what)
		}
	}
	err = ServePart(t.Context(), Part{Name: "cloakroom", Env: around(t).lookup})
	if err == nil || !strings.Contains(err.Error(), "provider, orders, payments") {
		t.Errorf("another name: %v", err)
	}
}

func TestPartTakesNoPortOfSomebodyElse(t *testing.T) {
	env := around(t)
	busy, err := new(net.ListenConfig).Listen(t.Context(), "tcp", strings.TrimPrefix(env[paymentsVariable], "http://127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if err := ServePart(t.Context(), Part{Name: payments, Env: env.lookup, Out: &bytes.Buffer{}}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("err is %v", err)
	}
}

func TestProviderOfAPartIsCloakroomsAlone(t *testing.T) {
	at := places{public: "http://localhost:8080", provider: "http://provider.localhost:8090"}
	at.issuer = at.provider + pool
	idp := newProvider(at, "s3cret")
	if idp.Issuer() != "http://provider.localhost:8090/eu-west-1_Cloakroom" || !strings.HasPrefix(idp.URL(idptest.Authorize), at.provider) {
		t.Errorf("issuer %s, authorization endpoint %s", idp.Issuer(), idp.URL(idptest.Authorize))
	}
}

type environment map[string]string

func (e environment) lookup(name string) (string, bool) {
	value, set := e[name]
	return value, set
}

// around is the environment of parties on free ports of this machine.
func around(t *testing.T) environment {
	t.Helper()
	env := environment{}
	var held []net.Listener
	for _, name := range []string{publicVariable, exchangeVariable, providerVariable, ordersVariable, paymentsVariable} {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, listener)
		env[name] = fmt.Sprintf("http://127.0.0.1:%d", port(listener))
	}
	for _, listener := range held {
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{clientFileVariable, ordersFileVariable} {
		env[name] = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(env[name], []byte("s3cret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return env
}
