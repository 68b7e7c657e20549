package chart

import (
	"fmt"
	"reflect"

	rbacv1 "k8s.io/api/rbac/v1"
)

// checkRoles wants exactly what the Job of the credentials needs and nothing for anybody else: to create Secrets (which
// cannot be narrowed to a name), and to read and add to its own.
func checkRoles(objects []object, r rendering) []string {
	var problems []string
	report := func(format string, arguments ...any) {
		problems = append(problems, fmt.Sprintf(format, arguments...))
	}
	name := r.fullname() + "-credentials"
	wanted := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{name}, Verbs: []string{"get", "patch"}},
	}
	bound := false
	for _, o := range objects {
		switch typed := o.typed.(type) {
		case *rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding:
			report("%s is for the whole cluster", o)
		case *rbacv1.Role:
			if o.meta.Name != name || !reflect.DeepEqual(typed.Rules, wanted) {
				report("%s grants %v", o, typed.Rules)
			}
		case *rbacv1.RoleBinding:
			bound = true
			if typed.RoleRef != (rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}) {
				report("%s binds %v", o, typed.RoleRef)
			}
			if len(typed.Subjects) != 1 || typed.Subjects[0] != (rbacv1.Subject{Kind: "ServiceAccount", Name: name, Namespace: namespace}) {
				report("%s is for %v", o, typed.Subjects)
			}
		}
	}
	for _, w := range workloads(objects) {
		isJob := w.Kind == "Job" && w.meta.Name == name
		if account := w.pod.Spec.ServiceAccountName; (account == name) != isJob {
			report("%s runs as %q", w, account)
		}
		if isJob && !bound {
			report("%s has no role", w)
		}
		for _, volume := range w.pod.Spec.Volumes {
			if volume.Projected == nil {
				continue
			}
			for _, source := range volume.Projected.Sources {
				if token := source.ServiceAccountToken; token != nil && (!isJob || token.ExpirationSeconds == nil || *token.ExpirationSeconds > 600) {
					report("%s has a token of the Kubernetes API that it does not need, or for too long", w)
				}
			}
		}
	}
	return problems
}
