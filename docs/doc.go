// Package docs owns the pages, the description of the endpoints (OpenAPI), and the tests that keep them true of the code.
package docs
