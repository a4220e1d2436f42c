package main

import (
	"context"
	"errors"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/internal/daemon"
	"cloakroom/internal/telemetry"
	"cloakroom/secret"
)

// reloader has the house arranged anew.
type reloader struct {
	load  func() (*config.File, error)
	asked <-chan os.Signal // SIGHUP
}

// keepUp reloads the configuration whenever it is asked to, and whenever a file changes that the configuration is read from,
// until ctx ends.
func (g *grounds) keepUp(ctx context.Context, r reloader) {
	const remedy = "send SIGHUP after each change"
	watch, err := config.NewWatch()
	if err != nil {
		g.log.WarnContext(ctx, "changes of the configuration's files are not noticed", "error", err, "remedy", remedy)
	}
	defer watch.Close()
	for err = watch.On(g.opened.Files); ; {
		if err != nil {
			g.log.WarnContext(ctx, "changes of some of the configuration's files are not noticed", "error", err, "remedy", remedy)
		}
		if !watch.Wait(ctx, r.asked) {
			return
		}
		next, applied := g.reload(ctx, r.load)
		switch {
		case applied:
			err = watch.On(next.Files)
		case next != nil:
			err = watch.Also(next.Files) // what mends it may be in one of them
		}
	}
}

// reload puts a new configuration in the place of the present one, whole or not at all. It returns what it could read.
func (g *grounds) reload(ctx context.Context, load func() (*config.File, error)) (next *config.File, applied bool) {
	outcome, next, err := g.tryReload(load)
	g.reloads.tell(outcome)
	if err != nil {
		g.tellFaults(ctx, err)
		return next, false
	}
	logWarnings(ctx, g.log, next)
	g.log.InfoContext(ctx, "configuration reloaded", "policy", g.current.Load().exchange.Policy().Version())
	return next, true
}

func (g *grounds) tryReload(load func() (*config.File, error)) (outcome string, next *config.File, err error) {
	if next, err = load(); err != nil {
		return "broken", next, err
	}
	if faults := next.Since(g.opened); len(faults) > 0 {
		return "refused", next, faults
	}
	if err = g.takeOver(next); err != nil {
		return "broken", next, err
	}
	return "applied", next, nil
}

// tellFaults writes why a configuration was not taken over, a line for each fault.
func (g *grounds) tellFaults(ctx context.Context, err error) {
	const said = "configuration not reloaded: the previous one stays"
	faults, ok := errors.AsType[config.Faults](err)
	if !ok {
		g.log.ErrorContext(ctx, said, "error", err)
	}
	for _, f := range faults {
		g.log.ErrorContext(ctx, said, "file", f.File, "line", f.Line, "setting", f.Path, "problem", f.Problem, "remedy", f.Remedy)
	}
}

// takeOver builds all that may fail first, and then lets it take its place.
func (g *grounds) takeOver(file *config.File) error {
	present := g.current.Load()
	secrets, err := g.openSecrets(file, present.secrets)
	if err != nil {
		return err
	}
	certificates, err := g.loadCertificates(file)
	if err != nil {
		return err
	}
	next, err := g.arrange(file, secrets)
	if err != nil {
		return err
	}
	if err := telemetry.Adjust(g.log, file.Log.Level, file.Log.Format); err != nil {
		return err
	}
	g.install(next, secrets, certificates)
	if present.browser != nil {
		present.browser.Retire()
	}
	return nil
}

func (g *grounds) install(next *house, secrets *secret.Ring, certificates map[string]*daemon.Certificate) {
	g.sessions.UseSecrets(secrets)
	g.audit.Rekey(secrets.First())
	for _, p := range g.providers {
		p.AllowEgress(next.file.Limits.EgressAllow)
	}
	for listener, certificate := range certificates {
		g.certificates[listener].Become(certificate)
	}
	g.current.Store(next)
}

// reloadMetrics counts reloads, and tells whether the files say what is in use.
type reloadMetrics struct {
	total   *prometheus.CounterVec
	current prometheus.Gauge
}

func newReloadMetrics(reg prometheus.Registerer) *reloadMetrics {
	m := &reloadMetrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cloakroom_config_reloads_total", Help: "Reloads of the configuration: applied, refused (a change that needs a restart) or broken.",
		}, []string{"outcome"}),
		current: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "cloakroom_config_current", Help: "1 where the last reload was applied, or there was none; 0 where the previous configuration stayed.",
		}),
	}
	for _, outcome := range []string{"applied", "refused", "broken"} {
		m.total.WithLabelValues(outcome)
	}
	m.current.Set(1)
	reg.MustRegister(m.total, m.current)
	return m
}

func (m *reloadMetrics) tell(outcome string) {
	m.total.WithLabelValues(outcome).Inc()
	m.current.Set(0)
	if outcome == "applied" {
		m.current.Set(1)
	}
}
