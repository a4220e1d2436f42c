package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"cloakroom/cmd/cloakroom/config"
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
	if err := serve(ctx, *path, env); err != nil {
		return env.fail(err)
	}
	return exitDone
}

func serve(ctx context.Context, path string, env Env) error {
	file, err := config.Load(path, env.Lookup)
	if err != nil {
		return err
	}
	running, err := start(ctx, file, env.Stderr)
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
	running, err := start(ctx, file, log)
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

func start(ctx context.Context, file *config.File, log io.Writer) (waiter, error) {
	logger, err := telemetry.NewLogger(log, file.Log.Level, file.Log.Format)
	if err != nil {
		return nil, err
	}
	for _, warning := range file.Warnings {
		logger.WarnContext(ctx, "configuration", "file", warning.File, "line", warning.Line, "setting", warning.Path, "problem", warning.Problem, "remedy", warning.Remedy)
	}
	h, err := assemble(file, logger)
	if err != nil {
		return nil, err
	}
	return h.open(ctx)
}
