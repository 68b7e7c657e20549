package chart

import (
	"os"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// Every check is shown something that is wrong in the one way that it looks for. A check that finds nothing here would
// find nothing in the chart.

// finds wants a problem with a text in it.
func finds(t *testing.T, problems []string, text string) {
	t.Helper()
	if !slices.ContainsFunc(problems, func(problem string) bool { return strings.Contains(problem, text) }) {
		t.Errorf("nobody finds %q, only %q", text, problems)
	}
}

func TestBrokenDocuments(t *testing.T) {
	for _, c := range []struct{ name, document, message string }{
		{"unknown field", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selectors: {a: b}}\n", `unknown field "spec.selectors"`},
		{"unknown field far down", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, readinesProbe: {}}]}\n", `unknown field "spec.containers[0].readinesProbe"`},
		{"wrong case", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nData: {}\n", `unknown field "Data"`},
		{"field twice", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b, a: c}\n", `"a" already set`},
		{"wrong type", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: three}\n", "json: cannot unmarshal"},
		{"label that is a number", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {version: 1.0}}\n", "json: cannot unmarshal"},
		{"unknown kind", "apiVersion: v1\nkind: Deployment\nmetadata: {name: a}\n", "a kind that nobody knows"},
		{"old version", "apiVersion: policy/v1beta2\nkind: PodDisruptionBudget\nmetadata: {name: a}\n", "a kind that nobody knows"},
		{"no name", "apiVersion: v1\nkind: ConfigMap\n", "has no name"},
		{"no YAML", "a: [\n", "yaml"},
		{"route with an unknown field", "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\nspec: {hostname: [a]}\n", `unknown field "HTTPRoute.spec.hostname"`},
		{"route with a wrong value", "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\nspec: {rules: [{matches: [{path: {type: Prefix, value: /}}]}]}\n", "should be one of"},
		{"monitor with an unknown field", "apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata: {name: a}\nspec: {endpoint: []}\n", `unknown field "spec.endpoint"`},
		{"cluster with an unknown field", "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {name: a}\nspec: {instances: 3, storage: {sizes: 1Gi}}\n", `unknown field "Cluster.spec.storage.sizes"`},
		{"cluster with a wrong value", "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {name: a}\nspec: {instances: 0}\n", "should be greater than or equal to 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects, problems := decode([]byte("# Source: x\n" + c.document))
			finds(t, problems, c.message)
			if len(objects) > 0 {
				t.Errorf("%s is taken all the same", objects[0])
			}
		})
	}
}

// must gives one of the rendered objects.
func must[T any](t *testing.T, objects []object, kind, name string) T {
	t.Helper()
	found, err := find[T](objects, kind, name)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestBrokenObjects(t *testing.T) {
	r := rendering{files: []string{"values/default.yaml"}, set: []string{`metrics.serviceMonitor.enabled=true`, `metrics.prometheusRule.enabled=true`, `app.autoscaling.enabled=true`, `app.replicas=null`}}
	text := manifests(t, r)
	known, err := ofProgram()
	if err != nil {
		t.Fatal(err)
	}
	controller, err := os.ReadFile(controllerValues)
	if err != nil {
		t.Fatal(err)
	}
	programs, err := variables()
	if err != nil {
		t.Fatal(err)
	}
	everywhere := []string{"prometheus", "controller", "dns", "metrics-server", "stranger", "neighbour", "database", "gateway", "reader", "openshift dns"}
	monitored := slices.Concat(board, to("app", 9090, everywhere...), to("web", 9113, everywhere...))
	checks := map[string]func([]object) []string{
		"pod security": checkPodSecurity,
		"pods":         checkPods,
		"owner":        checkOwner,
		"servers":      checkServers,
		"variables":    func(objects []object) []string { return checkVariables(objects, programs) },
		"labels":       func(objects []object) []string { return checkLabels(objects, r) },
		"names":        checkNames,
		"selectors":    func(objects []object) []string { return checkSelectors(objects, nil, r) },
		"targets":      checkTargets,
		"references":   func(objects []object) []string { return checkReferences(objects, nil) },
		"flows":        func(objects []object) []string { return checkFlows(objects, r, monitored) },
		"ports":        checkPolicyPorts,
		"reloads":      func(objects []object) []string { return checkReloads(objects, r, controller) },
		"default deny": func(objects []object) []string { return checkDefaultDeny(objects, r) },
		"roles":        func(objects []object) []string { return checkRoles(objects, r) },
		"rules": func(objects []object) []string {
			return checkRules(all[*monitoringv1.PrometheusRule](objects), known)
		},
	}
	const full = "board-triptych"
	app := func(t *testing.T, objects []object) *appsv1.Deployment {
		return must[*appsv1.Deployment](t, objects, "Deployment", full+"-app")
	}
	// one gives the container of the application.
	one := func(t *testing.T, objects []object) *corev1.Container {
		return &app(t, objects).Spec.Template.Spec.Containers[0]
	}
	service := func(t *testing.T, objects []object, component string) *corev1.Service {
		return must[*corev1.Service](t, objects, "Service", full+"-"+component)
	}
	policy := func(t *testing.T, objects []object, name string) *networkingv1.NetworkPolicySpec {
		return &must[*networkingv1.NetworkPolicy](t, objects, "NetworkPolicy", full+"-"+name).Spec
	}
	// of finds the object itself, whose metadata are apart from its type.
	of := func(t *testing.T, objects []object, name string) *object {
		t.Helper()
		index := slices.IndexFunc(objects, func(o object) bool { return o.String() == name })
		if index < 0 {
			t.Fatalf("no %s", name)
		}
		return &objects[index]
	}
	broken := map[string]bool{}
	for _, c := range []struct {
		check, message string
		damage         func(t *testing.T, objects []object)
	}{
		{"pod security", "privileged", func(t *testing.T, o []object) { one(t, o).SecurityContext.Privileged = ptr.To(true) }},
		{"pod security", "runAsNonRoot != true", func(t *testing.T, o []object) { app(t, o).Spec.Template.Spec.SecurityContext.RunAsNonRoot = nil }},
		{"pod security", "seccompProfile", func(t *testing.T, o []object) { app(t, o).Spec.Template.Spec.SecurityContext.SeccompProfile = nil }},
		{"pod security", "unrestricted capabilities", func(t *testing.T, o []object) { one(t, o).SecurityContext.Capabilities = nil }},
		{"pod security", "allowPrivilegeEscalation != false", func(t *testing.T, o []object) {
			app(t, o).Spec.Template.Spec.InitContainers[0].SecurityContext.AllowPrivilegeEscalation = nil
		}},
		{"pod security", "host namespaces", func(t *testing.T, o []object) { app(t, o).Spec.Template.Spec.HostNetwork = true }},
		{"pod security", "CronJob/board-triptych-gc: privileged", func(t *testing.T, o []object) {
			must[*batchv1.CronJob](t, o, "CronJob", full+"-gc").Spec.JobTemplate.Spec.Template.Spec.Containers[0].SecurityContext.Privileged = ptr.To(true)
		}},
		{"pod security", "Pod/board-triptych-smoke: restricted volume types", func(t *testing.T, o []object) {
			pod := must[*corev1.Pod](t, o, "Pod", full+"-smoke")
			pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}})
		}},

		{"pods", "its root is not read-only", func(t *testing.T, o []object) { one(t, o).SecurityContext.ReadOnlyRootFilesystem = nil }},
		{"pods", "a token of the Kubernetes API is mounted", func(t *testing.T, o []object) { app(t, o).Spec.Template.Spec.AutomountServiceAccountToken = nil }},
		{"pods", "variables for every Service", func(t *testing.T, o []object) { app(t, o).Spec.Template.Spec.EnableServiceLinks = nil }},
		{"pods", "requests no cpu", func(t *testing.T, o []object) { delete(one(t, o).Resources.Requests, corev1.ResourceCPU) }},
		{"pods", "requests no ephemeral-storage", func(t *testing.T, o []object) { delete(one(t, o).Resources.Requests, corev1.ResourceEphemeralStorage) }},
		{"pods", "no limit of ephemeral-storage", func(t *testing.T, o []object) { delete(one(t, o).Resources.Limits, corev1.ResourceEphemeralStorage) }},
		{"pods", "volume data has no limit", func(t *testing.T, o []object) {
			app(t, o).Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		}},
		{"pods", "of the node's disk, and its volumes and logs take", func(t *testing.T, o []object) {
			app(t, o).Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: ptr.To(resource.MustParse("1Gi"))}}}}
		}},
		{"pods", "no limit of memory", func(t *testing.T, o []object) { one(t, o).Resources.Limits = nil }},
		{"pods", "another one every day", func(t *testing.T, o []object) { one(t, o).Image = "triptych:latest" }},
		{"pods", "neither tag nor digest", func(t *testing.T, o []object) { one(t, o).Image = "registry.example.org:5000/triptych" }},
		{"pods", "variable TRIPTYCH_TITLE is there twice", func(t *testing.T, o []object) {
			one(t, o).Env = append(one(t, o).Env, corev1.EnvVar{Name: "TRIPTYCH_TITLE"})
		}},
		{"pods", "uses POSTGRES_SERVE_PASSWORD, which is not set above it", func(t *testing.T, o []object) { slices.Reverse(one(t, o).Env) }},
		{"pods", "port 8080/TCP is there twice", func(t *testing.T, o []object) { one(t, o).Ports[1].ContainerPort = 8080 }},
		{"pods", "port http is there twice", func(t *testing.T, o []object) { one(t, o).Ports[1].Name = "http" }},
		{"pods", `asks port "web"`, func(t *testing.T, o []object) { one(t, o).LivenessProbe.HTTPGet.Port = intstr.FromString("web") }},
		{"pods", "which is not a volume of the pod", func(t *testing.T, o []object) {
			one(t, o).VolumeMounts = append(one(t, o).VolumeMounts, corev1.VolumeMount{Name: "nothing", MountPath: "/nothing"})
		}},
		{"pods", "so that it would never end", func(t *testing.T, o []object) {
			must[*batchv1.Job](t, o, "Job", full+"-credentials").Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyAlways
		}},

		{"pods", "Job/board-triptych-credentials: has no deadline", func(t *testing.T, o []object) {
			must[*batchv1.Job](t, o, "Job", full+"-credentials").Spec.ActiveDeadlineSeconds = nil
		}},
		{"pods", "CronJob/board-triptych-gc: has no deadline", func(t *testing.T, o []object) {
			must[*batchv1.CronJob](t, o, "CronJob", full+"-gc").Spec.JobTemplate.Spec.ActiveDeadlineSeconds = nil
		}},
		{"pods", "Pod/board-triptych-smoke: has no deadline", func(t *testing.T, o []object) {
			must[*corev1.Pod](t, o, "Pod", full+"-smoke").Spec.ActiveDeadlineSeconds = nil
		}},

		{"owner", "Deployment/board-triptych-app: container app knows the password of the owner", func(t *testing.T, o []object) {
			one(t, o).Env[0].ValueFrom.SecretKeyRef.Key = "postgresql-password"
		}},
		{"owner", "CronJob/board-triptych-gc: container gc is told who the owner is", func(t *testing.T, o []object) {
			container := &must[*batchv1.CronJob](t, o, "CronJob", full+"-gc").Spec.JobTemplate.Spec.Template.Spec.Containers[0]
			container.Env = append(container.Env, corev1.EnvVar{Name: "TRIPTYCH_MIGRATE_DATABASE_URL"})
		}},
		{"owner", "container app: nobody knows what all of a Secret is", func(t *testing.T, o []object) {
			one(t, o).EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: full + "-credentials"}}}}
		}},

		{"servers", "no startup probe", func(t *testing.T, o []object) { one(t, o).StartupProbe = nil }},
		{"servers", "the liveness probe has to ask /livez", func(t *testing.T, o []object) { one(t, o).LivenessProbe.HTTPGet.Path = "/readyz" }},
		{"servers", "the readiness probe has to ask /readyz", func(t *testing.T, o []object) { one(t, o).ReadinessProbe.HTTPGet.Path = "/livez" }},
		{"servers", "maxUnavailable is not 0", func(t *testing.T, o []object) {
			app(t, o).Spec.Strategy.RollingUpdate.MaxUnavailable = ptr.To(intstr.FromInt32(1))
		}},
		{"servers", "no preStop sleep", func(t *testing.T, o []object) { one(t, o).Lifecycle = nil }},
		{"servers", "terminationGracePeriodSeconds is shorter", func(t *testing.T, o []object) {
			app(t, o).Spec.Template.Spec.TerminationGracePeriodSeconds = ptr.To[int64](40)
		}},
		{"servers", "is not told when it has to have ended", func(t *testing.T, o []object) {
			container := one(t, o)
			container.Env = slices.DeleteFunc(container.Env, func(variable corev1.EnvVar) bool { return variable.Name == "TRIPTYCH_SHUTDOWN_TIMEOUT" })
		}},
		{"servers", "data that only one may write", func(t *testing.T, o []object) {
			must[*appsv1.StatefulSet](t, o, "StatefulSet", full+"-postgresql").Spec.Replicas = ptr.To[int32](2)
		}},
		{"servers", "its claims are not said to be kept", func(t *testing.T, o []object) {
			must[*appsv1.StatefulSet](t, o, "StatefulSet", full+"-minio").Spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted = appsv1.DeletePersistentVolumeClaimRetentionPolicyType
		}},
		{"servers", "/dev/shm is the runtime's own", func(t *testing.T, o []object) {
			for _, volume := range must[*appsv1.StatefulSet](t, o, "StatefulSet", full+"-postgresql").Spec.Template.Spec.Volumes {
				if volume.EmptyDir != nil {
					volume.EmptyDir.Medium = corev1.StorageMediumDefault
				}
			}
		}},
		{"servers", "no container has the name of its component", func(t *testing.T, o []object) { one(t, o).Name = "server" }},

		{"variables", "the program knows no TRIPTYCH_TITEL", func(t *testing.T, o []object) {
			one(t, o).Env = append(one(t, o).Env, corev1.EnvVar{Name: "TRIPTYCH_TITEL"})
		}},

		{"labels", "no label app.kubernetes.io/part-of", func(t *testing.T, o []object) {
			delete(of(t, o, "Service/board-triptych-web").meta.Labels, label+"part-of")
		}},
		{"labels", "no label helm.sh/chart", func(t *testing.T, o []object) {
			delete(of(t, o, "ServiceAccount/board-triptych").meta.Labels, "helm.sh/chart")
		}},
		{"labels", "pod of CronJob/board-triptych-gc: no label app.kubernetes.io/version", func(t *testing.T, o []object) {
			delete(must[*batchv1.CronJob](t, o, "CronJob", full+"-gc").Spec.JobTemplate.Spec.Template.Labels, label+"version")
		}},
		{"labels", `component is "server", not one of`, func(t *testing.T, o []object) { app(t, o).Spec.Template.Labels[label+"component"] = "server" }},
		{"labels", `name is "triptych"`, func(t *testing.T, o []object) {
			must[*corev1.Pod](t, o, "Pod", full+"-smoke").Labels[label+"name"] = "triptych"
		}},
		{"labels", "a valid label must be", func(t *testing.T, o []object) { app(t, o).Spec.Template.Labels[label+"version"] = "0.1.0+1" }},

		{"names", "has a name of 61 characters", func(t *testing.T, o []object) {
			of(t, o, "CronJob/board-triptych-gc").meta.Name = strings.Repeat("a", 61)
		}},
		{"names", "DNS-1035 label", func(t *testing.T, o []object) { of(t, o, "Service/board-triptych-web").meta.Name = "1-web" }},
		{"names", "is there twice", func(t *testing.T, o []object) {
			of(t, o, "Service/board-triptych-web").meta.Name = "board-triptych-app"
		}},

		{"selectors", `Service/board-triptych-app selects ["CronJob/board-triptych-gc" "Deployment/board-triptych-app" "Job/board-triptych-credentials" "Pod/board-triptych-smoke"]`, func(t *testing.T, o []object) {
			delete(service(t, o, "app").Spec.Selector, label+"name")
		}},
		{"selectors", "Service/board-triptych-minio selects nothing", func(t *testing.T, o []object) { service(t, o, "minio").Spec.Selector[label+"component"] = "s3" }},
		{"selectors", `PodDisruptionBudget/board-triptych-app selects ["Deployment/board-triptych-app" "Deployment/board-triptych-web"`, func(t *testing.T, o []object) {
			delete(must[*policyv1.PodDisruptionBudget](t, o, "PodDisruptionBudget", full+"-app").Spec.Selector.MatchLabels, label+"component")
		}},
		{"selectors", "Deployment/board-triptych-app selects nothing", func(t *testing.T, o []object) { app(t, o).Spec.Template.Labels = map[string]string{"a": "b"} }},
		{"selectors", "topologySpreadConstraints selects", func(t *testing.T, o []object) {
			app(t, o).Spec.Template.Spec.TopologySpreadConstraints[0].LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{label + "instance": release}}
		}},
		{"selectors", "podAntiAffinity selects", func(t *testing.T, o []object) {
			delete(app(t, o).Spec.Template.Spec.Affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution[0].PodAffinityTerm.LabelSelector.MatchLabels, label+"name")
		}},
		{"selectors", "NetworkPolicy/board-triptych-web selects nothing", func(t *testing.T, o []object) {
			policy(t, o, "web").PodSelector.MatchLabels[label+"component"] = "nginx"
		}},
		{"selectors", "NetworkPolicy/board-triptych-default-deny selects", func(t *testing.T, o []object) {
			policy(t, o, "default-deny").PodSelector.MatchLabels[label+"component"] = "app"
		}},

		{"targets", "has no port web", func(t *testing.T, o []object) {
			service(t, o, "web").Spec.Ports[0].TargetPort = intstr.FromString("web")
		}},
		{"targets", "has no port 80", func(t *testing.T, o []object) { service(t, o, "web").Spec.Ports[0].TargetPort = intstr.FromInt32(80) }},
		{"targets", "Service/board-triptych-page, which is not rendered", func(t *testing.T, o []object) {
			must[*networkingv1.Ingress](t, o, "Ingress", full).Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name = full + "-page"
		}},
		{"targets", "a port that Service/board-triptych-web does not have", func(t *testing.T, o []object) {
			service(t, o, "web").Spec.Ports[0].Name = "page"
		}},
		{"targets", `port metrics is found in []`, func(t *testing.T, o []object) {
			must[*monitoringv1.ServiceMonitor](t, o, "ServiceMonitor", full+"-app").Spec.Selector.MatchLabels[label+"component"] = "metrics"
		}},
		{"targets", "scales Deployment/board-triptych-app, which is not rendered", func(t *testing.T, o []object) { of(t, o, "Deployment/board-triptych-app").meta.Name = "other" }},

		{"references", "Secret/board-triptych-credentials[token], which nobody makes", func(t *testing.T, o []object) {
			one(t, o).Env[0].ValueFrom.SecretKeyRef.Key = "token"
		}},
		{"references", "ConfigMap/other, which nobody makes", func(t *testing.T, o []object) {
			one(t, o).EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "other"}}}}
		}},
		{"references", "ServiceAccount/other, which nobody makes", func(t *testing.T, o []object) { app(t, o).Spec.Template.Spec.ServiceAccountName = "other" }},
		{"references", "PersistentVolumeClaim/data, which nobody makes", func(t *testing.T, o []object) {
			app(t, o).Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
		}},
		{"references", "makes Secret/board-triptych-credentials[unused], which nobody reads", func(t *testing.T, o []object) {
			job := must[*batchv1.Job](t, o, "Job", full+"-credentials")
			job.Spec.Template.Spec.Containers[0].Args = slices.Insert(job.Spec.Template.Spec.Containers[0].Args, 2, "unused")
		}},
		{"references", "which is not there yet when it runs", func(t *testing.T, o []object) {
			of(t, o, "Role/board-triptych-credentials").meta.Annotations["helm.sh/hook-weight"] = "0"
		}},
		{"references", "needs NetworkPolicy/board-triptych-credentials, which is not there yet", func(t *testing.T, o []object) {
			delete(of(t, o, "NetworkPolicy/board-triptych-credentials").meta.Annotations, "helm.sh/hook")
		}},
		{"references", "Pod/board-triptych-smoke needs NetworkPolicy/board-triptych-smoke, which is not there yet", func(t *testing.T, o []object) {
			delete(of(t, o, "NetworkPolicy/board-triptych-smoke").meta.Annotations, "helm.sh/hook")
		}},
		{"references", "Job/board-triptych-credentials has no policy that lets it out", func(t *testing.T, o []object) { policy(t, o, "credentials").Egress = nil }},

		{"flows", "stranger to postgresql, port 5432/TCP is allowed", func(t *testing.T, o []object) {
			policy(t, o, "postgresql").Ingress[0].From = nil
		}},
		{"flows", "web to postgresql, port 5432/TCP is allowed", func(t *testing.T, o []object) {
			policy(t, o, "postgresql").Ingress[0].From = nil
			policy(t, o, "web").Egress = append(policy(t, o, "web").Egress, networkingv1.NetworkPolicyEgressRule{})
		}},
		{"flows", "app to internet, port 443/TCP is allowed", func(t *testing.T, o []object) {
			policy(t, o, "storage-users").Egress = append(policy(t, o, "storage-users").Egress, networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0"}}}})
		}},
		{"flows", "postgresql to internet, port 443/TCP is allowed", func(t *testing.T, o []object) {
			policy(t, o, "default-deny").PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		}},
		{"flows", "neighbour to minio, port 9000/TCP is allowed (ipBlocks mean pods too: true)", func(t *testing.T, o []object) {
			policy(t, o, "minio").Ingress[0].From = append(policy(t, o, "minio").Ingress[0].From, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8"}})
		}},
		{"flows", "app to minio, port 9000/TCP is refused", func(t *testing.T, o []object) {
			policy(t, o, "minio").Ingress[0].Ports[0].Port = ptr.To(intstr.FromString("http"))
		}},
		// A rule without a destination, which is one for every destination.
		{"flows", "app to internet, port 5432/TCP is allowed", func(t *testing.T, o []object) { policy(t, o, "storage-users").Egress[1].To = nil }},
		{"flows", "gc to database, port 9000/TCP is allowed", func(t *testing.T, o []object) { policy(t, o, "storage-users").Egress[2].To = nil }},
		{"flows", "credentials to neighbour, port 443/TCP is refused (ipBlocks mean pods too: false)", func(t *testing.T, o []object) {
			policy(t, o, "credentials").Egress[0].To = []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0"}}}
		}},

		{"ports", "NetworkPolicy/board-triptych-web: port http is no number", func(t *testing.T, o []object) {
			policy(t, o, "web").Ingress[0].Ports[0].Port = ptr.To(intstr.FromString("http"))
		}},
		{"ports", "NetworkPolicy/board-triptych-web: port app is no number", func(t *testing.T, o []object) {
			policy(t, o, "web").Egress[1].Ports[0].Port = ptr.To(intstr.FromString("app"))
		}},

		{"reloads", "app: 10 s of preStop sleep, and web lives on for 10 s", func(t *testing.T, o []object) { one(t, o).Lifecycle.PreStop.Sleep.Seconds = 10 }},
		{"reloads", "web: 90 s of preStop sleep, and web lives on for 90 s", func(t *testing.T, o []object) {
			must[*corev1.ConfigMap](t, o, "ConfigMap", full+"-web").Data["newer.conf"] = "keepalive_min_timeout 90s;"
		}},
		{"reloads", "web has no keepalive_min_timeout", func(t *testing.T, o []object) {
			must[*corev1.ConfigMap](t, o, "ConfigMap", full+"-web").Data["newer.conf"] = "# keepalive_min_timeout 10s;"
		}},
		{"flows", "app to dns, port 53/UDP is refused", func(t *testing.T, o []object) { policy(t, o, "storage-users").Egress[0].Ports[0].Protocol = nil }},
		{"flows", "controller to web, port 8080/TCP is refused", func(t *testing.T, o []object) {
			policy(t, o, "web").Ingress[0].From[0].PodSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "nginx"}}
		}},
		{"flows", "smoke to app, port 8080/TCP is refused", func(t *testing.T, o []object) { policy(t, o, "smoke").Egress = nil }},

		{"default deny", "is not rendered", func(t *testing.T, o []object) {
			of(t, o, "NetworkPolicy/board-triptych-default-deny").meta.Name = "other"
		}},
		{"default deny", "lets something through", func(t *testing.T, o []object) {
			policy(t, o, "default-deny").Ingress = []networkingv1.NetworkPolicyIngressRule{{}}
		}},
		{"default deny", "says nothing about Egress", func(t *testing.T, o []object) { policy(t, o, "default-deny").PolicyTypes = nil }},
		{"default deny", "is not for the pods of CronJob/board-triptych-gc", func(t *testing.T, o []object) {
			policy(t, o, "default-deny").PodSelector.MatchLabels[label+"name"] = "triptych"
		}},
		{"default deny", "shuts off neighbour, which is not ours", func(t *testing.T, o []object) {
			policy(t, o, "default-deny").PodSelector = metav1.LabelSelector{}
		}},

		{"roles", "grants", func(t *testing.T, o []object) {
			role := must[*rbacv1.Role](t, o, "Role", full+"-credentials")
			role.Rules[1].Verbs = append(role.Rules[1].Verbs, "delete")
		}},
		{"roles", "grants", func(t *testing.T, o []object) {
			must[*rbacv1.Role](t, o, "Role", full+"-credentials").Rules[1].ResourceNames = nil
		}},
		{"roles", "is for the whole cluster", func(t *testing.T, o []object) {
			of(t, o, "Role/board-triptych-credentials").typed = &rbacv1.ClusterRole{}
		}},
		{"roles", "Deployment/board-triptych-app runs as", func(t *testing.T, o []object) {
			app(t, o).Spec.Template.Spec.ServiceAccountName = full + "-credentials"
		}},
		{"roles", "is for [", func(t *testing.T, o []object) {
			binding := must[*rbacv1.RoleBinding](t, o, "RoleBinding", full+"-credentials")
			binding.Subjects = append(binding.Subjects, rbacv1.Subject{Kind: "ServiceAccount", Name: "default", Namespace: namespace})
		}},
		{"roles", "has a token of the Kubernetes API that it does not need", func(t *testing.T, o []object) {
			app(t, o).Spec.Template.Spec.Volumes = append(app(t, o).Spec.Template.Spec.Volumes, corev1.Volume{Name: "token", VolumeSource: corev1.VolumeSource{
				Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}}},
			}})
		}},

		{"rules", `there is no "triptych_requests_total"`, func(t *testing.T, o []object) {
			must[*monitoringv1.PrometheusRule](t, o, "PrometheusRule", full+"-app").Spec.Groups[0].Rules[0].Expr = intstr.FromString("rate(triptych_requests_total[5m]) > 0")
		}},
		{"rules", "parse error", func(t *testing.T, o []object) {
			must[*monitoringv1.PrometheusRule](t, o, "PrometheusRule", full+"-app").Spec.Groups[0].Rules[0].Expr = intstr.FromString("rate(triptych_posts_total[5m]")
		}},
		{"rules", `has no label "code"`, func(t *testing.T, o []object) {
			must[*monitoringv1.PrometheusRule](t, o, "PrometheusRule", full+"-app").Spec.Groups[0].Rules[0].Expr = intstr.FromString(`triptych_http_requests_total{code="500"} > 0`)
		}},
		{"rules", "has no summary", func(t *testing.T, o []object) {
			must[*monitoringv1.PrometheusRule](t, o, "PrometheusRule", full+"-app").Spec.Groups[0].Rules[0].Annotations = nil
		}},
	} {
		broken[c.check] = true
		t.Run(c.check+": "+c.message, func(t *testing.T) {
			objects, problems := decode(text)
			reportAll(t, problems)
			reportAll(t, checks[c.check](objects))
			if t.Failed() {
				t.Fatal("already broken before it was damaged")
			}
			c.damage(t, objects)
			finds(t, checks[c.check](objects), c.message)
		})
	}
	for name := range checks {
		if !broken[name] {
			t.Errorf("nothing that the check %q could find", name)
		}
	}
	t.Run("selectors: another release", func(t *testing.T) {
		objects, _ := decode(text)
		others, _ := decode(text)
		finds(t, checkSelectors(objects, others, r), "of another release")
	})
	t.Run("references: a name too many", func(t *testing.T) {
		objects, _ := decode(text)
		finds(t, checkReferences(objects, []string{"Secret/unused"}), "nobody refers to Secret/unused")
	})
	t.Run("reloads: the controller", func(t *testing.T) {
		objects, _ := decode(text)
		finds(t, checkReloads(objects, r, []byte(`controller: {config: {entries: {http-snippets: "keepalive_min_timeout 30s;"}}}`)), "the Ingress controller lives on for 30 s")
		finds(t, checkReloads(objects, r, []byte("controller: {}")), "the Ingress controller has no keepalive_min_timeout")
	})
	// What a migration before the first sync cannot have yet: an account, and a policy that is made with the release.
	for message, damage := range map[string]func(*testing.T, []object){
		"Job/board-triptych-migrate needs ServiceAccount/board-triptych,": func(t *testing.T, o []object) {
			must[*batchv1.Job](t, o, "Job", full+"-migrate").Spec.Template.Spec.ServiceAccountName = full
		},
		"Job/board-triptych-migrate needs NetworkPolicy/board-triptych-migrate,": func(t *testing.T, o []object) {
			of(t, o, "NetworkPolicy/board-triptych-migrate").meta.Annotations["helm.sh/hook-weight"] = "0"
		},
		"Job/board-triptych-migrate needs NetworkPolicy/board-triptych-storage-users,": func(t *testing.T, o []object) {
			policy(t, o, "storage-users").PodSelector.MatchExpressions = nil
		},
		"Job/board-triptych-migrate needs ConfigMap/board-triptych-web,": func(t *testing.T, o []object) {
			container := &must[*batchv1.Job](t, o, "Job", full+"-migrate").Spec.Template.Spec.Containers[0]
			container.EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: full + "-web"}}}}
		},
	} {
		t.Run("references: "+message, func(t *testing.T) {
			index := slices.IndexFunc(cases, func(c valueSet) bool { return c.name == "external" })
			objects := render(t, cases[index].rendering)
			reportAll(t, checkReferences(objects, cases[index].existing))
			damage(t, objects)
			finds(t, checkReferences(objects, cases[index].existing), message)
		})
	}
	t.Run("flows: nobody is called that", func(t *testing.T) {
		objects, _ := decode(text)
		finds(t, checkFlows(objects, r, []flow{tcp("app", "nobody", 1)}), "nobody is called that")
	})
}

func TestBrokenSchemas(t *testing.T) {
	for _, c := range []struct{ name, schema, message string }{
		{"missing key", `{"additionalProperties":false,"properties":{}}`, "app is in the values and not in the schema"},
		{"key too many", `{"additionalProperties":false,"properties":{"app":{"additionalProperties":false,"properties":{"replicas":{},"other":{}}}}}`, "app.other is in the schema and not in the values"},
		{"missing key below", `{"additionalProperties":false,"properties":{"app":{"additionalProperties":false,"properties":{}}}}`, "app.replicas is in the values and not in the schema"},
		{"open", `{"properties":{"app":{"additionalProperties":false,"properties":{"replicas":{}}}}}`, "lets unknown keys pass"},
		{"open below", `{"additionalProperties":false,"properties":{"app":{"properties":{"replicas":{}}}}}`, "app. lets unknown keys pass"},
		{"open in a list", `{"additionalProperties":false,"properties":{"app":{"additionalProperties":false,"properties":{"replicas":{"items":{"properties":{"a":{}}}}}}}}`, "lets unknown ones pass"},
		{"no keys", `{"additionalProperties":false,"properties":{"app":{"type":"object"}}}`, "the schema knows none of them"},
		{"not required", `{"additionalProperties":false,"required":["app"],"properties":{"app":{"additionalProperties":false,"properties":{"replicas":{"type":"integer"}}}}}`, "app.replicas may be null"},
		{"elsewhere", `{"additionalProperties":false,"properties":{"app":{"$ref":"https://example.org/schema.json"}}}`, "outside of the file"},
		{"nowhere", `{"additionalProperties":false,"properties":{"app":{"$ref":"#/$defs/app"}}}`, "leads nowhere"},
	} {
		t.Run(c.name, func(t *testing.T) {
			finds(t, checkSchema([]byte(c.schema), map[string]any{"app": map[string]any{"replicas": 3.0}}), c.message)
		})
	}
}

func TestBrokenTemplates(t *testing.T) {
	for template, message := range map[string]string{
		`{{ lookup "v1" "Secret" "a" "b" }}`:                "x uses lookup",
		`{{ $password := randAlphaNum 32 | b64enc }}`:       "x uses randAlphaNum",
		"{{- $p := (printf \"%s\" (randAscii 3)) -}}":       "x uses randAscii",
		`a: {{ now | date "2006" }}`:                        "x uses now",
		`{{ $ca := genCA "a" 365 }}`:                        "x uses genCA",
		"{{- if .Values.a }}\n{{ uuidv4 }}\n{{- end }}":     "x uses uuidv4",
		`{{/* fine */}}{{ htpasswd "a" .Values.b }}`:        "x uses htpasswd",
		"{{- with (\n  lookup \"v1\" \"a\" \"b\" \"c\") }}": "x uses lookup",
	} {
		finds(t, checkStable(map[string]string{"x": template}), message)
	}
	for _, template := range []string{`{{/* no lookup here */}}`, `lookup now`, `{{ .Values.now }}`, `{{ $now }}`, `{{ "lookup now" }}`} {
		if problems := checkStable(map[string]string{"x": template}); problems != nil {
			t.Errorf("%q", problems)
		}
	}
}

func TestBrokenDashboards(t *testing.T) {
	known, err := ofProgram()
	if err != nil {
		t.Fatal(err)
	}
	panel := func(expression string) string {
		return `{"uid":"a","title":"b","panels":[{"id":1,"gridPos":{"h":1,"w":1},"targets":[{"expr":"` + expression + `"}]}]}`
	}
	if problems := checkDashboard(panel("sum(rate(triptych_posts_total[$__rate_interval]))"), known); problems != nil {
		t.Errorf("%q", problems)
	}
	for text, message := range map[string]string{
		`{"uid":"a",}`:                          "invalid character",
		`{"title":"b","panels":[]}`:             "no uid",
		panel("triptych_posts"):                 `there is no \"triptych_posts\"`,
		panel("sum(triptych_posts_total"):       "parse error",
		panel(`triptych_posts_total{pod='$p'}`): "$p is not a variable",
		`{"uid":"a","title":"b","templating":{"list":[{"name":"c","query":{"query":"label_values(triptych_post, pod)"}}]}}`: `there is no \"triptych_post\"`,
	} {
		finds(t, checkDashboard(text, known), strings.ReplaceAll(message, `\"`, `"`))
	}
}
