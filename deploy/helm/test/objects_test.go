package chart

import (
	"slices"
	"testing"

	operator "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// objects are a release, in the API's own types.
type objects struct {
	notes           string
	configMaps      []*core.ConfigMap
	deployments     []*apps.Deployment
	services        []*core.Service
	serviceAccounts []*core.ServiceAccount
	ingresses       []*networking.Ingress
	routes          []*gateway.HTTPRoute
	backendPolicies []*gateway.BackendTLSPolicy
	autoscalers     []*autoscaling.HorizontalPodAutoscaler
	budgets         []*policy.PodDisruptionBudget
	networkPolicies []*networking.NetworkPolicy
	monitors        []*operator.ServiceMonitor
	rules           []*operator.PrometheusRule
}

// decode takes every document strictly: a field that the type does not have, and one that stands there twice, is an error.
func decode(t *testing.T, r rendered) objects {
	t.Helper()
	all := objects{notes: r.notes}
	for _, document := range r.documents {
		var kind meta.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		switch kind.APIVersion + " " + kind.Kind {
		case "v1 ConfigMap":
			strictly(t, document, &all.configMaps)
		case "apps/v1 Deployment":
			strictly(t, document, &all.deployments)
		case "v1 Service":
			strictly(t, document, &all.services)
		case "v1 ServiceAccount":
			strictly(t, document, &all.serviceAccounts)
		case "networking.k8s.io/v1 Ingress":
			strictly(t, document, &all.ingresses)
		case "gateway.networking.k8s.io/v1 HTTPRoute":
			strictly(t, document, &all.routes)
		case "gateway.networking.k8s.io/v1 BackendTLSPolicy":
			strictly(t, document, &all.backendPolicies)
		case "autoscaling/v2 HorizontalPodAutoscaler":
			strictly(t, document, &all.autoscalers)
		case "policy/v1 PodDisruptionBudget":
			strictly(t, document, &all.budgets)
		case "networking.k8s.io/v1 NetworkPolicy":
			strictly(t, document, &all.networkPolicies)
		case "monitoring.coreos.com/v1 ServiceMonitor":
			strictly(t, document, &all.monitors)
		case "monitoring.coreos.com/v1 PrometheusRule":
			strictly(t, document, &all.rules)
		default: // a Secret among others: the chart makes none
			t.Errorf("the chart renders a %s %s, which this test does not know:\n%s", kind.APIVersion, kind.Kind, document)
		}
	}
	return all
}

func strictly[T any](t *testing.T, document string, into *[]*T) {
	t.Helper()
	one := new(T)
	if err := yaml.UnmarshalStrict([]byte(document), one); err != nil {
		t.Errorf("not a %T: %v\n%s", one, err, document)
	}
	*into = append(*into, one)
}

// named finds the one of that name.
func named[T any, P interface {
	*T
	meta.Object
}](t *testing.T, all []*T, name string) *T {
	t.Helper()
	i := slices.IndexFunc(all, func(one *T) bool { return P(one).GetName() == name })
	if i < 0 {
		t.Fatalf("there is no %T %s", new(T), name)
	}
	return all[i]
}
