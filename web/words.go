package web

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// English is what the pages say unless they are given other words, by the names that these have in a file of words. What begins with
// the name of a problem type belongs to its page.
var English = map[string]string{
	"language":        "en",         // of all of this (BCP 47)
	"one-moment":      "One moment", // and continue: where a browser does not go on by itself
	"continue":        "Continue",
	"reference":       "If you ask for help, give this reference:",
	"sign-in-again":   "Sign in again",
	"another-account": "Sign in with another account",
	"try-again":       "Try again",

	"login-refused.title":        "You may not sign in here",
	"login-refused.text":         "You were recognised, but this account has no access.",
	"login-failed.title":         "The sign-in did not succeed",
	"login-failed.text":          "Please sign in again.",
	"login-failed.too-late":      "This sign-in was begun too long ago, or in another browser.",
	"login-failed.cancelled":     "The sign-in was cancelled.",
	"login-failed.provider":      "The sign-in service answered what cannot be used. Please try again later.",
	"login-failed.signed-out":    "You were signed out while this sign-in was under way.",
	"store-unavailable.title":    "Not available for a moment",
	"store-unavailable.text":     "You are not signed out. Please try again in a moment.",
	"provider-unavailable.title": "The sign-in service does not answer",
	"provider-unavailable.text":  "Please try again in a moment.",
	"overloaded.title":           "Too much to do",
	"overloaded.text":            "Please try again in a moment.",
	"draining.title":             "Shutting down",
	"draining.text":              "Please try again.",
}

var language = regexp.MustCompile(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$`)

const maxWords = 1 << 10 // bytes of one text

// CheckWords tells what is wrong with words that are to replace the English ones, a text each; nil: nothing.
func CheckWords(words map[string]string) []string {
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(words)) {
		switch text := words[name]; {
		case English[name] == "":
			faults = append(faults, fmt.Sprintf("%q is no name of a text: there are %s", name, strings.Join(slices.Sorted(maps.Keys(English)), ", ")))
		case strings.TrimSpace(text) == "":
			faults = append(faults, fmt.Sprintf("%s is empty", name))
		case len(text) > maxWords:
			faults = append(faults, fmt.Sprintf("%s is over %d bytes", name, maxWords))
		case name == "language" && !language.MatchString(text):
			faults = append(faults, fmt.Sprintf("language is %q, not a language tag such as de or pt-BR", text))
		}
	}
	return faults
}

// Say is the text of that name.
func (p *Pages) Say(name string) string {
	if text, own := p.words[name]; own {
		return text
	}
	return English[name]
}
