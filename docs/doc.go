// Package docs owns the pages, and the tests that keep them true of the code.
package docs
