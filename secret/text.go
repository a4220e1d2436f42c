package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what every printed form of a Text says.
const Redacted = "[redacted]"

// Text is a string that must not be printed: a token, a code, a password. Every way of formatting, logging or
// marshalling it yields Redacted; Reveal is the one way to its value, and easy to search for.
type Text string

// Reveal returns the value, for the one place that sends or checks it.
func (t Text) Reveal() string { return string(t) }

func (t Text) String() string               { return Redacted }
func (t Text) LogValue() slog.Value         { return slog.StringValue(Redacted) }
func (t Text) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// Format answers every verb: with String alone, a verb that is wrong for a string, such as %d, prints the value.
func (t Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }
