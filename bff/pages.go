package bff

import (
	"net/http"

	"cloakroom/web"
)

// page answers a navigation with a page of ours.
func (s *Server) page(w http.ResponseWriter, r *http.Request, status int, m web.Message) {
	body, err := s.pages.Message(m)
	if err != nil {
		s.log.ErrorContext(r.Context(), "render page", "error", err)
	}
	s.writePage(w, status, body)
}

// bounce answers a navigation that another site led here: it is asked for once more, by a page of our own origin, and
// then brings the cookie if there is one.
func (s *Server) bounce(w http.ResponseWriter, r *http.Request) {
	body, err := s.pages.Bounce()
	if err != nil {
		s.log.ErrorContext(r.Context(), "render page", "error", err)
	}
	s.writePage(w, http.StatusOK, body)
}

func (s *Server) writePage(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Del(cspReportHeader)
	h.Set(cspHeader, s.pages.ContentSecurityPolicy())
	w.WriteHeader(status)
	_, _ = w.Write(body) // a broken connection is the browser's affair
}
