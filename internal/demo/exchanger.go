package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// exchanger is a service at Cloakroom's token endpoint: token exchange (RFC 8693 section 2), authenticated by its secret.
type exchanger struct {
	endpoint   string
	id, secret string
	client     *http.Client
}

// token exchanges the token a service was sent for one that speaks to the next service. A refusal of Cloakroom's is not an
// error: it says why.
func (x exchanger) token(ctx context.Context, subject, audience, scope string) (string, *Attempt, error) {
	form := url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {subject},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"audience":           {audience},
	}
	if scope != "" {
		form.Set("scope", scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return "", nil, fmt.Errorf("exchange: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(x.id), url.QueryEscape(x.secret)) // RFC 6749 section 2.3.1
	told, err := send(x.client, req)
	if err != nil {
		return "", nil, fmt.Errorf("exchange: %w", err)
	}
	if told.Status != http.StatusOK {
		return "", &told, nil
	}
	var minted struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(told.Answer, &minted); err != nil || minted.AccessToken == "" {
		return "", nil, errors.New("exchange: an answer without a token")
	}
	return minted.AccessToken, nil, nil
}
