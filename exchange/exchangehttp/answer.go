package exchangehttp

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"cloakroom/exchange"
)

// answer writes JSON that nobody may keep (RFC 6749 section 5.1).
func answer(c echo.Context, status int, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	return c.Blob(status, "application/json", text)
}

// refusal is the body of an error answer (RFC 6749 section 5.2).
type refusal struct {
	Error       exchange.Code `json:"error"`
	Description string        `json:"error_description,omitempty"`
}

func answerError(c echo.Context, status int, e *exchange.Error) error {
	return answer(c, status, refusal{e.Code, e.Description})
}

// retryAfter is how long a client should wait when we cannot tell: about as long as a failover takes.
const retryAfter = 2 * time.Second

// refuse answers with the status that goes with the code: 400 but for a client that is not who it says (401), and for us
// being unable (503, 500).
func (s *Server) refuse(c echo.Context, e *exchange.Error) error {
	status := http.StatusBadRequest
	switch {
	case e == errTooLarge:
		status = http.StatusRequestEntityTooLarge
	case e.Code == exchange.InvalidClient:
		status = http.StatusUnauthorized
		c.Response().Header().Set("WWW-Authenticate", `Basic realm="cloakroom", charset="UTF-8"`)
	case e.Code == exchange.TemporarilyUnavailable:
		status = http.StatusServiceUnavailable
		c.Response().Header().Set("Retry-After", seconds(retryAfter))
		s.cfg.Log.WarnContext(c.Request().Context(), "exchange cannot tell", "error", e.Error())
	case e.Code == exchange.ServerError:
		status = http.StatusInternalServerError
		s.cfg.Log.ErrorContext(c.Request().Context(), "exchange failed", "error", e.Error())
	}
	return answerError(c, status, e)
}

func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
