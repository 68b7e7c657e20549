package chart

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// The scheduler passes over nodes that lack the label of any spread constraint when it scores: with one by zone, replicas
// crowd on one node where nodes have no zone. Every node has a host name; a zone is preferred where there is one.
func TestReplicasSpread(t *testing.T) {
	for _, c := range cases {
		if c.name == "minimal" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			objects := render(t, c.rendering)
			for _, component := range []string{"app", "web"} {
				deployment, err := find[*appsv1.Deployment](objects, "Deployment", c.fullname()+"-"+component)
				if err != nil {
					t.Fatal(err)
				}
				pod := deployment.Spec.Template.Spec
				if len(pod.TopologySpreadConstraints) != 1 {
					t.Fatalf("%s: %d spread constraints", component, len(pod.TopologySpreadConstraints))
				}
				spread := pod.TopologySpreadConstraints[0]
				if spread.TopologyKey != corev1.LabelHostname || spread.MaxSkew != 1 {
					t.Errorf("%s: spread over %s with a skew of %d", component, spread.TopologyKey, spread.MaxSkew)
				}
				// A pod that may not be scheduled while a node is drained or full helps nobody.
				if spread.WhenUnsatisfiable != corev1.ScheduleAnyway {
					t.Errorf("%s: %s", component, spread.WhenUnsatisfiable)
				}
				// Here the operator's own anti-affinity takes its place.
				wanted := 1
				if c.name == "everything" {
					wanted = 0
				}
				terms := zoneTerms(pod)
				if len(terms) != wanted {
					t.Fatalf("%s: %d preferences by zone", component, len(terms))
				}
				for _, term := range terms {
					if !slices.Equal(term.MatchLabelKeys, []string{appsv1.DefaultDeploymentUniqueLabelKey}) {
						t.Errorf("%s: replicas that are about to go count as well: %q", component, term.MatchLabelKeys)
					}
				}
			}
			for _, w := range workloads(objects) {
				if w.Kind != "Deployment" && zoneTerms(w.pod.Spec) != nil {
					t.Errorf("%s has a preference by zone, and no replicas", w)
				}
			}
		})
	}
}

// What the operator says about nodes stays beside it, and is for Jobs as well.
func TestAffinityOfTheOperator(t *testing.T) {
	nodes := `{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"disk","operator":"Exists"}]}]}}}`
	objects := render(t, rendering{set: []string{"app.affinity=" + nodes, "web.affinity=" + nodes}})
	for _, w := range workloads(objects) {
		if w.component() != "app" && w.component() != "web" {
			continue
		}
		if affinity := w.pod.Spec.Affinity; affinity == nil || affinity.NodeAffinity == nil {
			t.Errorf("%s may run on any node", w)
		}
		if found := len(zoneTerms(w.pod.Spec)); w.Kind == "Deployment" && found != 1 {
			t.Errorf("%s: %d preferences by zone", w, found)
		}
	}
	for _, w := range workloads(render(t, rendering{set: []string{`app.affinity={"podAntiAffinity":{}}`}})) {
		if w.component() == "app" && zoneTerms(w.pod.Spec) != nil {
			t.Errorf("%s has a preference that the operator took away", w)
		}
	}
}
