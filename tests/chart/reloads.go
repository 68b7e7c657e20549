package chart

import (
	"fmt"
	"regexp"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// controllerValues are those of the Ingress controller that `make kind` installs and the README refers to.
const controllerValues = root + "/k8s/ingress-controller-values.yaml"

var keepAlive = regexp.MustCompile(`(?m)^\s*keepalive_min_timeout (\d+)s;`)

// checkReloads wants pods to serve for longer after they have left their Service than an nginx in front lives on after a
// reload: it still sends them requests.
func checkReloads(objects []object, r rendering, controller []byte) []string {
	var values struct {
		Controller struct {
			Config struct{ Entries map[string]string }
		}
	}
	if err := yaml.Unmarshal(controller, &values); err != nil {
		return []string{err.Error()}
	}
	web, err := find[*corev1.ConfigMap](objects, "ConfigMap", r.fullname()+"-web")
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	for who, configuration := range map[string]string{
		"web":                    web.Data["newer.conf"],
		"the Ingress controller": values.Controller.Config.Entries["http-snippets"],
	} {
		match := keepAlive.FindStringSubmatch(configuration)
		if match == nil {
			problems = append(problems, fmt.Sprintf("%s has no keepalive_min_timeout", who))
			continue
		}
		timeout, _ := strconv.ParseInt(match[1], 10, 64)
		for _, component := range []string{"app", "web"} {
			deployment, err := find[*appsv1.Deployment](objects, "Deployment", r.fullname()+"-"+component)
			if err != nil {
				problems = append(problems, err.Error())
				continue
			}
			var sleep int64
			for _, container := range deployment.Spec.Template.Spec.Containers {
				if hook := container.Lifecycle; container.Name == component && hook != nil && hook.PreStop != nil && hook.PreStop.Sleep != nil {
					sleep = hook.PreStop.Sleep.Seconds
				}
			}
			if sleep <= timeout {
				problems = append(problems, fmt.Sprintf("%s: %d s of preStop sleep, and %s lives on for %d s after a reload", component, sleep, who, timeout))
			}
		}
	}
	return problems
}
