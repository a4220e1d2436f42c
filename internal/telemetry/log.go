package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
)

// NewLogger returns a logger that writes one record a line, as "json" or "text", from level ("debug", "info", "warn",
// "error") on, and adds the request id of the context to every record. Adjust changes both.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var from slog.LevelVar
	options := &slog.HandlerOptions{Level: &from}
	h := contextHandler{
		json: slog.NewJSONHandler(w, options), text: slog.NewTextHandler(w, options), setting: &setting{from: &from},
	}
	log := slog.New(h)
	if err := Adjust(log, level, format); err != nil {
		return nil, err
	}
	return log, nil
}

// Adjust changes what a logger of NewLogger writes, and all that were made from it. On an error nothing has changed. Any other
// logger is left alone.
func Adjust(log *slog.Logger, level, format string) error {
	var from slog.Level
	if err := from.UnmarshalText([]byte(level)); err != nil {
		return fmt.Errorf("log level %q: %w", level, err)
	}
	if format != "json" && format != "text" {
		return fmt.Errorf("log format %q: not json or text", format)
	}
	if h, ours := log.Handler().(contextHandler); ours {
		h.setting.from.Set(from)
		h.setting.asText.Store(format == "text")
	}
	return nil
}

// setting is what Adjust changes.
type setting struct {
	from   *slog.LevelVar
	asText atomic.Bool
}

// contextHandler adds what the context knows to each record, and writes it in the format that is set.
type contextHandler struct {
	json, text slog.Handler
	setting    *setting
}

func (h contextHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.setting.from.Level()
}

func (h contextHandler) Handle(ctx context.Context, r slog.Record) error {
	if id := RequestID(ctx); id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	if id := traceID(ctx); id != "" {
		r.AddAttrs(slog.String("trace_id", id))
	}
	if h.setting.asText.Load() {
		return h.text.Handle(ctx, r)
	}
	return h.json.Handle(ctx, r)
}

func (h contextHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.json, h.text = h.json.WithAttrs(attrs), h.text.WithAttrs(attrs)
	return h
}

func (h contextHandler) WithGroup(name string) slog.Handler {
	h.json, h.text = h.json.WithGroup(name), h.text.WithGroup(name)
	return h
}
