package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// What Go's templates leave behind where a value is missing or of another type than was thought.
var leftOver = regexp.MustCompile(`<no value>|%!\w?\(|<nil>|\bmap\[`)

func checkText(text string) []string {
	return leftOver.FindAllString(text, -1)
}

func TestNothingIsLeftOver(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			reportAll(t, checkText(string(manifests(t, c.rendering))))
		})
	}
	for _, broken := range []string{"a: <no value>", "a: %!d(string=3)", "a: map[b:c]", "a: <nil>"} {
		if checkText(broken) == nil {
			t.Errorf("%q is fine", broken)
		}
	}
}

// notes gives what `helm install` tells people to do next. Helm 3 tells it only where there is a cluster, so a copy of
// the chart has it in an object.
func notes(t *testing.T, r rendering) string {
	t.Helper()
	r.chart = t.TempDir()
	if err := os.CopyFS(r.chart, os.DirFS(chartPath)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(r.chart, "templates/NOTES.txt"), filepath.Join(r.chart, "files/notes.txt")); err != nil {
		t.Fatal(err)
	}
	template := `{apiVersion: v1, kind: ConfigMap, metadata: {name: notes}, data: {text: {{ tpl (.Files.Get "files/notes.txt") . | toJson }}}}`
	if err := os.WriteFile(filepath.Join(r.chart, "templates/notes.yaml"), []byte(template), 0o644); err != nil {
		t.Fatal(err)
	}
	configuration, err := find[*corev1.ConfigMap](render(t, r), "ConfigMap", "notes")
	if err != nil {
		t.Fatal(err)
	}
	return configuration.Data["text"]
}

func TestNotes(t *testing.T) {
	for _, c := range []struct {
		name  string
		parts []string
	}{
		{"default", []string{"http://board.localhost", "kubectl get secret -n triptych board-triptych-credentials", "Not for production", "Postgres and MinIO"}},
		{"f5", []string{"https://board.example.org"}},
		{"httproute", []string{"https://board.example.org", "kubectl get httproute -n triptych board-triptych"}},
		{"minimal", []string{"Nothing leads to the board from outside", "One replica"}},
		{"production", []string{"https://board.example.org"}},
		{"everything", []string{"https://board.example.org"}},
		{"same name", []string{"service/triptych-web 8888:80", "helm test -n triptych triptych"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, r := rendered(t, c.name)
			text := notes(t, r)
			wants(t, text, append(c.parts, "kubectl port-forward -n triptych", "helm test -n triptych "+r.name())...)
			reportAll(t, checkText(text))
		})
	}
}

// expand does to a variable's value what the kubelet does: `$(NAME)` is another variable's, and `$$` is `$`.
func expand(value string, variables map[string]string) string {
	return regexp.MustCompile(`\$\$|\$\([^)]*\)`).ReplaceAllStringFunc(value, func(found string) string {
		if found == "$$" {
			return "$"
		}
		if other, known := variables[found[2:len(found)-1]]; known {
			return other
		}
		return found
	})
}

// Whatever a text has in it, the application gets exactly that.
func TestTextsArriveAsTheyAre(t *testing.T) {
	title := "A \"board\": 'quotes', {{ braces }}, $HOME, $$5, $(TRIPTYCH_S3_BUCKET), #1, 유물, \\n"
	boards := []map[string]any{
		{"slug": "b", "title": "Random: \"anything\"", "description": "{{ .Values }} & <b> $(TRIPTYCH_S3_BUCKET) $$5", "locked": false},
		{"slug": "1", "title": "1", "description": "true"},
	}
	set := func(name string, value any) string {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return name + "=" + string(text)
	}
	objects := render(t, rendering{set: []string{set("title", title), set("boards", boards), `trustedProxies=["10.0.0.0/8","fd00::/8"]`, `publicUrl="https://board.example.org/"`}})
	deployment, err := find[*appsv1.Deployment](objects, "Deployment", "board-triptych-app")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, variable := range deployment.Spec.Template.Spec.Containers[0].Env {
		got[variable.Name] = expand(variable.Value, got)
	}
	for name, wanted := range map[string]string{
		"TRIPTYCH_TITLE": title, "TRIPTYCH_TRUSTED_PROXIES": "10.0.0.0/8,fd00::/8", "TRIPTYCH_PUBLIC_URL": "https://board.example.org",
		"TRIPTYCH_MAX_FILES": "4", "TRIPTYCH_MAX_FILE_SIZE": "8MiB", "TRIPTYCH_DECODERS": "2", "TRIPTYCH_DATABASE_CONNECTIONS": "8",
		"TRIPTYCH_FEED_INTERVAL": "20ms", "TRIPTYCH_STALE_IF_ERROR": "10m",
		"TRIPTYCH_MAX_STREAMS": "10000", "TRIPTYCH_MAX_STREAMS_PER_ADDRESS": "50",
	} {
		if got[name] != wanted {
			t.Errorf("%s is %q, not %q", name, got[name], wanted)
		}
	}
	var arrived []map[string]any
	got = map[string]string{}
	for _, variable := range deployment.Spec.Template.Spec.InitContainers[0].Env {
		got[variable.Name] = expand(variable.Value, got)
	}
	if err := json.Unmarshal([]byte(got["TRIPTYCH_BOARDS"]), &arrived); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(arrived, boards) {
		t.Errorf("the boards arrive as %v", arrived)
	}
}

// What is set about freshness, event streams and decoders reaches the replicas.
func TestSettingsReachTheEnvironment(t *testing.T) {
	objects, r := rendered(t, "everything")
	deployment, err := find[*appsv1.Deployment](objects, "Deployment", r.fullname()+"-app")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, variable := range deployment.Spec.Template.Spec.Containers[0].Env {
		got[variable.Name] = variable.Value
	}
	for name, wanted := range map[string]string{
		"TRIPTYCH_FEED_INTERVAL": "0", "TRIPTYCH_STALE_IF_ERROR": "1h",
		"TRIPTYCH_MAX_STREAMS": "20000", "TRIPTYCH_MAX_STREAMS_PER_ADDRESS": "2000",
		"TRIPTYCH_DECODERS": "1",
	} {
		if got[name] != wanted {
			t.Errorf("%s is %q, not %q", name, got[name], wanted)
		}
	}
}

// A variable of the operator's takes the place of the chart's, for every container that has it.
func TestExtraEnvironmentReplaces(t *testing.T) {
	objects, r := rendered(t, "everything")
	deployment, err := find[*appsv1.Deployment](objects, "Deployment", r.fullname()+"-app")
	if err != nil {
		t.Fatal(err)
	}
	pod := deployment.Spec.Template.Spec
	for _, variable := range pod.Containers[0].Env {
		if variable.Name == "TRIPTYCH_TITLE" && variable.Value != "Another" {
			t.Errorf("TRIPTYCH_TITLE is %q", variable.Value)
		}
	}
	for _, w := range workloads(objects) {
		for _, container := range w.containers() {
			for _, variable := range container.Env {
				if variable.Name == "TRIPTYCH_S3_ACCESS_KEY_ID" && (variable.ValueFrom == nil || variable.ValueFrom.SecretKeyRef.Name != "board-further") {
					t.Errorf("%s: container %s has the chart's TRIPTYCH_S3_ACCESS_KEY_ID", w, container.Name)
				}
			}
		}
	}
}

// Labels for everything are on everything, and annotations of the operator's go before those of a preset.
func TestLabelsAndAnnotationsOfTheOperator(t *testing.T) {
	for _, name := range []string{"bundled", "everything"} {
		objects, _ := rendered(t, name)
		for _, o := range objects {
			if !o.ofOperator() && o.meta.Labels["example.org/team"] != "board" {
				t.Errorf("%s: %s has no common label", name, o)
			}
		}
		for _, w := range workloads(objects) {
			if w.pod.Labels["example.org/team"] != "board" {
				t.Errorf("%s: the pods of %s have no common label", name, w)
			}
		}
	}
	objects := render(t, rendering{set: []string{`ingress.annotations={"nginx.org/client-max-body-size":"99m","example.org/a":"b"}`}})
	for _, o := range objects {
		if o.Kind == "Ingress" && (o.meta.Annotations["nginx.org/client-max-body-size"] != "99m" || o.meta.Annotations["example.org/a"] != "b" || len(o.meta.Annotations) < 3) {
			t.Errorf("annotations of the Ingress: %v", o.meta.Annotations)
		}
	}
}

// Whose label it is when several name it: the nearer one's, for pods of Jobs too; the chart's own are nobody else's.
func TestLabelsThatAreNamedTwice(t *testing.T) {
	objects, _ := rendered(t, "labels")
	monitored := 0
	for _, o := range objects {
		wanted := "everybody"
		switch {
		case o.Kind == "ServiceMonitor" || o.Kind == "PrometheusRule" || o.meta.Name == "board-triptych-dashboard":
			wanted = "monitoring"
			monitored++
		case o.Kind == "Pod":
			// A pod without anything above it has one list for both.
			wanted = "application"
		}
		if got := o.meta.Labels["team"]; got != wanted {
			t.Errorf("%s: team is %q, not %q", o, got, wanted)
		}
	}
	if monitored != 4 {
		t.Errorf("%d objects for those who monitor", monitored)
	}
	for _, w := range workloads(objects) {
		wanted := map[string]string{"app": "application", "web": "web", "postgresql": "data", "minio": "data"}[w.component()]
		if got := w.pod.Labels["team"]; got != wanted {
			t.Errorf("the pods of %s: team is %q, not %q", w, got, wanted)
		}
		switch annotations := w.pod.Annotations; {
		case w.meta.Name == "board-triptych-app" && annotations["kubectl.kubernetes.io/default-container"] != "beside",
			w.meta.Name == "board-triptych-web" && (len(annotations["checksum/nginx"]) != 64 || annotations["example.org/note"] != "web"):
			t.Errorf("the pods of %s have the annotations %v", w, annotations)
		}
	}

	// The labels of the pods reach every pod of the application, those of Jobs among them.
	objects, _ = rendered(t, "everything")
	for _, w := range workloads(objects) {
		if w.component() == "app" && w.pod.Labels["example.org/tier"] != "front" {
			t.Errorf("the pods of %s do not have app.podLabels", w)
		}
	}

	// Selectors and policies hang on the chart's own, whatever somebody who skips the schema sets.
	own := `{"app.kubernetes.io/name":"x","app.kubernetes.io/instance":"x","app.kubernetes.io/component":"x","app.kubernetes.io/part-of":"x","helm.sh/chart":"x"}`
	r := rendering{arguments: []string{"--skip-schema-validation"}}
	for _, name := range []string{"commonLabels", "app.podLabels", "web.podLabels", "postgresql.podLabels", "minio.podLabels", "metrics.serviceMonitor.labels", "metrics.prometheusRule.labels", "metrics.dashboard.labels"} {
		r.set = append(r.set, name+"="+own)
	}
	r.set = append(r.set, `metrics.serviceMonitor.enabled=true`, `metrics.prometheusRule.enabled=true`, `metrics.dashboard.enabled=true`)
	objects = render(t, r)
	reportAll(t, checkLabels(objects, r))
	reportAll(t, checkSelectors(objects, nil, r))
	for _, o := range objects {
		if o.meta.Labels["helm.sh/chart"] == "x" {
			t.Errorf("%s has another chart's label", o)
		}
	}
}

// It takes exactly the place of the chart's, above what is made of it; what the chart does not have comes last.
func TestExtraEnvironmentKeepsTheOrder(t *testing.T) {
	before := render(t, rendering{})
	after := render(t, rendering{set: []string{`app.extraEnv=[{"name":"TRIPTYCH_LOG","value":"debug"},{"name":"POSTGRES_SERVE_PASSWORD","value":"another"},{"name":"TRIPTYCH_S3_BUCKET","value":"another"}]`}})
	reportAll(t, checkPods(after))
	found := workloads(after)
	for index, w := range workloads(before) {
		if len(w.containers()[0].Env) == 0 || w.component() != "app" {
			continue
		}
		for number, container := range w.containers() {
			variables := found[index].containers()[number].Env
			var names, wanted []string
			for _, variable := range container.Env {
				wanted = append(wanted, variable.Name)
			}
			for _, variable := range variables {
				names = append(names, variable.Name)
				if replaced := variable.Name == "POSTGRES_SERVE_PASSWORD" || variable.Name == "TRIPTYCH_S3_BUCKET"; replaced && (variable.Value != "another" || variable.ValueFrom != nil) {
					t.Errorf("%s: container %s has the chart's %s", w, container.Name, variable.Name)
				}
			}
			if wanted = append(wanted, "TRIPTYCH_LOG"); !slices.Equal(names, wanted) {
				t.Errorf("%s: container %s has %q, not %q", w, container.Name, names, wanted)
			}
		}
	}
}

// Names that are too long are cut, and differ all the same; a Service's has no dots.
func TestNames(t *testing.T) {
	long := strings.Repeat("a", 45)
	seen := map[string]string{}
	for _, r := range []rendering{
		{release: long + "-one"}, {release: long + "-two"}, {release: "my.board"}, {release: "my.triptych"},
		{set: []string{`fullnameOverride="` + long + `-one"`}}, {set: []string{`fullnameOverride="` + long + `-two"`}},
		// Its last character before the cut is a dash.
		{set: []string{`fullnameOverride="` + strings.Repeat("a", 32) + `-bbbbbbbbbb"`}},
	} {
		objects := render(t, r)
		reportAll(t, checkNames(objects))
		for _, o := range objects {
			if o.Kind == "Service" && strings.HasSuffix(o.meta.Name, "-app") {
				of := strings.Join(append(r.set, r.name()), " ")
				if strings.Contains(o.meta.Name, ".") || len(o.meta.Name) > 40+len("-app") {
					t.Errorf("%s: a Service is called %s", of, o.meta.Name)
				}
				if other, found := seen[o.meta.Name]; found {
					t.Errorf("%s and %s both have a Service %s", of, other, o.meta.Name)
				}
				seen[o.meta.Name] = of
				if r.set == nil && o.meta.Name != r.fullname()+"-app" {
					t.Errorf("%s: a Service is called %s, not %s-app", of, o.meta.Name, r.fullname())
				}
			}
		}
	}
	if len(seen) != 7 {
		t.Errorf("seven releases have Services %v", seen)
	}
}
