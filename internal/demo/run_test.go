package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// start runs a demo whose Cloakroom is a recorder.
func start(t *testing.T, port int, serve func(file string) error) (*Demo, error) {
	t.Helper()
	return Start(t.Context(), Options{
		Port: port,
		Serve: func(_ context.Context, file string, _ func(string) (string, bool), _ io.Writer) (func() error, error) {
			return func() error { return nil }, serve(file)
		},
	})
}

func TestBusyPortIsReplacedAndSaid(t *testing.T) {
	busy, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	d, err := start(t, port(busy), func(string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if strings.HasSuffix(d.URL, fmt.Sprintf(":%d", port(busy))) {
		t.Errorf("%s is somebody else's", d.URL)
	}
	var out bytes.Buffer
	d.greet(&out, 1234*time.Millisecond)
	for _, want := range []string{d.URL, fmt.Sprintf("Port %d is busy: Cloakroom took", port(busy)), "alice / alice", "sam / sam", "Ready in 1234 ms"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the terminal does not say %q:\n%s", want, &out)
		}
	}
	if urls := strings.Count(out.String(), "://"); urls != 1 {
		t.Errorf("the terminal shows %d URLs", urls)
	}
}

func TestStopLeavesNothingBehind(t *testing.T) {
	var folder string
	d, err := start(t, 0, func(file string) error {
		folder = filepath.Dir(file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	metadata := d.Provider.Issuer() + "/.well-known/openid-configuration"
	if status := get(t, metadata); status != http.StatusOK {
		t.Errorf("the provider answers %d", status)
	}
	if err := d.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there", folder)
	}
	if status := get(t, metadata); status != 0 {
		t.Errorf("the provider still answers %d", status)
	}
}

func TestStartThatFailsSaysWhyAndStopsTheRest(t *testing.T) {
	broken := errors.New("broken")
	d, err := start(t, 0, func(string) error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("err is %v", err)
	}
	if status := get(t, d.Provider.Issuer()+"/.well-known/openid-configuration"); status != 0 {
		t.Errorf("the provider still answers %d", status)
	}
}

func TestConfigurationHoldsNoSecret(t *testing.T) {
	secrets := newCredentials()
	text := configuration(ports{public: 1}, "/spa")
	for _, secret := range []string{secrets.client, secrets.orders} {
		if strings.Contains(text, secret) {
			t.Error("a secret is in the configuration")
		}
	}
	for _, name := range []string{clientSecretVariable, ordersSecretVariable} {
		if value, set := secrets.lookup(name); !set || value == "" || !strings.Contains(text, `"${`+name+`}"`) {
			t.Errorf("%s is not used", name)
		}
	}
}

// get returns the status of an answer, 0 where there is none.
func get(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
