package chart

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// workload is an object that makes pods.
type workload struct {
	object
	pod corev1.PodTemplateSpec
	// Claims that a StatefulSet makes for each pod.
	claims []corev1.PersistentVolumeClaim
	// What it counts as its own. Nil for a lone pod and for Jobs, which select by an identifier that the cluster makes.
	selector *metav1.LabelSelector
}

// component is the part of the board that the pods belong to.
func (w workload) component() string { return w.pod.Labels["app.kubernetes.io/component"] }

// oneShot says whether the pods do something and end.
func (w workload) oneShot() bool { return w.Kind == "Job" || w.Kind == "CronJob" || w.Kind == "Pod" }

// deadline gives the seconds after which a pod or Job that should have ended is ended.
func (w workload) deadline() *int64 {
	switch typed := w.typed.(type) {
	case *batchv1.Job:
		return typed.Spec.ActiveDeadlineSeconds
	case *batchv1.CronJob:
		return typed.Spec.JobTemplate.Spec.ActiveDeadlineSeconds
	default:
		return w.pod.Spec.ActiveDeadlineSeconds
	}
}

// containers gives all of them, and those that run before the others.
func (w workload) containers() []corev1.Container {
	return slices.Concat(w.pod.Spec.InitContainers, w.pod.Spec.Containers)
}

// container finds one by its name.
func (w workload) container(name string) *corev1.Container {
	for index := range w.pod.Spec.Containers {
		if w.pod.Spec.Containers[index].Name == name {
			return &w.pod.Spec.Containers[index]
		}
	}
	return nil
}

// workloads gives everything that makes pods, hooks and the pod of `helm test` among them.
func workloads(objects []object) []workload {
	var found []workload
	for _, o := range objects {
		switch typed := o.typed.(type) {
		case *appsv1.Deployment:
			found = append(found, workload{object: o, pod: typed.Spec.Template, selector: typed.Spec.Selector})
		case *appsv1.StatefulSet:
			found = append(found, workload{object: o, pod: typed.Spec.Template, selector: typed.Spec.Selector, claims: typed.Spec.VolumeClaimTemplates})
		case *appsv1.DaemonSet:
			found = append(found, workload{object: o, pod: typed.Spec.Template, selector: typed.Spec.Selector})
		case *batchv1.Job:
			found = append(found, workload{object: o, pod: typed.Spec.Template})
		case *batchv1.CronJob:
			found = append(found, workload{object: o, pod: typed.Spec.JobTemplate.Spec.Template})
		case *corev1.Pod:
			found = append(found, workload{object: o, pod: corev1.PodTemplateSpec{ObjectMeta: typed.ObjectMeta, Spec: typed.Spec}})
		}
	}
	return found
}

// find gives the object of a kind and name.
func find[T any](objects []object, kind, name string) (T, error) {
	var none T
	for _, o := range objects {
		if o.Kind == kind && o.meta.Name == name {
			typed, ok := any(o.typed).(T)
			if !ok {
				return none, fmt.Errorf("%s is a %T", o, o.typed)
			}
			return typed, nil
		}
	}
	return none, fmt.Errorf("%s/%s is not rendered", kind, name)
}

// all gives the objects of a type.
func all[T any](objects []object) []T {
	var found []T
	for _, o := range objects {
		if typed, ok := any(o.typed).(T); ok {
			found = append(found, typed)
		}
	}
	return found
}

// matches says whether a selector selects labels. One that is not there selects nothing.
func matches(selector *metav1.LabelSelector, set map[string]string) bool {
	compiled, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && compiled.Matches(labels.Set(set))
}

// zoneTerms gives the anti-affinity of pods by zone, as far as it is only preferred.
func zoneTerms(pod corev1.PodSpec) []corev1.PodAffinityTerm {
	var found []corev1.PodAffinityTerm
	if pod.Affinity == nil || pod.Affinity.PodAntiAffinity == nil {
		return nil
	}
	for _, preferred := range pod.Affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
		if preferred.PodAffinityTerm.TopologyKey == corev1.LabelTopologyZone {
			found = append(found, preferred.PodAffinityTerm)
		}
	}
	return found
}
