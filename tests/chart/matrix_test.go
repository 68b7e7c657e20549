package chart

import (
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// valueSet is a way to install the chart.
type valueSet struct {
	name string
	rendering
	// What the values name and the operator brings.
	existing []string
}

// cases is the matrix of values that everything is checked with.
var cases = []valueSet{
	{name: "default", rendering: rendering{files: []string{"values/default.yaml"}}},
	{name: "kind", rendering: rendering{files: []string{root + "/k8s/kind-values.yaml"}}},
	{
		name:      "production",
		rendering: rendering{files: []string{root + "/k8s/production/values.yaml"}},
		existing:  []string{"Secret/registry", "Secret/board-db-app[uri]", "Secret/board-s3[access-key-id]", "Secret/board-s3[secret-access-key]"},
	},
	{name: "manifests", rendering: rendering{files: []string{root + "/k8s/manifests/values.yaml"}}},
	{name: "hpa", rendering: rendering{files: []string{"values/hpa.yaml"}}},
	{name: "httproute", rendering: rendering{files: []string{"values/httproute.yaml"}}},
	{name: "f5", rendering: rendering{files: []string{"values/f5.yaml"}}},
	{name: "ingress-nginx", rendering: rendering{files: []string{"values/ingress-nginx.yaml"}}},
	{name: "none", rendering: rendering{files: []string{"values/none.yaml"}}},
	{name: "openshift", rendering: rendering{files: []string{"values/openshift.yaml"}}},
	{
		name:      "external",
		rendering: rendering{files: []string{"values/external.yaml"}},
		existing:  []string{"Secret/board-secret[secret]", "Secret/board-database[url]", "Secret/board-owner[address]", "Secret/board-s3[id]", "Secret/board-s3[key]"},
	},
	{
		name:      "minimal",
		rendering: rendering{files: []string{"values/minimal.yaml"}},
		existing:  []string{"Secret/board-secret[secret]", "Secret/board-database[uri]", "Secret/board-s3[access-key-id]", "Secret/board-s3[secret-access-key]"},
	},
	{name: "bundled", rendering: rendering{files: []string{"values/bundled.yaml"}}, existing: []string{"Secret/registry"}},
	{
		name:      "everything",
		rendering: rendering{files: []string{"values/everything.yaml"}},
		existing: []string{
			"Secret/registry", "Secret/mirror", "Secret/board-secret[secret]", "Secret/board-database[uri]",
			"Secret/board-further[id]", "Secret/board-s3[secret-access-key]", "ConfigMap/board-certificates",
		},
	},
	// A release that is called as the chart is, and one whose name is as long as helm allows.
	{name: "same name", rendering: rendering{release: "triptych"}},
	{name: "long name", rendering: rendering{release: "a-release-whose-name-is-as-long-as-helm-allows-it-123"}},
	{name: "dotted name", rendering: rendering{release: "board.example.org"}},
	// The same names again and again, the operator's and the chart's.
	{name: "labels", rendering: rendering{files: []string{"values/labels.yaml"}}},
	{name: "pre-release", rendering: rendering{set: []string{`app.image.tag="0.1.0-1f2e3d4c5b6a"`, `web.image.tag="0.1.0-1f2e3d4c5b6a"`}}},
}

// rendered gives the objects of a case.
func rendered(t *testing.T, name string) ([]object, rendering) {
	t.Helper()
	index := slices.IndexFunc(cases, func(c valueSet) bool { return c.name == name })
	if index < 0 {
		t.Fatalf("no case %q", name)
	}
	return render(t, cases[index].rendering), cases[index].rendering
}

var renderings sync.Map

// manifests renders, and fails where helm does. The text for the same values is made once.
func manifests(t *testing.T, r rendering) []byte {
	t.Helper()
	type result struct {
		text []byte
		err  error
	}
	once, _ := renderings.LoadOrStore(strings.Join(append(r.values(), r.name(), r.chart), "\x00"), sync.OnceValue(func() result {
		text, err := r.template()
		return result{text, err}
	}))
	made := once.(func() result)()
	if made.err != nil {
		t.Fatal(made.err)
	}
	return made.text
}

// render renders and decodes, and fails where one of the two does. The objects belong to the caller.
func render(t *testing.T, r rendering) []object {
	t.Helper()
	objects, problems := decode(manifests(t, r))
	if len(objects) == 0 {
		t.Fatal("nothing is rendered")
	}
	reportAll(t, problems)
	return objects
}

func reportAll(t *testing.T, problems []string) {
	t.Helper()
	for _, problem := range problems {
		t.Error(problem)
	}
}

func TestMatrix(t *testing.T) {
	controller, err := os.ReadFile(controllerValues)
	if err != nil {
		t.Fatal(err)
	}
	known, err := variables()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := c.lint(); err != nil {
				t.Error(err)
			}
			objects := render(t, c.rendering)
			other := c.rendering
			other.release = "another"
			// The same release under another name, beside it.
			other.set = append(slices.Clone(other.set), `fullnameOverride=""`)
			others := render(t, other)

			for _, check := range []struct {
				name string
				run  func() []string
			}{
				{"pod security", func() []string { return checkPodSecurity(objects) }},
				{"pods", func() []string { return checkPods(objects) }},
				{"owner", func() []string { return checkOwner(objects) }},
				{"servers", func() []string { return checkServers(objects) }},
				{"variables", func() []string { return checkVariables(objects, known) }},
				{"labels", func() []string { return checkLabels(objects, c.rendering) }},
				{"names", func() []string { return checkNames(objects) }},
				{"ports of policies", func() []string { return checkPolicyPorts(objects) }},
				{"reloads", func() []string { return checkReloads(objects, c.rendering, controller) }},
				{"selectors", func() []string { return checkSelectors(objects, others, c.rendering) }},
				{"targets", func() []string { return checkTargets(objects) }},
				{"references", func() []string { return checkReferences(objects, c.existing) }},
			} {
				t.Run(check.name, func(t *testing.T) { reportAll(t, check.run()) })
			}
		})
	}
}
