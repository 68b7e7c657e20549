package chart

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

const label = "app.kubernetes.io/"

// checkLabels wants the recommended labels on every object and every pod, with values that mean what they say.
func checkLabels(objects []object, r rendering) []string {
	var problems []string
	check := func(what string, labels map[string]string, needed ...string) {
		for _, name := range append(needed, "name", "instance", "version", "component", "part-of", "managed-by") {
			full := label + name
			if name == "helm.sh/chart" {
				full = name
			}
			if labels[full] == "" {
				problems = append(problems, fmt.Sprintf("%s: no label %s", what, full))
			}
		}
		for name, wanted := range map[string][]string{
			"name":       {"triptych", "triptych-credentials", "triptych-migrate", "triptych-gc", "triptych-smoke"},
			"component":  {"app", "web", "postgresql", "minio"},
			"instance":   {r.name()},
			"part-of":    {"triptych"},
			"managed-by": {"Helm"},
		} {
			if value := labels[label+name]; value != "" && !slices.Contains(wanted, value) {
				problems = append(problems, fmt.Sprintf("%s: label %s%s is %q, not one of %q", what, label, name, value, wanted))
			}
		}
		for name, value := range labels {
			for _, err := range append(validation.IsQualifiedName(name), validation.IsValidLabelValue(value)...) {
				problems = append(problems, fmt.Sprintf("%s: label %s=%q: %s", what, name, value, err))
			}
		}
	}
	for _, o := range objects {
		if !o.ofOperator() {
			check(o.String(), o.meta.Labels, "helm.sh/chart")
		}
	}
	for _, w := range workloads(objects) {
		if w.ofOperator() {
			continue
		}
		// Not the chart's version: pods would be replaced for it alone.
		check("pod of "+w.String(), w.pod.Labels)
		// What works on the data once, and is no server, must look like none.
		if server := w.pod.Labels[label+"name"] == "triptych"; server == w.oneShot() {
			problems = append(problems, fmt.Sprintf("pod of %s: label %sname is %q", w, label, w.pod.Labels[label+"name"]))
		}
	}
	return problems
}

// checkNames finds names that the cluster would refuse, or from which it could not make the names of pods. The name of
// a release may have 53 characters.
func checkNames(objects []object) []string {
	longest := map[string]int{
		// The cluster adds a number to a CronJob's name, and a hash to a StatefulSet's, and makes a label of it.
		"CronJob": 52, "StatefulSet": 52,
		// Pods of Deployments get two suffixes; a Pod's name is its host name.
		"Deployment": 47, "Job": 63, "Pod": 63, "Service": 63,
	}
	var problems []string
	seen := map[string]bool{}
	for _, o := range objects {
		report := func(format string, arguments ...any) {
			problems = append(problems, fmt.Sprintf("%s: %s", o, fmt.Sprintf(format, arguments...)))
		}
		if key := o.GroupKind().String() + "/" + o.meta.Namespace + "/" + o.meta.Name; seen[key] {
			report("is there twice")
		} else {
			seen[key] = true
		}
		valid := validation.IsDNS1123Subdomain
		if o.Kind == "Service" {
			valid = validation.IsDNS1035Label
		}
		for _, err := range valid(o.meta.Name) {
			report("%s", err)
		}
		if limit, limited := longest[o.Kind]; limited && len(o.meta.Name) > limit {
			report("has a name of %d characters, and %d are possible", len(o.meta.Name), limit)
		}
		if strings.HasSuffix(o.meta.Name, "-") {
			report("ends in a dash")
		}
	}
	return problems
}
