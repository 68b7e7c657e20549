package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// to gives the flows from each of some to one port.
func to(target string, port int32, from ...string) []flow {
	var flows []flow
	for _, who := range from {
		flows = append(flows, tcp(who, target, port))
	}
	return flows
}

// lookUps are those of names, by whoever talks to something by its name.
func lookUps(server string, port int32, from ...string) []flow {
	var flows []flow
	for _, who := range from {
		flows = append(flows, udp(who, server, port), tcp(who, server, port))
	}
	return flows
}

// pages are asked for at both servers.
func pages(from ...string) []flow {
	return slices.Concat(to("app", 8080, from...), to("web", 8080, from...))
}

// The parts of what a board needs.
var (
	// The address of the API is not known beforehand.
	credentials = slices.Concat(
		to(anywhere, 443, "credentials"), to(anywhere, 6443, "credentials"), to(anywhere, 8443, "credentials"), to(anywhere, 16443, "credentials"),
	)
	// Web asks for what it does not have, and hands on what it counts.
	meters = slices.Concat(to("app", 8080, "web"), to("app", 9090, "web"))
	// Nor is that of DNS: a cache on the node, pods of another name.
	smoke   = slices.Concat(pages("smoke"), lookUps(anywhere, 53, "smoke"))
	servers = slices.Concat(meters, lookUps(anywhere, 53, "app", "web"))
	// With Postgres and MinIO in the release no pod but the one above reaches anything outside of it.
	stores  = slices.Concat(to("postgresql", 5432, "app", "gc"), to("minio", 9000, "app", "gc"), lookUps(anywhere, 53, "gc"))
	metrics = slices.Concat(to("app", 9090, "prometheus"), to("web", 9113, "prometheus"))
	board   = slices.Concat(pages("controller"), servers, stores, smoke, credentials)
)

func TestFlows(t *testing.T) {
	// Everybody who reads or works on an external database or S3 server.
	workers := []string{"app", "gc", "migrate"}
	for _, c := range []struct {
		name  string
		flows []flow
	}{
		{"default", board},
		{"kind", board},
		{"f5", board},
		{"same name", board},
		// Its controller is in another namespace, where nobody is.
		{"ingress-nginx", slices.Concat(servers, stores, smoke, credentials)},
		// Whoever the controller is, it is in some namespace.
		{"none", slices.Concat(
			pages("controller", "prometheus", "dns", "metrics-server", "stranger", "neighbour", "database", "gateway", "reader", "openshift dns"),
			servers, stores, smoke, credentials,
		)},
		{"httproute", slices.Concat(pages("gateway"), servers, stores, smoke, credentials)},
		{"manifests", slices.Concat(pages("controller"), servers, stores, credentials)},
		// A collector whose address is not known beforehand.
		{"bundled", slices.Concat(board, metrics, to(anywhere, 443, "app"))},
		{"openshift", slices.Concat(
			pages("controller", "smoke"), meters, to("postgresql", 5432, "app", "gc"), to("minio", 9000, "app", "gc"),
			lookUps("openshift dns", 5353, "app", "web", "gc", "smoke"), credentials,
		)},
		{"external", slices.Concat(
			pages("controller"), servers, smoke, lookUps(anywhere, 53, "gc", "migrate"),
			to("external database", 5433, workers...), to("external database", 5434, workers...), to("s3", 8443, workers...),
		)},
		{"production", slices.Concat(
			pages("controller"), servers, smoke, credentials, lookUps(anywhere, 53, "gc", "migrate"),
			metrics, to("database", 5432, workers...), to(anywhere, 443, workers...),
		)},
		{"everything", slices.Concat(
			// An ingress controller that is no pod of the cluster's network.
			pages("controller", "reader", "api server", "telemetry"), servers, smoke, lookUps(anywhere, 53, "gc", "migrate"),
			metrics, to(anywhere, 5432, workers...), to(anywhere, 443, workers...), to("telemetry", 4317, workers...),
			to("telemetry", 4318, "app"),
		)},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects, r := rendered(t, c.name)
			reportAll(t, checkFlows(objects, r, c.flows))
		})
	}
}

func TestDefaultDeny(t *testing.T) {
	for _, c := range cases {
		if c.name == "minimal" {
			continue
		}
		t.Run(c.name, func(t *testing.T) { reportAll(t, checkDefaultDeny(render(t, c.rendering), c.rendering)) })
	}
	t.Run("off", func(t *testing.T) {
		for _, c := range cases {
			r := c.rendering
			r.set = append(slices.Clone(r.set), `networkPolicy.enabled=false`)
			for _, o := range render(t, r) {
				if o.Kind == "NetworkPolicy" && o.meta.Annotations["helm.sh/hook"] == "" {
					t.Errorf("%s: %s is rendered, and policies are switched off", c.name, o)
				}
			}
		}
	})
}

// While the hooks of an upgrade run, the policies of the release before are in force, whatever the new values say; a
// test runs under those of its own release. In both cases hooks bring what lets them out.
func TestHooksGetOut(t *testing.T) {
	api := to(anywhere, 443, "credentials")
	for _, port := range []int32{6443, 8443, 16443} {
		api = append(api, to(anywhere, port, "credentials")...)
	}
	tests := slices.Concat(pages("smoke"), lookUps(anywhere, 53, "smoke"))
	stores := slices.Concat(lookUps(anywhere, 53, "migrate"), to(anywhere, 5432, "migrate"), to(anywhere, 443, "migrate"))
	outside := []string{
		`postgresql.enabled=false`, `externalDatabase.existingSecret="board-database"`,
		`minio.enabled=false`, `s3={"endpoint":"https://s3.example.org","existingSecret":"board-s3"}`, `migrations.hook.enabled=true`,
	}
	for _, c := range []struct {
		name    string
		set     []string
		upgrade []flow
	}{
		{"bundled", nil, api},
		{"external", outside, slices.Concat(api, stores)},
	} {
		release := func(enabled bool) (rendering, []object) {
			r := rendering{set: append(slices.Clone(c.set), fmt.Sprintf("networkPolicy.enabled=%t", enabled))}
			return r, render(t, r)
		}
		for _, before := range []bool{true, false} {
			for _, after := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, enabled=%t, then %t", c.name, before, after), func(t *testing.T) {
					_, old := release(before)
					r, objects := release(after)
					reportAll(t, checkHookFlows(old, objects, r, "pre-upgrade", c.upgrade))
					reportAll(t, checkHookFlows(objects, objects, r, "test", tests))
				})
			}
		}
	}
}

// ciliumPolicy is what the README uses of Cilium's API, whose types are not among those that are known here.
type ciliumPolicy struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            struct {
		EndpointSelector metav1.LabelSelector `json:"endpointSelector"`
		Egress           []struct {
			ToEntities []string `json:"toEntities"`
		} `json:"egress"`
		Ingress []struct {
			FromEntities []string `json:"fromEntities"`
			ToPorts      []struct {
				Ports []struct {
					Port     string `json:"port"`
					Protocol string `json:"protocol"`
				} `json:"ports"`
			} `json:"toPorts"`
		} `json:"ingress"`
	} `json:"spec"`
}

// What the README has for Cilium selects the pods that it is about, and is there before the Job is that it is for.
func TestRecipesForCilium(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(chartPath, "README.md.gotmpl"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]ciliumPolicy{}
	for _, recipe := range regexp.MustCompile(`(?m)(?:^    .*\n)*^    .*CiliumNetworkPolicy.*\n(?:^    .*\n)*`).FindAll(readme, -1) {
		values := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(values, regexp.MustCompile(`(?m)^    `).ReplaceAll(recipe, nil), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, document := range strings.Split(string(manifests(t, rendering{files: []string{values}})), "\n---\n") {
			if !strings.Contains(document, "CiliumNetworkPolicy") {
				continue
			}
			var policy ciliumPolicy
			if err := yaml.UnmarshalStrict([]byte(document), &policy); err != nil {
				t.Fatal(err)
			}
			if policy.APIVersion != "cilium.io/v2" || policy.Kind != "CiliumNetworkPolicy" {
				t.Errorf("%s is a %s of %s", policy.Metadata.Name, policy.Kind, policy.APIVersion)
			}
			found[policy.Metadata.Name] = policy
		}
	}
	objects, _ := rendered(t, "default")
	for name, wanted := range map[string][]string{
		"board-api-server": {"Job/board-triptych-credentials"},
		"board-pages":      {"Deployment/board-triptych-app", "Deployment/board-triptych-web"},
	} {
		policy := found[name]
		if of := names(selected(objects, &policy.Spec.EndpointSelector)); !slices.Equal(of, wanted) {
			t.Errorf("%s is for %q", name, of)
		}
	}
	if rules := found["board-api-server"].Spec.Egress; len(rules) != 1 || !slices.Equal(rules[0].ToEntities, []string{"kube-apiserver"}) {
		t.Errorf("the Job may reach %v", rules)
	}
	for _, o := range objects {
		if o.String() == "Job/board-triptych-credentials" && !madeBefore(object{meta: found["board-api-server"].Metadata}, o) {
			t.Error("the policy of the Job is not there yet when it runs")
		}
	}
	if rules := found["board-pages"].Spec.Ingress; len(rules) != 1 || len(rules[0].ToPorts) != 1 || len(rules[0].ToPorts[0].Ports) != 1 || rules[0].ToPorts[0].Ports[0].Port != "8080" {
		t.Errorf("the controller may reach %v", rules)
	}
}
