package chart

import (
	"maps"
	"slices"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
)

// program's series, as they were when this was written: finds out whether its source is still understood.
func TestSeriesOfTheProgram(t *testing.T) {
	known, err := ofProgram()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"triptych_http_requests_total", "triptych_http_request_duration_seconds_bucket", "triptych_http_request_duration_seconds_sum",
		"triptych_http_request_duration_seconds_count", "triptych_http_requests_in_flight", "triptych_posts_total",
		"triptych_picture_sent_bytes_total", "triptych_database_connections", "triptych_database_connections_idle",
		"triptych_post_number", "triptych_post_number_limit", "triptych_traffic_bytes_total", "triptych_meter_full_total",
	} {
		if _, found := known[name]; !found {
			t.Errorf("no %s among %q", name, slices.Sorted(maps.Keys(known)))
		}
	}
}

func TestMonitoring(t *testing.T) {
	known, err := ofProgram()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"production", "everything"} {
		t.Run(name, func(t *testing.T) {
			objects, r := rendered(t, name)
			rules := all[*monitoringv1.PrometheusRule](objects)
			if len(rules) != 1 {
				t.Errorf("%d PrometheusRules", len(rules))
			}
			reportAll(t, checkRules(rules, known))
			dashboard, err := find[*corev1.ConfigMap](objects, "ConfigMap", r.fullname()+"-dashboard")
			if err != nil {
				t.Fatal(err)
			}
			if len(dashboard.Data) == 0 {
				t.Error("no dashboard in the ConfigMap")
			}
			for file, text := range dashboard.Data {
				for _, problem := range checkDashboard(text, known) {
					t.Errorf("%s: %s", file, problem)
				}
			}
			// Grafana's sidecar and the operator find them by their labels.
			if dashboard.Labels["grafana_dashboard"] != "1" {
				t.Errorf("labels of the dashboard: %v", dashboard.Labels)
			}
		})
	}
}
