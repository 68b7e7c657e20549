package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Somebody who wants to run a board reads the README in this order, and has one for production before the attention ends.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chartPath, "README.md.gotmpl"))
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, match := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(string(text), -1) {
		parts = append(parts, match[1])
	}
	if wanted := []string{"Install", "Operate", "Troubleshoot", "What was executed", "Values"}; !slices.Equal(parts, wanted) {
		t.Fatalf("its parts are %q, not %q", parts, wanted)
	}
	install, rest, found := strings.Cut(string(text), "\n### Production\n")
	if !found {
		t.Fatal("nothing about production")
	}
	production, _, _ := strings.Cut(rest, "\n### ")
	if !strings.Contains(production, "helm upgrade --install board helm/triptych -n board -f k8s/production/values.yaml") {
		t.Error("no command that installs one for production")
	}
	if words := len(strings.Fields(install)) + len(strings.Fields(production)); words > 900 {
		t.Errorf("%d words to an installation for production", words)
	}
	// What was not executed is said in one place.
	before, table, _ := strings.Cut(string(text), "\n## What was executed\n")
	for _, phrase := range []string{"not executed", "was not run here", "*(Rendered", "*(Checked"} {
		if strings.Contains(before, phrase) {
			t.Errorf("%q outside of the table", phrase)
		}
	}
	if !strings.Contains(table, "not executed") {
		t.Error("nothing that was not executed")
	}
}

// Files and values that the README names are there.
func TestReadmeNamesWhatThereIs(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chartPath, "README.md.gotmpl"))
	if err != nil {
		t.Fatal(err)
	}
	files := regexp.MustCompile(`\bk8s/[a-z/-]+\.yaml\b`).FindAllString(string(text), -1)
	for _, file := range files {
		if _, err := os.Stat(filepath.Join(root, file)); err != nil {
			t.Error(err)
		}
	}
	if len(files) == 0 {
		t.Error("no files")
	}
	values := valueNames(t)
	paths := regexp.MustCompile("`((?:app|web|jobs|gc|ingress|httpRoute|networkPolicy|metrics|migrations|postgresql|minio|s3|externalDatabase|credentials|limits|image|serviceAccount|tests)\\.[A-Za-z0-9.]+)[`=]").FindAllStringSubmatch(string(text), -1)
	for _, path := range paths {
		if !values[path[1]] {
			t.Errorf("there is no value %s", path[1])
		}
	}
	if len(paths) < 10 {
		t.Errorf("only %d values", len(paths))
	}
}

// valueNames gives the paths of everything in the values.
func valueNames(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartPath, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	var collect func(map[string]any, string)
	collect = func(part map[string]any, path string) {
		for name, value := range part {
			names[path+name] = true
			if below, isObject := value.(map[string]any); isObject {
				collect(below, path+name+".")
			}
		}
	}
	collect(values, "")
	return names
}
