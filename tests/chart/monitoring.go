package chart

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	promlabels "github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// series are the names of time series with their labels.
type series map[string][]string

// Labels that Prometheus puts on everything that it reads from a pod behind a Service.
var ofTarget = []string{"namespace", "service", "pod", "endpoint", "container", "instance", "job"}

// ofProgram reads from the sources of the replicas and of the meter what they count and measure.
func ofProgram() (series, error) {
	all := series{"up": nil}
	for _, file := range []string{"metrics.rs", "meter/metrics.rs"} {
		found, err := ofSource(file)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, found)
	}
	return all, nil
}

// ofSource reads one of them. What is registered there under a name gets the suffixes that OpenMetrics has for its type.
func ofSource(file string) (series, error) {
	content, err := os.ReadFile(root + "/app/src/" + file)
	if err != nil {
		return nil, err
	}
	source := string(content)
	group := func(pattern string) [][]string { return regexp.MustCompile(pattern).FindAllStringSubmatch(source, -1) }
	// The labels of a struct are its fields.
	labels := map[string][]string{}
	for _, found := range group(`(?s)EncodeLabelSet\)\]\s*pub struct (\w+) \{(.*?)\n\}`) {
		for _, field := range regexp.MustCompile(`pub (\w+):`).FindAllStringSubmatch(found[2], -1) {
			labels[found[1]] = append(labels[found[1]], field[1])
		}
	}
	type family struct {
		kind   string
		labels []string
	}
	families := map[string]family{}
	for _, found := range group(`(?m)^\s*(?:pub )?(\w+): (?:Family<(\w+), )?(Counter|Gauge|Histogram)\b.*,$`) {
		families[found[1]] = family{found[3], labels[found[2]]}
	}
	all := series{}
	prefix := group(`Registry::with_prefix\("(\w+)"\)`)
	if len(prefix) != 1 {
		return nil, fmt.Errorf("%s has no prefix", file)
	}
	registered := group(`(?s)\.register(?:_with_unit)?\(\s*"(\w+)",\s*"[^"]*",\s*(?:Unit::(\w+),\s*)?(?:metrics\.)?(\w+)\.clone\(\),?\s*\)`)
	if count := strings.Count(source, ".register"); count == 0 || count != len(registered) {
		return nil, fmt.Errorf("%s registers %d families, and %d were understood", file, count, len(registered))
	}
	for _, found := range registered {
		name := prefix[0][1] + "_" + found[1]
		if found[2] != "" {
			name += "_" + strings.ToLower(found[2])
		}
		of, known := families[found[3]]
		switch {
		case !known:
			return nil, fmt.Errorf("%s: what is %s?", file, found[3])
		case of.kind == "Counter":
			all[name+"_total"] = of.labels
		case of.kind == "Histogram":
			all[name+"_bucket"] = append(slices.Clone(of.labels), "le")
			all[name+"_sum"], all[name+"_count"] = of.labels, of.labels
		default:
			all[name] = of.labels
		}
	}
	return all, nil
}

// Grafana fills these in before Prometheus sees the expression.
var (
	interval = regexp.MustCompile(`\$(__rate_interval|__interval|__range)\b|\$\{(__rate_interval|__interval|__range)\}`)
	variable = regexp.MustCompile(`\$\{?[A-Za-z_]\w*(:\w+)?\}?`)
)

// checkExpression parses PromQL, and wants every series in it to be one that exists, with labels that it has.
func checkExpression(expression string, known series) []string {
	expression = variable.ReplaceAllString(interval.ReplaceAllString(expression, "5m"), "x")
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", expression, err)}
	}
	var problems []string
	used := 0
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		selector, isSelector := node.(*parser.VectorSelector)
		if !isSelector {
			return nil
		}
		used++
		labels, found := known[selector.Name]
		if !found {
			problems = append(problems, fmt.Sprintf("%s: there is no %q, only %q", expression, selector.Name, slices.Sorted(maps.Keys(known))))
			return nil
		}
		for _, matcher := range selector.LabelMatchers {
			if matcher.Name != promlabels.MetricName && !slices.Contains(labels, matcher.Name) && !slices.Contains(ofTarget, matcher.Name) {
				problems = append(problems, fmt.Sprintf("%s: %s has no label %q", expression, selector.Name, matcher.Name))
			}
		}
		return nil
	})
	if used == 0 {
		problems = append(problems, fmt.Sprintf("%s: asks for no series", expression))
	}
	return problems
}

// checkRules looks at every expression of the alerts, and at what tells people about them.
func checkRules(rules []*monitoringv1.PrometheusRule, known series) []string {
	var problems []string
	for _, rule := range rules {
		names := map[string]bool{}
		for _, group := range rule.Spec.Groups {
			for _, r := range group.Rules {
				name := r.Alert + r.Record
				for _, problem := range checkExpression(r.Expr.String(), known) {
					problems = append(problems, fmt.Sprintf("%s: %s", name, problem))
				}
				if (r.Alert == "") == (r.Record == "") {
					problems = append(problems, fmt.Sprintf("%q is an alert, or a record, and never both", name))
				}
				if names[name] {
					problems = append(problems, name+" is there twice")
				}
				names[name] = true
				if r.Alert != "" && (r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Labels["severity"] == "" || r.For == nil) {
					problems = append(problems, name+" has no summary, description, severity or patience")
				}
			}
		}
	}
	return problems
}

// checkDashboard reads a dashboard as Grafana's sidecar does.
func checkDashboard(text string, known series) []string {
	var dashboard struct {
		UID, Title string
		Panels     []struct {
			ID      int
			Title   string
			Type    string
			GridPos struct{ H, W, X, Y int }
			Targets []struct{ RefID, Expr string }
		}
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &dashboard); err != nil {
		return []string{err.Error()}
	}
	var problems []string
	if dashboard.UID == "" || dashboard.Title == "" {
		problems = append(problems, "it has no uid or no title")
	}
	if len(dashboard.Panels) == 0 {
		problems = append(problems, "it has no panels")
	}
	ids := map[int]bool{}
	defined := map[string]bool{}
	for _, v := range dashboard.Templating.List {
		defined[v.Name] = true
		// `label_values(SERIES, LABEL)`: Grafana's own language around PromQL.
		for _, found := range regexp.MustCompile(`label_values\((.*), *\w+\)`).FindAllStringSubmatch(fmt.Sprint(v.Query), -1) {
			problems = append(problems, checkExpression(found[1], known)...)
		}
	}
	for _, panel := range dashboard.Panels {
		report := func(format string, arguments ...any) {
			problems = append(problems, fmt.Sprintf("panel %q: %s", panel.Title, fmt.Sprintf(format, arguments...)))
		}
		if ids[panel.ID] || panel.ID == 0 {
			report("its id %d is there twice, or none", panel.ID)
		}
		ids[panel.ID] = true
		if at := panel.GridPos; at.W <= 0 || at.H <= 0 || at.X+at.W > 24 {
			report("has no place on the grid")
		}
		if len(panel.Targets) == 0 && panel.Type != "row" && panel.Type != "text" {
			report("shows nothing")
		}
		for _, target := range panel.Targets {
			for _, problem := range checkExpression(target.Expr, known) {
				report("%s", problem)
			}
			for _, name := range variable.FindAllString(interval.ReplaceAllString(target.Expr, ""), -1) {
				if !defined[strings.Trim(name, "${}")] {
					report("%s is not a variable of the dashboard", name)
				}
			}
		}
	}
	return problems
}
