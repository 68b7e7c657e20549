package chart

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

var blank = regexp.MustCompile(`\n(\s*\n)+`)

// What is generated from the chart is committed, for people without the programs that make it. It has to be what they
// would make now.
func TestGeneratedFilesAreUpToDate(t *testing.T) {
	for _, needed := range []string{"helm", "helm-docs"} {
		if _, err := program(needed); err != nil {
			t.Fatal(err)
		}
	}
	folder := t.TempDir()
	if _, err := run("bash", root+"/k8s/render", folder); err != nil {
		t.Fatal(err)
	}
	compared := map[string]bool{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, folder+"/")
		wanted, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		committed, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		// Helm 3 and 4 leave blank lines in other places.
		if strings.HasPrefix(name, "k8s/") {
			wanted, committed = blank.ReplaceAll(wanted, []byte("\n")), blank.ReplaceAll(committed, []byte("\n"))
		}
		if !bytes.Equal(wanted, committed) {
			t.Errorf("%s is out of date: `make chart` writes it anew. %s", name, difference(wanted, committed))
		}
		compared[name] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"helm/triptych/README.md", "k8s/manifests/triptych.yaml"} {
		if !compared[name] {
			t.Errorf("k8s/render did not write %s", name)
		}
	}
}

// difference tells the first line that differs.
func difference(wanted, committed []byte) string {
	a, b := strings.Split(string(wanted), "\n"), strings.Split(string(committed), "\n")
	for index := range min(len(a), len(b)) {
		if a[index] != b[index] {
			return "First of all:\n- " + b[index] + "\n+ " + a[index]
		}
	}
	return "One of the two is longer."
}

// The plain manifests are what the chart says, and whoever applies them gets the same board.
func TestPlainManifests(t *testing.T) {
	// The library that `kubectl apply -k` uses.
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), root+"/k8s/manifests")
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := made.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	objects, problems := decode(manifests)
	reportAll(t, problems)
	if len(objects) < 20 {
		t.Errorf("only %d objects", len(objects))
	}
	reportAll(t, checkPodSecurity(objects))
	reportAll(t, checkPods(objects))
	reportAll(t, checkReferences(objects, nil))
	reportAll(t, checkSelectors(objects, nil, rendering{}))
	for _, o := range objects {
		// All of them belong into a namespace, which is applied before.
		if o.meta.Namespace != namespace {
			t.Errorf("%s is in the namespace %q", o, o.meta.Namespace)
		}
		if owner := o.meta.Labels[label+"managed-by"]; owner != "kustomize" {
			t.Errorf("%s is managed by %q", o, owner)
		}
		if binding, isBinding := o.typed.(*rbacv1.RoleBinding); isBinding {
			for _, subject := range binding.Subjects {
				if subject.Namespace != namespace {
					t.Errorf("%s is for an account in the namespace %q", o, subject.Namespace)
				}
			}
		}
	}
	for _, w := range workloads(objects) {
		if owner := w.pod.Labels[label+"managed-by"]; owner != "kustomize" {
			t.Errorf("the pods of %s are managed by %q", w, owner)
		}
	}
	content, err := os.ReadFile(root + "/k8s/manifests/namespace.yaml")
	if err != nil {
		t.Fatal(err)
	}
	objects, problems = decode(content)
	reportAll(t, problems)
	if len(objects) != 1 || objects[0].String() != "Namespace/"+namespace || objects[0].meta.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
		t.Errorf("namespace.yaml has %v", objects)
	}
}

// What stands beside the values of the production example is right too: CloudNativePG's Cluster by its own definition.
func TestProductionExample(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "k8s/production/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, file := range files {
		if filepath.Base(file) == "values.yaml" {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		objects, problems := decode(content)
		reportAll(t, problems)
		for _, o := range objects {
			kinds[o.Kind] = true
		}
	}
	if !kinds["Cluster"] {
		t.Error("no Cluster in it")
	}
}
