package exchangehttp

import (
	"maps"
	"net/http"

	"github.com/labstack/echo/v4"

	"cloakroom/secret"
)

// introspect answers POST /oauth2/introspect (RFC 7662). Whatever is not a live token of ours for one of the caller's
// audiences is inactive, and nothing more is said.
func (s *Server) introspect(c echo.Context) error {
	f, client, err := s.caller(c)
	if err != nil {
		return err
	}
	raw := f.text("token")
	if raw == "" {
		return bad("token is missing")
	}
	claims, err := s.cfg.Service.Introspect(c.Request().Context(), client, secret.Text(raw))
	if err != nil {
		return err
	}
	if claims == nil {
		return answer(c, http.StatusOK, map[string]any{"active": false})
	}
	body := maps.Clone(map[string]any(claims))
	body["active"], body["token_type"] = true, "Bearer"
	return answer(c, http.StatusOK, body)
}

// revoke answers POST /oauth2/revoke (RFC 7009): 200 also for what is no token of ours, since it is as good as revoked.
func (s *Server) revoke(c echo.Context) error {
	f, client, err := s.caller(c)
	if err != nil {
		return err
	}
	raw := f.text("token")
	if raw == "" {
		return bad("token is missing")
	}
	if err := s.cfg.Service.Revoke(c.Request().Context(), client, secret.Text(raw)); err != nil {
		return err
	}
	return answer(c, http.StatusOK, struct{}{})
}
