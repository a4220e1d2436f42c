package session

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"cloakroom/token"
)

// Claims are kept in a binary form: they are read again and again, and reading JSON would be most of what a request costs.

// The kinds of values.
const (
	kindNull = iota
	kindFalse
	kindTrue
	kindInteger
	kindNegative // -1-n
	kindFloat
	kindText
	kindList
	kindObject
)

const maxDepth = 32 // what token.DecodeClaims takes

var errClaims = errors.New("claims of a kind that JSON does not have")

func (w *writer) claims(c token.Claims) error {
	if c == nil {
		w.number(kindNull)
		return nil
	}
	began := len(w.buf)
	if err := w.value(map[string]any(c)); err != nil {
		// Something that was not decoded from a token. As JSON it is.
		w.buf = w.buf[:began]
		encoded, err := token.EncodeClaims(c)
		if err != nil {
			return err
		}
		if c, err = token.DecodeClaims(encoded); err != nil {
			return err
		}
		if err := w.value(map[string]any(c)); err != nil {
			return err
		}
	}
	if size := len(w.buf) - began; size > token.MaxSize {
		return fmt.Errorf("%d bytes of claims", size)
	}
	return nil
}

func (w *writer) value(v any) error {
	switch v := v.(type) {
	case nil:
		w.number(kindNull)
	case bool:
		if v {
			w.number(kindTrue)
		} else {
			w.number(kindFalse)
		}
	case int64:
		if v < 0 {
			w.number(kindNegative)
			w.number(uint64(-1 - v))
		} else {
			w.number(kindInteger)
			w.number(uint64(v))
		}
	case float64:
		w.number(kindFloat)
		w.number(math.Float64bits(v))
	case string:
		w.number(kindText)
		w.text(v)
	case []any:
		w.number(kindList)
		w.number(uint64(len(v)))
		for _, one := range v {
			if err := w.value(one); err != nil {
				return err
			}
		}
	case []string:
		w.number(kindList)
		w.number(uint64(len(v)))
		for _, one := range v {
			w.number(kindText)
			w.text(one)
		}
	case map[string]any:
		w.number(kindObject)
		w.number(uint64(len(v)))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if known, ok := knownName(name); ok {
				w.number(known)
			} else {
				w.number(0)
				w.text(name)
			}
			if err := w.value(v[name]); err != nil {
				return err
			}
		}
	default:
		return errClaims
	}
	return nil
}

func (r *reader) claims() token.Claims {
	switch v := r.value(0).(type) {
	case nil:
		return nil
	case map[string]any:
		return v
	}
	r.fail()
	return nil
}

func (r *reader) value(depth int) any {
	if depth > maxDepth {
		r.fail()
		return nil
	}
	switch r.number() {
	case kindNull:
		return nil
	case kindFalse:
		return false
	case kindTrue:
		return true
	case kindInteger:
		return int64(r.number() & math.MaxInt64)
	case kindNegative:
		return -1 - int64(r.number()&math.MaxInt64)
	case kindFloat:
		return math.Float64frombits(r.number())
	case kindText:
		return r.text()
	case kindList:
		list := make([]any, r.many())
		for i := range list {
			list[i] = r.value(depth + 1)
		}
		return list
	case kindObject:
		n := r.many()
		object := make(map[string]any, n)
		for range n {
			name := r.name()
			object[name] = r.value(depth + 1)
		}
		return object
	}
	r.fail()
	return nil
}

func (r *reader) name() string {
	n := r.number()
	if n == 0 {
		return r.text()
	}
	if n > uint64(len(knownNames)) {
		r.fail()
		return ""
	}
	return knownNames[n-1]
}

// knownNames are the claims that usual providers issue. A name's place here is what a record says in its stead, so that it
// takes a byte there and nothing in memory. It is part of the version: names are added at the end, and never leave.
var knownNames = [...]string{
	"sub", "iss", "aud", "exp", "iat", "nbf", "jti", "auth_time", "azp", "acr", "amr", "sid", "scope", "client_id",
	"email", "email_verified", "name", "given_name", "family_name", "middle_name", "nickname", "preferred_username",
	"profile", "picture", "website", "gender", "birthdate", "zoneinfo", "locale", "phone_number", "phone_number_verified",
	"address", "updated_at", "formatted", "street_address", "locality", "region", "postal_code", "country",
	"groups", "roles", "permissions", "entitlements", "typ", "cnf", "act", "may_act", "token_use", "username", "version",
	"origin_jti", "event_id", "device_key", "identities", "cognito:username", "cognito:groups", "cognito:roles",
	"cognito:preferred_role", "userId", "providerName", "providerType", "issuer", "primary", "dateCreated",
	"session_state", "realm_access", "resource_access", "account", "allowed-origins", "oid", "tid", "upn", "unique_name",
	"ver", "appid", "appidacr", "idp", "idtyp", "ipaddr", "uti", "rh", "scp", "aio", "wids", "xms_tcdt", "login_hint",
	"cid", "uid", "gty", "org_id", "org_name", "hd", "tenant", "department", "idp_access_token",
}

var knownPlaces = func() map[string]uint64 {
	places := make(map[string]uint64, len(knownNames))
	for i, name := range knownNames {
		places[name] = uint64(i + 1)
	}
	return places
}()

func knownName(name string) (uint64, bool) {
	n, ok := knownPlaces[name]
	return n, ok
}
