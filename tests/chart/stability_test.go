package chart

import (
	"bytes"
	"maps"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/ptr"
)

// An upgrade that changes nothing must change nothing, and above all no password.
func TestTwoRendersAreEqual(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			first := manifests(t, c.rendering)
			for _, arguments := range [][]string{nil, {"--is-upgrade"}} {
				again := c.rendering
				again.arguments = arguments
				second, err := again.template()
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(first, second) {
					t.Errorf("rendered again with %q, it is something else", arguments)
				}
			}
		})
	}
}

func TestTemplatesAskNobody(t *testing.T) {
	found, err := templates()
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Fatalf("only %d templates found", len(found))
	}
	reportAll(t, checkStable(found))
}

// Secrets are made in the cluster, by the Job, and are in no manifest.
func TestCredentialsComeFromTheJob(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			objects := render(t, c.rendering)
			for _, secret := range all[*corev1.Secret](objects) {
				t.Errorf("Secret/%s is rendered", secret.Name)
			}
			_, err := find[*batchv1.Job](objects, "Job", c.fullname()+"-credentials")
			for _, w := range workloads(objects) {
				for _, r := range references(w) {
					if r.kind == "Secret" && r.name == c.fullname()+"-credentials" && err != nil {
						t.Errorf("%s reads %s: %v", w, r, err)
					}
				}
			}
		})
	}
	// What a pod needs is made: the secret always, the passwords for the servers of the release alone.
	for _, c := range []struct {
		set  []string
		keys []string
	}{
		{nil, []string{"secret", "postgresql-password", "postgresql-serve-password", "minio-password"}},
		{[]string{`postgresql.enabled=false`, `externalDatabase.existingSecret="x"`}, []string{"secret", "minio-password"}},
		{[]string{`minio.enabled=false`, `s3={"endpoint":"https://s3.example.org","existingSecret":"x"}`}, []string{"secret", "postgresql-password", "postgresql-serve-password"}},
	} {
		made := map[string]bool{}
		for _, r := range madeByJob(render(t, rendering{set: c.set})) {
			if r.key != "" {
				made[r.key] = true
			}
		}
		wanted := map[string]bool{}
		for _, key := range c.keys {
			wanted[key] = true
		}
		if !maps.Equal(made, wanted) {
			t.Errorf("with %q the Job makes %v", c.set, made)
		}
	}
}

// Argo CD takes an object that bears the release's labels and is in no manifest for one that was removed.
func TestCredentialsAreNotPruned(t *testing.T) {
	checked := 0
	for _, c := range cases {
		objects := render(t, c.rendering)
		job, err := find[*batchv1.Job](objects, "Job", c.fullname()+"-credentials")
		if err != nil {
			continue
		}
		checked++
		given := map[string]bool{}
		arguments := job.Spec.Template.Spec.Containers[0].Args
		for index, argument := range arguments[:len(arguments)-1] {
			if argument == "--annotation" {
				given[arguments[index+1]] = true
			}
		}
		if wanted := map[string]bool{"argocd.argoproj.io/sync-options=Prune=false": true, "argocd.argoproj.io/compare-options=IgnoreExtraneous": true}; !maps.Equal(given, wanted) {
			t.Errorf("%s: the Secret gets the annotations %v", c.name, given)
		}
	}
	if checked == 0 {
		t.Error("no Job makes the credentials")
	}
}

// A number that somebody else owns must not be in the manifest: server-side apply would fight for it.
func TestReplicas(t *testing.T) {
	for _, c := range []struct {
		set  []string
		app  *int32
		web  *int32
		name string
	}{
		{name: "default", app: ptr.To[int32](3), web: ptr.To[int32](2)},
		{name: "null", set: []string{`app.replicas=null`, `web.replicas=null`}},
		{name: "none", set: []string{`app.replicas=0`, `web.replicas=0`}, app: ptr.To[int32](0), web: ptr.To[int32](0)},
		{name: "autoscaler", set: []string{`app.replicas=null`, `app.autoscaling.enabled=true`}, web: ptr.To[int32](2)},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects := render(t, rendering{set: c.set})
			for name, wanted := range map[string]*int32{"app": c.app, "web": c.web} {
				deployment, err := find[*appsv1.Deployment](objects, "Deployment", "board-triptych-"+name)
				if err != nil {
					t.Fatal(err)
				}
				if !ptr.Equal(deployment.Spec.Replicas, wanted) {
					t.Errorf("%s: replicas is %v", name, ptr.Deref(deployment.Spec.Replicas, -1))
				}
			}
		})
	}
}

// A disruption budget for a single pod would keep its node from ever being drained.
func TestDisruptionBudgets(t *testing.T) {
	for _, c := range []struct {
		name string
		set  []string
		app  bool
	}{
		{"several", []string{`app.replicas=2`}, true},
		{"one", []string{`app.replicas=1`}, false},
		{"unknown", []string{`app.replicas=null`}, true},
		{"autoscaler from one", []string{`app.replicas=null`, `app.autoscaling.enabled=true`, `app.autoscaling.minReplicas=1`}, false},
		{"autoscaler from two", []string{`app.replicas=null`, `app.autoscaling.enabled=true`, `app.autoscaling.minReplicas=2`}, true},
		{"off", []string{`app.podDisruptionBudget.enabled=false`}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := false
			for _, o := range render(t, rendering{set: c.set}) {
				found = found || o.String() == "PodDisruptionBudget/board-triptych-app"
			}
			if found != c.app {
				t.Errorf("rendered: %t", found)
			}
		})
	}
}

// The web pods are replaced when nginx's configuration changes, which they read at the start, and only then.
func TestChecksum(t *testing.T) {
	of := func(t *testing.T, set ...string) (string, map[string]string) {
		objects := render(t, rendering{set: set})
		deployment, err := find[*appsv1.Deployment](objects, "Deployment", "board-triptych-web")
		if err != nil {
			t.Fatal(err)
		}
		configuration, err := find[*corev1.ConfigMap](objects, "ConfigMap", "board-triptych-web")
		if err != nil {
			t.Fatal(err)
		}
		sum := deployment.Spec.Template.Annotations["checksum/nginx"]
		if sum == "" {
			t.Fatal("the pods of the web servers have no checksum")
		}
		return sum, configuration.Data
	}
	sum, configuration := of(t)
	for _, c := range []struct {
		value   string
		another bool
	}{
		{`web.cacheSizeMiB=512`, true},
		{`web.cacheAge="1d"`, true},
		{`web.workerProcesses=8`, true},
		{`limits.files=3`, true},
		{`web.uploads.max=8`, true},
		{`listenAddress="[::]"`, true},
		{`title="Another"`, false},
		{`web.replicas=7`, false},
		{`app.replicas=7`, false},
		{`app.image.tag="0.2.0"`, false},
		{`app.resources.requests.cpu="1"`, false},
		{`ingress.host="other.example.org"`, false},
		{`commonLabels={"example.org/team":"board"}`, false},
	} {
		t.Run(c.value, func(t *testing.T) {
			t.Parallel()
			newSum, newConfiguration := of(t, c.value)
			if changed := !maps.Equal(configuration, newConfiguration); changed != c.another {
				t.Errorf("another configuration: %t", changed)
			}
			if changed := sum != newSum; changed != c.another {
				t.Errorf("another checksum: %t", changed)
			}
		})
	}
}

// A new version of the application must not replace the pods of the database, nor touch what cannot be changed.
func TestServersStayWhenTheVersionChanges(t *testing.T) {
	of := func(set ...string) []appsv1.StatefulSetSpec {
		var found []appsv1.StatefulSetSpec
		for _, set := range all[*appsv1.StatefulSet](render(t, rendering{set: set})) {
			found = append(found, set.Spec)
		}
		return found
	}
	before, after := of(), of(`app.image.tag="0.2.0"`, `web.image.tag="0.2.0"`, `title="Another"`)
	if len(before) != 2 || !equality.Semantic.DeepEqual(before, after) {
		t.Error("another version of the application replaces the pods of Postgres and MinIO")
	}
}
