package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
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
		{"same name", []string{"service/triptych-web 8080:80", "helm test -n triptych triptych"}},
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
		"TRIPTYCH_MAX_FILES": "4", "TRIPTYCH_MAX_FILE_SIZE": "8MiB",
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
