package chart

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"sigs.k8s.io/yaml"
)

func TestTheChartPassesHelmLint(t *testing.T) {
	for _, name := range valueFiles {
		t.Run(name, func(t *testing.T) {
			for _, m := range lint.RunAll(folder, values(t, name), namespace).Messages {
				if m.Severity > support.InfoSev {
					t.Errorf("%s: %v", m.Path, m.Err)
				}
			}
		})
	}
}

// everyRelease runs a test on what each value file makes of the chart.
func everyRelease(t *testing.T, test func(*testing.T, objects)) {
	for _, name := range valueFiles {
		t.Run(name, func(t *testing.T) { test(t, mustRender(t, values(t, name))) })
	}
}

func TestEachServiceReachesThePodsThatListen(t *testing.T) {
	everyRelease(t, func(t *testing.T, all objects) {
		for _, s := range all.services {
			for _, d := range all.deployments {
				selects := labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(d.Spec.Template.Labels))
				if listens := portNamed(d, s.Spec.Ports[0].TargetPort.StrVal) != nil; selects != listens {
					t.Errorf("Service %s selects %s: %v; it has that port: %v", s.Name, d.Name, selects, listens)
				}
			}
		}
		if len(all.services) != 3 {
			t.Errorf("%d Services", len(all.services))
		}
	})
}

func portNamed(d *apps.Deployment, name string) *core.ContainerPort {
	ports := d.Spec.Template.Spec.Containers[0].Ports
	if i := slices.IndexFunc(ports, func(p core.ContainerPort) bool { return p.Name == name }); i >= 0 {
		return &ports[i]
	}
	return nil
}

func TestEachDeploymentSelectsItsOwnPodsAndHasItsBudget(t *testing.T) {
	everyRelease(t, func(t *testing.T, all objects) {
		for _, d := range all.deployments {
			budget := named(t, all.budgets, d.Name).Spec
			if budget.MaxUnavailable == nil || budget.MaxUnavailable.String() == "0" {
				t.Errorf("the budget of %s lets no node be drained", d.Name)
			}
			for _, other := range all.deployments {
				for what, selector := range map[string]*meta.LabelSelector{"Deployment": d.Spec.Selector, "PodDisruptionBudget": budget.Selector} {
					if matches(t, selector, other.Spec.Template.Labels) != (d == other) {
						t.Errorf("the %s of %s and the pods of %s", what, d.Name, other.Name)
					}
				}
			}
			for _, spread := range d.Spec.Template.Spec.TopologySpreadConstraints {
				if !matches(t, spread.LabelSelector, d.Spec.Template.Labels) {
					t.Errorf("%s spreads other pods than its own over %s", d.Name, spread.TopologyKey)
				}
			}
			if len(d.Spec.Template.Spec.TopologySpreadConstraints) == 0 {
				t.Errorf("%s is not spread", d.Name)
			}
		}
	})
}

func matches(t *testing.T, selector *meta.LabelSelector, of map[string]string) bool {
	t.Helper()
	s, err := meta.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return !s.Empty() && s.Matches(labels.Set(of))
}

func TestPodsHaveTheTimeThatDrainingTakes(t *testing.T) {
	everyRelease(t, func(t *testing.T, all objects) {
		for _, d := range all.deployments {
			drain := configuration(t, all, d)["drain"].(map[string]any)
			takes := seconds(t, drain["delay"]) + seconds(t, drain["timeout"])
			if given := d.Spec.Template.Spec.TerminationGracePeriodSeconds; given == nil || *given <= takes {
				t.Errorf("%s is killed after %v s, and drains for %d s", d.Name, given, takes)
			}
		}
	})
}

func seconds(t *testing.T, text any) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimSuffix(text.(string), "s"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// configuration is the file that a Deployment's pods are given.
func configuration(t *testing.T, all objects, d *apps.Deployment) map[string]any {
	t.Helper()
	var file map[string]any
	if err := yaml.UnmarshalStrict([]byte(source(t, all, d)), &file); err != nil {
		t.Fatal(err)
	}
	return file
}

func source(t *testing.T, all objects, d *apps.Deployment) string {
	t.Helper()
	for _, v := range d.Spec.Template.Spec.Volumes {
		if v.Name == "config" {
			return named(t, all.configMaps, v.ConfigMap.Name).Data["cloakroom.yaml"]
		}
	}
	t.Fatalf("%s has no configuration", d.Name)
	return ""
}

// The level "restricted" of the Pod Security Standards, and a root that cannot be written.
func TestPodsHaveNoRights(t *testing.T) {
	everyRelease(t, func(t *testing.T, all objects) {
		for _, d := range all.deployments {
			spec := d.Spec.Template.Spec
			s := spec.SecurityContext
			if s == nil || !is(s.RunAsNonRoot, true) || s.RunAsUser == nil || *s.RunAsUser == 0 || s.SeccompProfile == nil || s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
				t.Errorf("%s: %+v", d.Name, s)
			}
			if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken || spec.HostNetwork || spec.HostPID {
				t.Errorf("%s has a token of the API server, or the host's", d.Name)
			}
			for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
				s := c.SecurityContext
				if s == nil || !is(s.ReadOnlyRootFilesystem, true) || !is(s.AllowPrivilegeEscalation, false) || s.Capabilities == nil ||
					!slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
					t.Errorf("%s, container %s: %+v", d.Name, c.Name, s)
				}
				if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
					t.Errorf("%s, container %s: resources %+v", d.Name, c.Name, c.Resources)
				}
				for _, m := range c.VolumeMounts {
					if !m.ReadOnly && c.Name == "cloakroom" {
						t.Errorf("%s may write %s", d.Name, m.MountPath)
					}
				}
			}
			for _, v := range spec.Volumes {
				if v.Secret != nil && (v.Secret.DefaultMode == nil || *v.Secret.DefaultMode != 0o440) {
					t.Errorf("%s: everybody may read the Secret %s", d.Name, v.Secret.SecretName)
				}
			}
		}
	})
}

func is(value *bool, want bool) bool { return value != nil && *value == want }

func TestTheRuntimeIsToldOfTheMemoryLimit(t *testing.T) {
	everyRelease(t, func(t *testing.T, all objects) {
		for _, d := range all.deployments {
			c := d.Spec.Template.Spec.Containers[0]
			limit := c.Resources.Limits.Memory().Value()
			told, err := strconv.ParseInt(variable(c, "GOMEMLIMIT"), 10, 64)
			if err != nil || told < limit*89/100 || told > limit*90/100 {
				t.Errorf("%s: GOMEMLIMIT %d (%v) of %d bytes", d.Name, told, err, limit)
			}
		}
	})
}

func variable(c core.Container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

func TestTheHalvesApartAreTheSameImageWithTheSameSecrets(t *testing.T) {
	all := mustRender(t, values(t, "apart"))
	browser, services := named(t, all.deployments, "example-cloakroom-browser"), named(t, all.deployments, "example-cloakroom-services")
	one, other := browser.Spec.Template.Spec, services.Spec.Template.Spec
	if one.Containers[0].Image != other.Containers[0].Image || one.Containers[0].Image != "registry.example.com/cloakroom:v0.1.0" {
		t.Errorf("images %s and %s", one.Containers[0].Image, other.Containers[0].Image)
	}
	a, b := configuration(t, all, browser), configuration(t, all, services)
	if seals, others := a["secrets"].([]any), b["secrets"].([]any); !slices.Equal(seals, others) || len(seals) != 2 || !strings.HasSuffix(seals[0].(string), "cloakroom-2}") {
		t.Errorf("secrets %v and %v", seals, others)
	}
	if secretOf(one) != secretOf(other) || secretOf(one) != "cloakroom" {
		t.Errorf("the Secrets %q and %q", secretOf(one), secretOf(other))
	}
	// What both must say, and what only one of them does.
	if a["internal"].(map[string]any)["url"] != b["internal"].(map[string]any)["url"] {
		t.Error("the halves sign by two names")
	}
	if a["internal"].(map[string]any)["listen"] != "off" || b["public"].(map[string]any)["listen"] != "off" {
		t.Error("a half opens the other's listener")
	}
	if len(one.InitContainers) != 1 || len(other.InitContainers) != 0 {
		t.Error("the app's files are the browser's half's alone")
	}
	if *browser.Spec.Replicas != 3 || services.Spec.Replicas != nil {
		t.Errorf("replicas: %v of the browser's half, %v of the services', which is scaled", *browser.Spec.Replicas, services.Spec.Replicas)
	}
	if len(all.autoscalers) != 1 || all.autoscalers[0].Spec.ScaleTargetRef.Name != services.Name || all.autoscalers[0].Spec.MaxReplicas != 6 ||
		all.autoscalers[0].Spec.ScaleTargetRef.APIVersion != services.APIVersion || all.autoscalers[0].Spec.ScaleTargetRef.Kind != services.Kind {
		t.Errorf("scaled is %+v", all.autoscalers)
	}
	if memory := other.Containers[0].Resources.Requests.Memory().String(); memory != "64Mi" {
		t.Errorf("a half's own request of CPU lost the common one of memory: %s", memory)
	}
}

func secretOf(spec core.PodSpec) string {
	for _, v := range spec.Volumes {
		if v.Name == "secrets" {
			return v.Secret.SecretName
		}
	}
	return ""
}

func TestTheDefaultProviderIsTheFirstInTheFile(t *testing.T) {
	first := regexp.MustCompile(`(?m)^providers:.*\n  (\w+):`)
	for value, want := range map[string]string{"staff": "staff", "customers": "customers"} {
		all := mustRender(t, values(t, "everything", "defaultProvider: "+value))
		for _, d := range all.deployments {
			if found := first.FindStringSubmatch(source(t, all, d)); len(found) != 2 || found[1] != want {
				t.Errorf("%s: with %s the first provider is %q", d.Name, value, found)
			}
			if all := configuration(t, all, d)["providers"].(map[string]any); len(all) != 2 {
				t.Errorf("%s: %d providers", d.Name, len(all))
			}
		}
	}
}

func TestOnlyTheBrowsersSideIsPublished(t *testing.T) {
	all := mustRender(t, values(t, "everything"))
	public := named(t, all.services, "bff")
	if len(all.ingresses) != 1 || len(all.routes) != 1 || len(all.backendPolicies) != 1 {
		t.Fatalf("%d Ingresses, %d HTTPRoutes, %d BackendTLSPolicies", len(all.ingresses), len(all.routes), len(all.backendPolicies))
	}
	ingress := all.ingresses[0].Spec
	if ingress.Rules[0].Host != "app.example.com" || ingress.TLS[0].Hosts[0] != "app.example.com" || ingress.TLS[0].SecretName != "app-tls" || *ingress.IngressClassName != "nginx" {
		t.Errorf("the Ingress: %+v", ingress)
	}
	backend := ingress.Rules[0].HTTP.Paths[0].Backend.Service
	if len(ingress.Rules) != 1 || backend.Name != public.Name || backend.Port.Number != public.Spec.Ports[0].Port {
		t.Errorf("the Ingress leads to %+v", backend)
	}
	route := all.routes[0].Spec
	ref := route.Rules[0].BackendRefs[0]
	if len(route.Rules) != 1 || route.Hostnames[0] != "app.example.com" || string(ref.Name) != public.Name || *ref.Port != public.Spec.Ports[0].Port || string(route.ParentRefs[0].Name) != "edge" {
		t.Errorf("the HTTPRoute: %+v", route)
	}
	policy := all.backendPolicies[0].Spec
	if string(policy.TargetRefs[0].Name) != public.Name || policy.Validation.Hostname != "app.example.com" || string(policy.Validation.CACertificateRefs[0].Name) != "app-authorities" {
		t.Errorf("the BackendTLSPolicy: %+v", policy)
	}
	if plain := mustRender(t, values(t, "minimal")); len(plain.ingresses)+len(plain.routes)+len(plain.networkPolicies)+len(plain.monitors)+len(plain.rules)+len(plain.autoscalers) > 0 {
		t.Error("something is on that nobody asked for")
	}
}

func TestTheNetworkPolicyOpensEachPortToWhoNeedsIt(t *testing.T) {
	all := mustRender(t, values(t, "everything"))
	policy := all.networkPolicies[0].Spec
	for _, d := range all.deployments {
		if !matches(t, &policy.PodSelector, d.Spec.Template.Labels) {
			t.Errorf("it leaves out %s", d.Name)
		}
	}
	from := map[int]string{}
	for _, rule := range policy.Ingress {
		for _, peer := range rule.From {
			for _, port := range rule.Ports {
				if peer.NamespaceSelector != nil {
					from[port.Port.IntValue()] += peer.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"]
				} else {
					from[port.Port.IntValue()] += "this namespace"
				}
			}
		}
	}
	if len(from) != 3 || from[8080] != "ingress" || from[8081] != "this namespace" || from[9090] != "monitoring" {
		t.Errorf("let in are %v", from)
	}
	if len(policy.Egress) != 3 || len(policy.PolicyTypes) != 2 {
		t.Errorf("it says of what goes out: %+v, %v", policy.Egress, policy.PolicyTypes)
	}
	policy = mustRender(t, values(t, "minimal", "networkPolicy: {enabled: true}")).networkPolicies[0].Spec
	if len(policy.Ingress) != 2 || len(policy.PolicyTypes) != 1 {
		t.Errorf("without peers of the admin listener nobody reaches it, and without rules everything goes out: %+v", policy)
	}
}

func TestPrometheusFindsEveryPod(t *testing.T) {
	all := mustRender(t, values(t, "everything"))
	monitor, admin := all.monitors[0], named(t, all.services, "bff-admin")
	for _, s := range all.services {
		if matches(t, &monitor.Spec.Selector, s.Labels) != (s == admin) {
			t.Errorf("the ServiceMonitor and the Service %s", s.Name)
		}
	}
	if e := monitor.Spec.Endpoints[0]; e.Port != admin.Spec.Ports[0].Name || e.Path != "/metrics" || monitor.Labels["release"] != "prometheus" {
		t.Errorf("the ServiceMonitor: %+v, labels %v", e, monitor.Labels)
	}
	if admin.Spec.ClusterIP != core.ClusterIPNone {
		t.Error("the admin Service balances over pods of which each is to be asked")
	}
	if len(all.rules) != 1 || len(all.rules[0].Spec.Groups) == 0 || all.rules[0].Labels["release"] != "prometheus" {
		t.Errorf("the PrometheusRule: %+v", all.rules)
	}
}

func TestPodsAreReplacedWhenTheirConfigurationChanges(t *testing.T) {
	sum := func(over ...string) string {
		return mustRender(t, values(t, "minimal", over...)).deployments[0].Spec.Template.Annotations["checksum/config"]
	}
	if sum() == "" || sum() == sum("config: {session: {idle: 5m}}") || sum() != sum("replicas: 7") {
		t.Error("pods do not follow their configuration")
	}
	if sum("restartOnChange: false") != "" {
		t.Error("pods follow their configuration, where they reload it")
	}
}

func TestTheNotesTellWhatToRegister(t *testing.T) {
	notes := mustRender(t, values(t, "everything")).notes
	for _, want := range []string{
		"https://app.example.com/bff/callback/staff", "https://app.example.com/bff/callback/customers", "https://app.example.com/bff/logged-out",
		"https://app.example.com/bff/backchannel-logout/staff", "https://staff.example.com", "https://exchange.example.com/oauth2/token",
		"https://exchange.example.com/.well-known/jwks.json", "speak TLS",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes do not say %s:\n%s", want, notes)
		}
	}
	if strings.Contains(notes, "trusted_proxies") {
		t.Error("the notes miss trusted_proxies, which are given")
	}
	notes = mustRender(t, values(t, "apart", "ingress: {enabled: true}")).notes
	for _, want := range []string{"trusted_proxies", "https://example-cloakroom-internal.identity.svc:8081/oauth2/token"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes do not say %s:\n%s", want, notes)
		}
	}
}

// The example of docs/operations.md is complete: it can be copied.
func TestTheExampleOfTheDocumentationRenders(t *testing.T) {
	page, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, found := strings.Cut(string(page), "```yaml\n# values.yaml")
	example, _, ended := strings.Cut(example, "```")
	if !found || !ended {
		t.Fatal("there is none")
	}
	with, err := common.ReadValues([]byte("#" + example))
	if err != nil {
		t.Fatal(err)
	}
	if all := mustRender(t, with); len(all.deployments) != 1 || len(all.ingresses) != 1 {
		t.Errorf("it makes %d Deployments, %d Ingresses", len(all.deployments), len(all.ingresses))
	}
}
