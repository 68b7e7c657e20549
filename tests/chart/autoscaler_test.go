package chart

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
)

// An autoscaler that is only switched on takes a breath before it does something: what it does to a moment's load is over
// when the new replica is there, and a replica that goes takes its warm pages along.
func TestAutoscalersAreCalm(t *testing.T) {
	for _, c := range []valueSet{
		{name: "default", rendering: rendering{set: []string{
			`app.replicas=null`, `app.autoscaling.enabled=true`, `web.replicas=null`, `web.autoscaling.enabled=true`,
		}}},
		cases[2],
	} {
		t.Run(c.name, func(t *testing.T) {
			objects := render(t, c.rendering)
			scalers := all[*autoscalingv2.HorizontalPodAutoscaler](objects)
			if len(scalers) == 0 {
				t.Fatal("no autoscaler")
			}
			for _, scaler := range scalers {
				behavior := scaler.Spec.Behavior
				if behavior == nil || behavior.ScaleUp == nil || behavior.ScaleDown == nil {
					t.Fatalf("%s: how fast it is, is left to the cluster", scaler.Name)
				}
				if window := behavior.ScaleUp.StabilizationWindowSeconds; window == nil || *window < 30 {
					t.Errorf("%s: a single measurement scales it up", scaler.Name)
				}
				if window := behavior.ScaleDown.StabilizationWindowSeconds; window == nil || *window < 600 {
					t.Errorf("%s: a short lull scales it down", scaler.Name)
				}
				for _, policy := range behavior.ScaleDown.Policies {
					if policy.Type != autoscalingv2.PodsScalingPolicy || policy.Value != 1 {
						t.Errorf("%s: several go at a time", scaler.Name)
					}
				}
				deployment, err := find[*appsv1.Deployment](objects, "Deployment", scaler.Name)
				if err != nil {
					t.Fatal(err)
				}
				requested := deployment.Spec.Template.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU]
				least := map[string]int64{c.fullname() + "-app": 150, c.fullname() + "-web": 70}[scaler.Name]
				for _, metric := range scaler.Spec.Metrics {
					if metric.Resource == nil || metric.Resource.Name != corev1.ResourceCPU {
						continue
					}
					if at := requested.MilliValue() * int64(*metric.Resource.Target.AverageUtilization) / 100; at < least {
						t.Errorf("%s: %dm of CPU scale it up, which a few visitors take", scaler.Name, at)
					}
				}
			}
		})
	}
}

// What the operator says about it is what counts, field by field.
func TestBehaviourOfTheOperator(t *testing.T) {
	objects, r := rendered(t, "hpa")
	scaler, err := find[*autoscalingv2.HorizontalPodAutoscaler](objects, "HorizontalPodAutoscaler", r.fullname()+"-app")
	if err != nil {
		t.Fatal(err)
	}
	if window := scaler.Spec.Behavior.ScaleDown.StabilizationWindowSeconds; window == nil || *window != 900 {
		t.Errorf("%v", scaler.Spec.Behavior.ScaleDown)
	}
}
