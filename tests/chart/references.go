package chart

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// reference is what a pod names and cannot start without; key is empty where the whole object is meant.
type reference struct{ kind, name, key string }

func (r reference) String() string {
	if r.key == "" {
		return r.kind + "/" + r.name
	}
	return r.kind + "/" + r.name + "[" + r.key + "]"
}

// references collects all of them of a pod, but those that may be absent.
func references(w workload) []reference {
	var found []reference
	add := func(optional *bool, kind, name, key string) {
		if optional == nil || !*optional {
			found = append(found, reference{kind, name, key})
		}
	}
	items := func(optional *bool, kind, name string, keys []corev1.KeyToPath) {
		add(optional, kind, name, "")
		for _, item := range keys {
			add(optional, kind, name, item.Key)
		}
	}
	pod := w.pod.Spec
	account := pod.ServiceAccountName
	if account == "" {
		account = "default"
	}
	add(nil, "ServiceAccount", account, "")
	for _, secret := range pod.ImagePullSecrets {
		add(nil, "Secret", secret.Name, "")
	}
	for _, volume := range pod.Volumes {
		if volume.ConfigMap != nil {
			items(volume.ConfigMap.Optional, "ConfigMap", volume.ConfigMap.Name, volume.ConfigMap.Items)
		}
		if volume.Secret != nil {
			items(volume.Secret.Optional, "Secret", volume.Secret.SecretName, volume.Secret.Items)
		}
		if volume.PersistentVolumeClaim != nil {
			add(nil, "PersistentVolumeClaim", volume.PersistentVolumeClaim.ClaimName, "")
		}
		if volume.Projected != nil {
			for _, source := range volume.Projected.Sources {
				if source.ConfigMap != nil {
					items(source.ConfigMap.Optional, "ConfigMap", source.ConfigMap.Name, source.ConfigMap.Items)
				}
				if source.Secret != nil {
					items(source.Secret.Optional, "Secret", source.Secret.Name, source.Secret.Items)
				}
			}
		}
	}
	for _, container := range w.containers() {
		for _, from := range container.EnvFrom {
			if from.ConfigMapRef != nil {
				add(from.ConfigMapRef.Optional, "ConfigMap", from.ConfigMapRef.Name, "")
			}
			if from.SecretRef != nil {
				add(from.SecretRef.Optional, "Secret", from.SecretRef.Name, "")
			}
		}
		for _, variable := range container.Env {
			if from := variable.ValueFrom; from != nil && from.ConfigMapKeyRef != nil {
				add(from.ConfigMapKeyRef.Optional, "ConfigMap", from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Key)
			} else if from != nil && from.SecretKeyRef != nil {
				add(from.SecretKeyRef.Optional, "Secret", from.SecretKeyRef.Name, from.SecretKeyRef.Key)
			}
		}
	}
	return found
}

// madeByJob gives the Secret and the keys that the Job of the credentials makes, as its arguments say.
func madeByJob(objects []object) []reference {
	var made []reference
	for _, job := range all[*batchv1.Job](objects) {
		if job.Spec.Template.Labels[label+"name"] != "triptych-credentials" {
			continue
		}
		arguments := job.Spec.Template.Spec.Containers[0].Args
		if len(arguments) < 2 || arguments[0] != "credentials" {
			continue
		}
		made = append(made, reference{"Secret", arguments[1], ""})
		for _, key := range arguments[2:] {
			if strings.HasPrefix(key, "--") {
				break
			}
			made = append(made, reference{"Secret", arguments[1], key})
		}
	}
	return made
}

// provide adds what objects are and make to what is there.
func provide(there map[string]bool, objects []object) {
	for _, made := range madeByJob(objects) {
		there[made.String()] = true
	}
	for _, o := range objects {
		there[o.String()] = true
		switch typed := o.typed.(type) {
		case *corev1.ConfigMap:
			for key := range typed.Data {
				there[reference{o.Kind, o.meta.Name, key}.String()] = true
			}
		case *corev1.Secret:
			for key := range typed.StringData {
				there[reference{o.Kind, o.meta.Name, key}.String()] = true
			}
		}
	}
}

// checkReferences follows what pods name: it has to be rendered, to be made by the Job, to be in every namespace, or to
// be one of `existing`, which the values of the case name as the operator's.
func checkReferences(objects []object, existing []string) []string {
	beforehand := map[string]bool{"ServiceAccount/default": true, "ConfigMap/kube-root-ca.crt": true, "ConfigMap/kube-root-ca.crt[ca.crt]": true}
	for _, name := range existing {
		beforehand[name] = true
		// A Secret is there as a whole where a key of it is.
		beforehand[strings.SplitN(name, "[", 2)[0]] = true
	}
	there := maps.Clone(beforehand)
	provide(there, objects)
	used := map[string]bool{}
	var problems []string
	for _, w := range workloads(objects) {
		for _, r := range references(w) {
			used[r.String()] = true
			if !there[r.String()] {
				problems = append(problems, fmt.Sprintf("%s refers to %s, which nobody makes", w, r))
			}
		}
	}
	for _, made := range madeByJob(objects) {
		if made.key != "" && !used[made.String()] {
			problems = append(problems, fmt.Sprintf("the Job of the credentials makes %s, which nobody reads", made))
		}
	}
	for _, name := range existing {
		if !used[name] {
			problems = append(problems, fmt.Sprintf("nobody refers to %s, which the values name", name))
		}
	}
	return append(problems, checkHooks(objects, beforehand)...)
}

// hooks tells when Helm makes an object: never as part of a release, unless there is nothing.
func hooks(o object) []string {
	return strings.FieldsFunc(o.meta.Annotations["helm.sh/hook"], func(r rune) bool { return r == ',' })
}

// madeBefore says whether one hook is there whenever another is made.
func madeBefore(first, then object) bool {
	for _, when := range hooks(then) {
		if !slices.Contains(hooks(first), when) {
			return false
		}
	}
	firstWeight, _ := strconv.Atoi(first.meta.Annotations["helm.sh/hook-weight"])
	thenWeight, _ := strconv.Atoi(then.meta.Annotations["helm.sh/hook-weight"])
	return firstWeight < thenWeight
}

// checkHooks wants everything that the pod of a hook refers to, and what lets it work, to be there when it runs: hooks of a
// lower weight, what they make, and what the operator brings. Nothing of the release is: Helm makes that afterwards at
// an installation, and Argo CD, which knows no upgrade, at every first sync. What lets it out has to be there whether
// this release has policies or not: the release before may have some that are still in force.
func checkHooks(objects []object, there map[string]bool) []string {
	var problems []string
	for _, w := range workloads(objects) {
		if len(hooks(w.object)) == 0 || w.ofOperator() {
			continue
		}
		made := maps.Clone(there)
		for _, o := range objects {
			// A test comes after the release, but its policies are its own.
			if madeBefore(o, w.object) || o.Kind != "NetworkPolicy" && slices.Contains(hooks(w.object), "test") {
				provide(made, []object{o})
			}
		}
		needed := references(w)
		for _, binding := range all[*rbacv1.RoleBinding](objects) {
			for _, subject := range binding.Subjects {
				if subject.Kind == "ServiceAccount" && subject.Name == w.pod.Spec.ServiceAccountName {
					needed = append(needed, reference{"RoleBinding", binding.Name, ""}, reference{binding.RoleRef.Kind, binding.RoleRef.Name, ""})
				}
			}
		}
		allowed := false
		for _, o := range objects {
			policy, isPolicy := o.typed.(*networkingv1.NetworkPolicy)
			if !isPolicy {
				continue
			}
			if rules := len(policy.Spec.Ingress) + len(policy.Spec.Egress); rules > 0 && matches(&policy.Spec.PodSelector, w.pod.Labels) {
				allowed = true
				needed = append(needed, reference{o.Kind, o.meta.Name, ""})
			}
		}
		if !allowed {
			problems = append(problems, fmt.Sprintf("%s has no policy that lets it out", w))
		}
		for _, r := range needed {
			if !made[r.String()] {
				problems = append(problems, fmt.Sprintf("%s needs %s, which is not there yet when it runs", w, r))
			}
		}
	}
	return problems
}
