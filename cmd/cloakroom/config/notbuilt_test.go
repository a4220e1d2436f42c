package config

import (
	"errors"
	"strings"
	"testing"
)

// asks is a file that asks for what a row of the table refuses, by the row's path; a row with several has them in order.
var asks = map[string][]string{
	"internal.tls.client_ca_file":      {with(`internal: {url: "https://c", tls: {cert_file: cert, key_file: key, client_ca_file: cert}}`)},
	"internal.tls.client_cert_header":  {with(`internal: {url: "https://c", tls: {client_cert_header: Client-Cert}}`)},
	"internal.tls.client_cert_from":    {with(`internal: {url: "https://c", tls: {client_cert_from: [10.0.0.0/8]}}`)},
	"providers.*.profile":              {provider(`profile: entra`)},
	"providers.*.client_key_file":      {provider(`client_key_file: key`)},
	"providers.*.client_cert_file":     {provider(`client_cert_file: cert`)},
	"providers.*.decryption_key_file":  {provider(`decryption_key_file: key`)},
	"providers.*.pushed_authorization": {provider(`pushed_authorization: always`)},
	"providers.*.request_object":       {provider(`request_object: always`)},
	"providers.*.dpop":                 {provider(`dpop: always`)},
	"exchange.pairwise_key":            {with(`exchange: {pairwise_key: "${K2}"}`)},
	"exchange.audiences.*.subject":     {audience(`subject: pairwise`)},
	"exchange.audiences.*.format":      {audience(`format: txntoken+jwt`)},
	"exchange.audiences.*.details":     {audience(`details: '{"a": 1}'`)},
	"exchange.audiences.*.decide.url":  {audience(`decide: {url: "https://pdp/x"}`)},
	"exchange.clients.*.unmask":        {client(`auth: {secret: "${S2}"}, audiences: [api], unmask: true`)},
	"exchange.clients.*.auth.tls_san":  {client(`auth: {tls_san: c.example}, audiences: [api]`)},
	"exchange.clients.*.auth.spiffe":   {client(`auth: {spiffe: {id: "spiffe://a/b", bundle_file: jwks}}, audiences: [api]`)},

	"providers.*.token_endpoint_auth_method": {with(`providers: {main: {issuer: "https://i.example", client_id: app, token_endpoint_auth_method: private_key_jwt}}`)},
	"exchange.audiences.*.encrypt.jwks_file": {audience(`encrypt: {jwks_file: jwks}`)},
	"exchange.audiences.*.encrypt.jwks_uri":  {audience(`encrypt: {jwks_uri: "https://c/j"}`)},
	"exchange.audiences.*.sender_constraint": {audience(`sender_constraint: any`)},
	"exchange.clients.*.auth.tls_thumbprint": {client(`auth: {tls_thumbprint: "` + strings.Repeat("ab", 32) + `"}, audiences: [api]`)},
	"exchange.clients.*.auth.kubernetes":     {client(`auth: {kubernetes: {issuer: "https://k", audience: c, subject: "system:serviceaccount:a:b"}}, audiences: [api]`)},
	"exchange.clients.*.subject_types[*]":    {client(`auth: {secret: "${S2}"}, audiences: [api], subject_types: [access_token, txn_token]`)},
}

func TestEverythingNotBuiltIsRefusedAsThat(t *testing.T) {
	dir := folder(t, map[string]string{"cert": "cert", "key": "key", "jwks": `{"keys":[]}`})
	seen := map[string]int{}
	for _, row := range notBuilt {
		i := seen[row.path]
		seen[row.path]++
		if i >= len(asks[row.path]) {
			t.Errorf("no file asks for %s (%s)", row.path, row.what)
			continue
		}
		_, err := Parse(dir+"/c.yaml", asks[row.path][i], lookup)
		faults, _ := errors.AsType[Faults](err)
		quiet(t, faults)
		found := false
		for _, f := range faults {
			found = found || f.Problem == "is not built yet: "+row.what
		}
		if !found {
			t.Errorf("%s (%s) is not refused as not built: %v", row.path, row.what, err)
		}
	}
	for path, files := range asks {
		if seen[path] != len(files) {
			t.Errorf("%d files ask for %s, which has %d rows", len(files), path, seen[path])
		}
	}
}
