package config

import (
	"fmt"
	"slices"
	"strings"
)

// notBuilt is every setting that this build does not have yet. A row goes when its feature lands; nothing else knows of it.
// In a path, * is every key of a map and [*] every item of a list.
var notBuilt = []struct {
	path string
	set  func(*node) bool // whether the value asks for what is missing
	what string
}{
	{"internal.tls.client_ca_file", filled, "authentication by client certificate"},
	{"internal.tls.client_cert_header", filled, "authentication by client certificate"},
	{"internal.tls.client_cert_from", filled, "authentication by client certificate"},
	{"providers.*.profile", is("entra", "okta", "auth0", "keycloak", "google"), "this profile"},
	{"providers.*.token_endpoint_auth_method", is("private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"), "this way to authenticate at the provider"},
	{"providers.*.client_key_file", filled, "authenticating at the provider with a key"},
	{"providers.*.client_cert_file", filled, "authenticating at the provider with a certificate"},
	{"providers.*.decryption_key_file", filled, "encrypted ID tokens"},
	{"providers.*.pushed_authorization", is("always"), "pushed authorization requests"},
	{"providers.*.request_object", is("always"), "signed authorization requests"},
	{"providers.*.dpop", is("always"), "DPoP towards the provider"},
	{"exchange.pairwise_key", filled, "pairwise subjects"},
	{"exchange.audiences.*.subject", is("pairwise"), "pairwise subjects"},
	{"exchange.audiences.*.format", is("txntoken+jwt"), "transaction tokens"},
	{"exchange.audiences.*.encrypt.jwks_file", filled, "encrypting minted tokens"},
	{"exchange.audiences.*.encrypt.jwks_uri", filled, "encrypting minted tokens"},
	{"exchange.audiences.*.sender_constraint", is("dpop", "mtls", "any"), "minted tokens bound to a key"},
	{"exchange.audiences.*.details", filled, "authorization details"},
	{"exchange.audiences.*.decide.url", filled, "asking a decision point"},
	{"exchange.clients.*.auth.tls_san", filled, "authentication by client certificate"},
	{"exchange.clients.*.auth.tls_thumbprint", filled, "authentication by client certificate"},
	{"exchange.clients.*.auth.kubernetes", filled, "authentication of clients by a Kubernetes service account"},
	{"exchange.clients.*.auth.spiffe", filled, "authentication of clients by SPIFFE"},
	{"exchange.clients.*.subject_types[*]", is("txn_token"), "this type of subject token"},
	{"exchange.clients.*.unmask", is("true"), "pairwise subjects"},
}

// refuseNotBuilt reports every value that asks for something missing.
func refuseNotBuilt(r *report, top *node) {
	for _, row := range notBuilt {
		segments := strings.Split(strings.ReplaceAll(row.path, "[*]", ".[*]"), ".")
		top.each("", segments, func(n *node, path string) {
			if !n.broken && row.set(n) {
				r.at(path, fmt.Sprintf("is not built yet: %s", row.what), "leave it at its default, or take it out")
			}
		})
	}
}

// each calls visit for every value that the segments lead to.
func (n *node) each(path string, segments []string, visit func(*node, string)) {
	if len(segments) == 0 {
		visit(n, path)
		return
	}
	if segments[0] == "[*]" {
		for i, item := range n.items {
			item.each(fmt.Sprintf("%s[%d]", path, i), segments[1:], visit)
		}
		return
	}
	for _, e := range n.entries {
		if segments[0] == "*" || segments[0] == e.name {
			e.value.each(child(path, e.name), segments[1:], visit)
		}
	}
}

func is(values ...string) func(*node) bool {
	return func(n *node) bool { return slices.Contains(values, n.text) }
}

// filled: a text, list or map that is not empty.
func filled(n *node) bool { return n.text != "" || len(n.entries) > 0 || len(n.items) > 0 }
