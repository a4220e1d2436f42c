package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/internal/daemon"
	"cloakroom/internal/telemetry"
)

// runServe is `cloakroom serve`: it runs until SIGTERM or an interrupt, then drains.
func runServe(args []string, env Env) int {
	set := env.flags("serve", "--config FILE")
	path := set.String("config", "", "the configuration `file`")
	if code, ok := env.parse(set, args); !ok {
		return code
	}
	if *path == "" {
		return env.usage("serve: name the configuration with --config FILE")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	if err := daemon.NoCoreDumps(); err != nil {
		return env.fail(err)
	}
	if err := serve(ctx, *path, reload, env); err != nil {
		return env.fail(err)
	}
	return exitDone
}

func serve(ctx context.Context, path string, reload <-chan os.Signal, env Env) error {
	load := func() (*config.File, error) { return config.Load(path, env.Lookup) }
	file, err := load()
	if err != nil {
		return err
	}
	running, err := start(ctx, file, env.Stderr, &reloader{load: load, asked: reload})
	if err != nil {
		return err
	}
	return running.Wait()
}

// serveDemo starts Cloakroom for `cloakroom demo`, the very way serve does.
func serveDemo(ctx context.Context, path string, env func(string) (string, bool), log io.Writer) (stop func() error, err error) {
	file, err := config.Load(path, env)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // ended by stop, after what it started before
	running, err := start(ctx, file, log, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	return func() error {
		cancel()
		return running.Wait()
	}, nil
}

// waiter is what runs: it ends when the context it was started under does.
type waiter interface{ Wait() error }

// start opens what the file says. With a reloader it keeps up with the file; without one it stays as it is.
func start(ctx context.Context, file *config.File, log io.Writer, r *reloader) (waiter, error) {
	logger, err := telemetry.NewLogger(log, file.Log.Level, file.Log.Format)
	if err != nil {
		return nil, err
	}
	logWarnings(ctx, logger, file)
	h, err := assemble(file, logger)
	if err != nil {
		return nil, err
	}
	if r != nil {
		h.background = append(h.background, func(ctx context.Context) { h.keepUp(ctx, *r) })
	}
	return h.open(ctx)
}

func logWarnings(ctx context.Context, log *slog.Logger, file *config.File) {
	for _, warning := range file.Warnings {
		log.WarnContext(ctx, "configuration", "file", warning.File, "line", warning.Line, "setting", warning.Path, "problem", warning.Problem, "remedy", warning.Remedy)
	}
}
