package main

import (
	"context"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cloakroom/internal/demo"
)

// runDemo is `cloakroom demo`: a provider, two services, a page and Cloakroom itself in one process, until it is interrupted;
// or, with --only, one of the demo's parties alone, which is what a container runs.
func runDemo(args []string, env Env) int {
	started := processStart(time.Now())
	flags := env.flags("demo", "[--port PORT | --only PARTY]")
	port := flags.Int("port", 8080, "`port` of the page; another one is taken when it is busy")
	only := flags.String("only", "", "run this `party` alone, for a container: "+strings.Join(demo.Parts(), ", ")+"; docker-compose.yml shows its environment")
	if code, ok := env.parse(flags, args); !ok {
		return code
	}
	if *port < 0 || *port > 65535 {
		return env.usage("demo: --port is from 0 to 65535")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *only != "" {
		if err := demo.ServePart(ctx, demo.Part{Name: *only, Env: env.Lookup, Out: env.Stdout}); err != nil {
			return env.fail(err)
		}
		return exitDone
	}
	if err := demo.Run(ctx, demo.Options{Port: *port, Out: env.Stdout, Started: started, Serve: serveDemo}); err != nil {
		return env.fail(err)
	}
	return exitDone
}

// processStart tells when this process began, which is before any of its Go code ran. Where the system does not say (only
// Linux does, to the hundredth of a second), it is now.
func processStart(now time.Time) time.Time {
	const perSecond = 100 // of /proc's clock ticks; the kernel promises it to user space
	stat, statErr := os.ReadFile("/proc/self/stat")
	uptime, uptimeErr := os.ReadFile("/proc/uptime")
	if statErr != nil || uptimeErr != nil {
		return now
	}
	// Field 22 (proc_pid_stat(5)), counted from after the name, which may hold spaces and parentheses.
	after := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	up, _, _ := strings.Cut(string(uptime), " ")
	if len(after) < 20 {
		return now
	}
	ticks, ticksErr := strconv.ParseInt(after[19], 10, 64)
	seconds, secondsErr := strconv.ParseFloat(up, 64)
	age := time.Duration((seconds - float64(ticks)/perSecond) * float64(time.Second))
	if ticksErr != nil || secondsErr != nil || age < 0 {
		return now
	}
	return now.Add(-age)
}
