package chart

import (
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"encoding/json"

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

// record puts what a replica and a web server once said into a Prometheus: at the end what they said, and counters grow to that
// from 0.
func record(t *testing.T) *tsdb.DB {
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
		add(labels.FromStrings(labels.MetricName, "up"), func(int) float64 { return 1 })
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
			_, _, last := reader.Series()
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

// What the dashboard and the alerts ask is asked of a real Prometheus that has read the metrics of a board: every panel shows something,
// and no alert fails or fires while nothing is wrong.
func TestQueriesFindWhatWasRecorded(t *testing.T) {
	db := record(t)
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: parser.NewParser(parser.Options{})})
	ask := func(query string) (promql.Vector, error) {
		end := time.Unix(0, 0).Add(steps * pause)
		instant, err := engine.NewInstantQuery(t.Context(), db, nil, query, end)
		if err != nil {
			return nil, err
		}
		defer instant.Close()
		return instant.Exec(t.Context()).Vector()
	}

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

	objects, _ := rendered(t, "everything")
	alerts := 0
	for _, rule := range all[*monitoringv1.PrometheusRule](objects) {
		for _, group := range rule.Spec.Groups {
			for _, alert := range group.Rules {
				if alert.Alert == "" {
					continue
				}
				alerts++
				if found, err := ask(alert.Expr.String()); err != nil || len(found) != 0 {
					t.Errorf("%s fires although nothing is wrong: %v (%v)", alert.Alert, found, err)
				}
			}
		}
	}
	if alerts == 0 {
		t.Error("there are no alerts")
	}
}
