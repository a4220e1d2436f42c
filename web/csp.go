package web

import (
	"errors"
	"slices"
	"strings"
)

// sourceDirectives are the directives of a Content-Security-Policy that list sources, so that more may be added.
var sourceDirectives = []string{
	"base-uri", "child-src", "connect-src", "default-src", "font-src", "form-action", "frame-ancestors", "frame-src", "img-src",
	"manifest-src", "media-src", "object-src", "script-src", "script-src-attr", "script-src-elem", "style-src", "style-src-attr",
	"style-src-elem", "trusted-types", "worker-src",
}

// CheckDirective refuses what is no directive that sources can be added to.
func CheckDirective(name string) error {
	if !slices.Contains(sourceDirectives, name) {
		return errors.New("is no directive that can be widened: there are " + strings.Join(sourceDirectives, ", "))
	}
	return nil
}

// CheckSource refuses what is not one source.
func CheckSource(source string) error {
	if source == "" || strings.ContainsFunc(source, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ';' || r == ',' }) {
		return errors.New("is not one source")
	}
	return nil
}
