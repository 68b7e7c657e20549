package chart

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
)

// Prometheus asks every 30 s, for ten minutes.
const (
	steps = 20
	pause = 30 * time.Second
)

// record puts what a replica and a web server once said into a Prometheus: at the end what they said, or what is said in its place, and
// counters grow to that from 0.
func record(t *testing.T, instead func(series labels.Labels, value float64) float64) *tsdb.DB {
	t.Helper()
	db, err := tsdb.Open(t.TempDir(), nil, nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	appender := db.Appender(t.Context())
	for component, file := range map[string]string{"app": "recorded/app.txt", "web": "recorded/web.txt"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		target := map[string]string{"namespace": "triptych", "service": "board-triptych-" + component, "pod": "board-triptych-" + component + "-1"}
		add := func(series labels.Labels, value func(step int) float64) {
			builder := labels.NewBuilder(series)
			for name, text := range target {
				builder.Set(name, text)
			}
			for step := range steps + 1 {
				at := time.Unix(0, 0).Add(time.Duration(step) * pause).UnixMilli()
				if _, err := appender.Append(0, builder.Labels(), at, value(step)); err != nil {
					t.Fatal(err)
				}
			}
		}
		up := labels.FromStrings(labels.MetricName, "up")
		add(up, func(int) float64 { return instead(up, 1) })
		if component == "app" {
			// Nothing had gone wrong.
			failed := labels.FromStrings(labels.MetricName, "triptych_http_requests_total", "route", "/", "method", "GET", "status", "500")
			add(failed, func(step int) float64 { return instead(failed, 0) * float64(step) / steps })
		}
		reader := textparse.NewOpenMetricsParser(text, labels.NewSymbolTable())
		for {
			entry, err := reader.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if entry != textparse.EntrySeries {
				continue
			}
			var series labels.Labels
			reader.Labels(&series)
			_, _, said := reader.Series()
			last := instead(series, said)
			grows := regexp.MustCompile(`_(total|bucket|sum|count)$`).MatchString(series.Get(labels.MetricName))
			add(series, func(step int) float64 {
				if grows {
					return last * float64(step) / steps
				}
				return last
			})
		}
	}
	if err := appender.Commit(); err != nil {
		t.Fatal(err)
	}
	return db
}

// asking gives what a Prometheus answers at the end of what was recorded.
func asking(t *testing.T, db *tsdb.DB) func(query string) (promql.Vector, error) {
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: parser.NewParser(parser.Options{})})
	return func(query string) (promql.Vector, error) {
		instant, err := engine.NewInstantQuery(t.Context(), db, nil, query, time.Unix(0, 0).Add(steps*pause))
		if err != nil {
			return nil, err
		}
		defer instant.Close()
		return instant.Exec(t.Context()).Vector()
	}
}

func asItWas(_ labels.Labels, value float64) float64 { return value }

// Every panel of the dashboard shows something of a board that was used a little.
func TestPanelsShowWhatWasRecorded(t *testing.T) {
	ask := asking(t, record(t, asItWas))
	text, err := os.ReadFile(root + "/helm/triptych/files/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$__rate_interval", "2m", "$namespace", "triptych", "$release", "board-triptych")
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			found, err := ask(fill.Replace(target.Expr))
			if err != nil || len(found) == 0 {
				t.Errorf("panel %q shows nothing: %s (%v)", panel.Title, target.Expr, err)
			}
		}
	}
}

// Each alert fires when its trouble is there, and none while nothing is wrong.
func TestAlertsFire(t *testing.T) {
	// What metrics say when something is wrong.
	set := func(name string, value float64) func(labels.Labels, float64) float64 {
		return func(series labels.Labels, said float64) float64 {
			if series.Get(labels.MetricName) == name {
				return value
			}
			return said
		}
	}
	both := func(one, other func(labels.Labels, float64) float64) func(labels.Labels, float64) float64 {
		return func(series labels.Labels, said float64) float64 { return other(series, one(series, said)) }
	}
	slow := func(series labels.Labels, said float64) float64 {
		if series.Get(labels.MetricName) == "triptych_http_request_duration_seconds_bucket" && series.Get("le") != "+Inf" {
			if bound, err := strconv.ParseFloat(series.Get("le"), 64); err != nil || bound < 8 {
				return 0
			}
		}
		return said
	}
	failing := func(series labels.Labels, said float64) float64 {
		if series.Get("status") == "500" {
			return 100
		}
		return said
	}
	troubles := map[string]func(labels.Labels, float64) float64{
		"":                                    asItWas,
		"TriptychDown":                        set("up", 0),
		"TriptychReplicaDown":                 set("up", 0),
		"Triptych5xxRatioAbove5Percent":       failing,
		"TriptychP99LatencyAbove2s":           slow,
		"TriptychDatabaseConnectionsUsedUp":   both(set("triptych_database_connections", 8), set("triptych_database_connections_idle", 0)),
		"TriptychPostNumbersRunOut":           both(set("triptych_post_number", 9), set("triptych_post_number_limit", 10)),
		"TriptychTrafficBudgetAbove80Percent": both(set("triptych_traffic_month_bytes", 8.5), set("triptych_traffic_budget_bytes", 10)),
		"TriptychTrafficBudgetAbove100Percent": both(
			set("triptych_traffic_month_bytes", 11), set("triptych_traffic_budget_bytes", 10)),
		"TriptychTrafficCountsLost": set("triptych_meter_full_total", 3),
	}
	// One alert in its wake is no mistake.
	allowed := map[string]string{
		"TriptychDown": "TriptychReplicaDown", "TriptychReplicaDown": "TriptychDown",
		"TriptychTrafficBudgetAbove100Percent": "TriptychTrafficBudgetAbove80Percent",
	}
	objects, _ := rendered(t, "production")
	alerts := map[string]string{}
	for _, rule := range all[*monitoringv1.PrometheusRule](objects) {
		for _, group := range rule.Spec.Groups {
			for _, alert := range group.Rules {
				alerts[alert.Alert] = alert.Expr.String()
			}
		}
	}
	for trouble, bent := range troubles {
		t.Run("trouble: "+trouble, func(t *testing.T) {
			ask := asking(t, record(t, bent))
			for name, expression := range alerts {
				found, err := ask(expression)
				switch {
				case err != nil:
					t.Errorf("%s: %v", name, err)
				case name == trouble && len(found) == 0:
					t.Errorf("%s does not fire: %s", name, expression)
				case name != trouble && allowed[trouble] != name && len(found) != 0:
					t.Errorf("%s fires: %v", name, found)
				}
			}
		})
	}
	for name := range alerts {
		if troubles[name] == nil {
			t.Errorf("nothing makes %s fire", name)
		}
	}
}
