package chart

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// checkPodSecurity asks the code that runs in the API server whether a namespace with the restricted Pod Security
// Standard would let every pod in.
func checkPodSecurity(objects []object) []string {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return []string{err.Error()}
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	var problems []string
	for _, w := range workloads(objects) {
		result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &w.pod.ObjectMeta, &w.pod.Spec))
		if !result.Allowed {
			problems = append(problems, fmt.Sprintf("%s: %s", w, result.ForbiddenDetail()))
		}
	}
	return problems
}

// checkPods holds pods to our own rules, which go beyond the standard.
func checkPods(objects []object) []string {
	var problems []string
	for _, w := range workloads(objects) {
		report := func(format string, arguments ...any) {
			problems = append(problems, fmt.Sprintf("%s: %s", w, fmt.Sprintf(format, arguments...)))
		}
		pod := w.pod.Spec
		if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
			report("a token of the Kubernetes API is mounted by itself")
		}
		if pod.EnableServiceLinks == nil || *pod.EnableServiceLinks {
			// They would be TRIPTYCH_… too, for a release of that name.
			report("variables for every Service of the namespace")
		}
		if w.oneShot() && pod.RestartPolicy != corev1.RestartPolicyNever && pod.RestartPolicy != corev1.RestartPolicyOnFailure {
			report("restartPolicy is %q, so that it would never end", pod.RestartPolicy)
		}
		if w.oneShot() && !w.ofOperator() {
			if deadline := w.deadline(); deadline == nil || *deadline < 60 {
				report("has no deadline: whatever it waits for, it would wait for ever, and whoever waits for it")
			}
		}
		for _, container := range w.containers() {
			checkContainer(container, func(format string, arguments ...any) {
				report("container %s: %s", container.Name, fmt.Sprintf(format, arguments...))
			})
		}
		checkUnique(w, report)
		checkDisk(w, report)
	}
	return problems
}

// logs are what the kubelet keeps of one container, and counts: five files of 10 MiB by default, of 50 MiB elsewhere.
var logs = resource.MustParse("250Mi")

// checkDisk wants the volumes of a pod that are on the node's disk, and logs, to fit what it may take there: with more it is
// evicted.
func checkDisk(w workload, report func(string, ...any)) {
	var limit, taken resource.Quantity
	for _, container := range w.pod.Spec.Containers {
		limit.Add(container.Resources.Limits[corev1.ResourceEphemeralStorage])
	}
	taken.Add(logs)
	for _, volume := range w.pod.Spec.Volumes {
		switch {
		case volume.EmptyDir == nil || volume.EmptyDir.Medium == corev1.StorageMediumMemory:
		case volume.EmptyDir.SizeLimit == nil:
			report("volume %s has no limit", volume.Name)
		default:
			taken.Add(*volume.EmptyDir.SizeLimit)
		}
	}
	if limit.Cmp(taken) < 0 {
		report("may take %s of the node's disk, and its volumes and logs take %s", &limit, &taken)
	}
}

var tagged = regexp.MustCompile(`:([A-Za-z0-9_][A-Za-z0-9_.-]*)(@|$)`)

func checkContainer(container corev1.Container, report func(string, ...any)) {
	if security := container.SecurityContext; security == nil || security.ReadOnlyRootFilesystem == nil || !*security.ReadOnlyRootFilesystem {
		report("its root is not read-only")
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		if _, found := container.Resources.Requests[name]; !found {
			report("requests no %s", name)
		}
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		if _, found := container.Resources.Limits[name]; !found {
			report("no limit of %s", name)
		}
	}
	switch tag := tagged.FindStringSubmatch(container.Image); {
	case tag == nil && !strings.Contains(container.Image, "@sha256:"):
		report("image %q has neither tag nor digest", container.Image)
	case tag != nil && tag[1] == "latest":
		report("image %q is another one every day", container.Image)
	}
	// `$(NAME)` is only filled in from variables above, and stays as it is otherwise.
	defined := map[string]bool{}
	for _, variable := range container.Env {
		if defined[variable.Name] {
			report("variable %s is there twice", variable.Name)
		}
		for _, used := range regexp.MustCompile(`\$\(([A-Za-z_][A-Za-z0-9_]*)\)`).FindAllStringSubmatch(variable.Value, -1) {
			if !defined[used[1]] {
				report("variable %s uses %s, which is not set above it", variable.Name, used[1])
			}
		}
		defined[variable.Name] = true
	}
	ports := map[string]bool{}
	for _, port := range container.Ports {
		ports[port.Name] = true
	}
	for name, probe := range map[string]*corev1.Probe{"startup": container.StartupProbe, "liveness": container.LivenessProbe, "readiness": container.ReadinessProbe} {
		if probe != nil && probe.HTTPGet != nil && probe.HTTPGet.Port.Type == intstr.String && !ports[probe.HTTPGet.Port.StrVal] {
			report("the %s probe asks port %q, which it does not have", name, probe.HTTPGet.Port.StrVal)
		}
	}
}

// checkOwner finds containers besides the migration that could connect as the owner of the tables, who may do everything
// to them. The bundled server itself has to know its password.
func checkOwner(objects []object) []string {
	var problems []string
	for _, w := range workloads(objects) {
		for _, container := range w.containers() {
			if container.Name == "migrate" || container.Name == "postgresql" || w.ofOperator() {
				continue
			}
			report := func(format string, arguments ...any) {
				problems = append(problems, fmt.Sprintf("%s: container %s%s", w, container.Name, fmt.Sprintf(format, arguments...)))
			}
			for _, variable := range container.Env {
				if from := variable.ValueFrom; from != nil && from.SecretKeyRef != nil && from.SecretKeyRef.Key == "postgresql-password" {
					report(" knows the password of the owner: %s", variable.Name)
				}
				if strings.HasPrefix(variable.Name, "TRIPTYCH_MIGRATE_") && variable.Name != "TRIPTYCH_MIGRATE_WAIT" {
					report(" is told who the owner is: %s", variable.Name)
				}
			}
			for _, from := range container.EnvFrom {
				if from.SecretRef != nil {
					report(": nobody knows what all of a Secret is: %s", from.SecretRef.Name)
				}
			}
		}
	}
	return problems
}

// checkUnique finds what is there twice. Server-side apply, Helm 4's way, refuses it; before, one of the two was dropped.
func checkUnique(w workload, report func(string, ...any)) {
	seen := map[string]bool{}
	once := func(format string, arguments ...any) {
		name := fmt.Sprintf(format, arguments...)
		if seen[name] {
			report("%s is there twice", name)
		}
		seen[name] = true
	}
	volumes := map[string]bool{}
	for _, volume := range w.pod.Spec.Volumes {
		once("volume %s", volume.Name)
		volumes[volume.Name] = true
	}
	for _, claim := range w.claims {
		once("volume %s", claim.Name)
		volumes[claim.Name] = true
	}
	for _, container := range w.containers() {
		once("container %s", container.Name)
		for _, port := range container.Ports {
			once("port %d/%s", port.ContainerPort, port.Protocol)
			once("port %s", port.Name)
		}
		for _, mount := range container.VolumeMounts {
			once("mount of container %s at %s", container.Name, mount.MountPath)
			if !volumes[mount.Name] {
				report("container %s mounts %s, which is not a volume of the pod", container.Name, mount.Name)
			}
		}
	}
}

// checkServers holds the four servers to what makes them stay up, start and end well.
func checkServers(objects []object) []string {
	var problems []string
	for _, w := range workloads(objects) {
		if w.oneShot() || w.ofOperator() {
			continue
		}
		report := func(format string, arguments ...any) {
			problems = append(problems, fmt.Sprintf("%s: %s", w, fmt.Sprintf(format, arguments...)))
		}
		container := w.container(w.component())
		if container == nil {
			report("no container has the name of its component, %q", w.component())
			continue
		}
		for name, probe := range map[string]*corev1.Probe{"startup": container.StartupProbe, "liveness": container.LivenessProbe, "readiness": container.ReadinessProbe} {
			if probe == nil {
				report("no %s probe", name)
			}
		}
		switch typed := w.typed.(type) {
		case *appsv1.Deployment:
			checkDeployment(w, typed, *container, report)
		case *appsv1.StatefulSet:
			if typed.Spec.Replicas == nil || *typed.Spec.Replicas != 1 {
				report("more than one server on data that only one may write")
			}
			if kept := typed.Spec.PersistentVolumeClaimRetentionPolicy; kept == nil || kept.WhenDeleted != appsv1.RetainPersistentVolumeClaimRetentionPolicyType || kept.WhenScaled != appsv1.RetainPersistentVolumeClaimRetentionPolicyType {
				report("its claims are not said to be kept")
			}
			if grace := w.pod.Spec.TerminationGracePeriodSeconds; grace == nil || *grace < 30 {
				report("has no time to write down what it knows before it is killed")
			}
			if w.component() == "postgresql" && !sharesMemory(w, *container) {
				report("/dev/shm is the runtime's own, of 64 MiB: parallel queries run out of it")
			}
		default:
			report("a server is a Deployment or a StatefulSet")
		}
	}
	return problems
}

// sharesMemory says whether a container has memory of its own at /dev/shm, with a limit.
func sharesMemory(w workload, container corev1.Container) bool {
	for _, mount := range container.VolumeMounts {
		for _, volume := range w.pod.Spec.Volumes {
			if mount.MountPath == "/dev/shm" && !mount.ReadOnly && volume.Name == mount.Name && volume.EmptyDir != nil {
				return volume.EmptyDir.Medium == corev1.StorageMediumMemory && volume.EmptyDir.SizeLimit != nil
			}
		}
	}
	return false
}

// livePaths answer without asking anybody else: an outage of Postgres or S3 must not restart those that wait for it.
var livePaths = map[string]string{"app": "/livez", "web": "/nginx-health"}

func checkDeployment(w workload, deployment *appsv1.Deployment, container corev1.Container, report func(string, ...any)) {
	component := w.component()
	for name, probe := range map[string]*corev1.Probe{"startup": container.StartupProbe, "liveness": container.LivenessProbe} {
		if probe != nil && (probe.HTTPGet == nil || probe.HTTPGet.Path != livePaths[component]) {
			report("the %s probe has to ask %s and nothing else", name, livePaths[component])
		}
	}
	if ready := container.ReadinessProbe; component == "app" && ready != nil && (ready.HTTPGet == nil || ready.HTTPGet.Path != "/readyz") {
		report("the readiness probe has to ask /readyz, which says no while the replica is about to end")
	}
	rolling := deployment.Spec.Strategy.RollingUpdate
	if rolling == nil || rolling.MaxUnavailable == nil || *rolling.MaxUnavailable != intstr.FromInt32(0) {
		report("maxUnavailable is not 0")
	}
	var sleep int64
	if container.Lifecycle == nil || container.Lifecycle.PreStop == nil || container.Lifecycle.PreStop.Sleep == nil || container.Lifecycle.PreStop.Sleep.Seconds < 1 {
		report("no preStop sleep: the proxies would still send requests when it has stopped listening")
	} else {
		sleep = container.Lifecycle.PreStop.Sleep.Seconds
	}
	ending := time.Duration(sleep) * time.Second
	if component == "app" {
		index := slices.IndexFunc(container.Env, func(variable corev1.EnvVar) bool { return variable.Name == "TRIPTYCH_SHUTDOWN_TIMEOUT" })
		if index < 0 {
			report("is not told when it has to have ended")
			return
		}
		timeout, err := time.ParseDuration(container.Env[index].Value)
		if err != nil {
			report("TRIPTYCH_SHUTDOWN_TIMEOUT: %v", err)
		}
		ending += timeout
	}
	// At the deadline itself the process says what it gives up, and exits.
	if grace := w.pod.Spec.TerminationGracePeriodSeconds; grace == nil || time.Duration(*grace)*time.Second <= ending {
		report("terminationGracePeriodSeconds is shorter than the %s that it takes to end", ending)
	}
}

// variables gives the names of the environment variables that the program knows.
func variables() (map[string]bool, error) {
	text, err := os.ReadFile(root + "/app/src/config/variables.rs")
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, match := range regexp.MustCompile(`"(TRIPTYCH_[A-Z0-9_]+)"`).FindAllStringSubmatch(string(text), -1) {
		names[match[1]] = true
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no variable found in the program's list of them")
	}
	return names, nil
}

// checkVariables finds variables that the program would not know: it refuses to start with those.
func checkVariables(objects []object, names map[string]bool) []string {
	var problems []string
	for _, w := range workloads(objects) {
		for _, container := range w.containers() {
			for _, variable := range container.Env {
				if strings.HasPrefix(variable.Name, "TRIPTYCH_") && !names[variable.Name] && !names[strings.TrimSuffix(variable.Name, "_FILE")] {
					problems = append(problems, fmt.Sprintf("%s: container %s: the program knows no %s", w, container.Name, variable.Name))
				}
			}
		}
	}
	return problems
}
