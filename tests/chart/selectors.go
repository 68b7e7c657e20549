package chart

import (
	"fmt"
	"slices"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// selected gives the workloads whose pods a selector selects.
func selected(objects []object, selector *metav1.LabelSelector) []workload {
	var found []workload
	for _, w := range workloads(objects) {
		if matches(selector, w.pod.Labels) {
			found = append(found, w)
		}
	}
	return found
}

func names(found []workload) []string {
	var result []string
	for _, w := range found {
		result = append(result, w.String())
	}
	slices.Sort(result)
	return result
}

// selection is a selector of an object, and the workloads that it is meant for.
type selection struct {
	of       string
	selector *metav1.LabelSelector
	// In alphabetical order. Nil: whichever, but some.
	wanted []string
}

// selections collects every selector over pods, with what it has to select: exactly one server's pods, never those of
// a Job beside it.
func selections(objects []object, r rendering) []selection {
	full := r.fullname()
	server := map[string]string{
		"app": "Deployment/" + full + "-app", "web": "Deployment/" + full + "-web",
		"postgresql": "StatefulSet/" + full + "-postgresql", "minio": "StatefulSet/" + full + "-minio",
	}
	// By the name of the object that selects: `board-triptych-app-pods` is for the pods of the app.
	wanted := func(name string) []string {
		component := strings.TrimSuffix(strings.TrimPrefix(name, full+"-"), "-pods")
		if workload, found := server[component]; found {
			return []string{workload}
		}
		return []string{"whatever " + name + " is for"}
	}
	var found []selection
	for _, o := range objects {
		if o.ofOperator() {
			continue
		}
		switch typed := o.typed.(type) {
		case *corev1.Service:
			found = append(found, selection{o.String(), &metav1.LabelSelector{MatchLabels: typed.Spec.Selector}, wanted(o.meta.Name)})
		case *appsv1.Deployment:
			found = append(found, selection{o.String(), typed.Spec.Selector, []string{o.String()}})
		case *appsv1.StatefulSet:
			found = append(found, selection{o.String(), typed.Spec.Selector, []string{o.String()}})
		case *policyv1.PodDisruptionBudget:
			found = append(found, selection{o.String(), typed.Spec.Selector, wanted(o.meta.Name)})
		case *networkingv1.NetworkPolicy:
			policy := selection{of: o.String(), selector: &typed.Spec.PodSelector}
			if o.meta.Name == full+"-default-deny" {
				policy.wanted = names(workloads(objects))
			}
			found = append(found, policy)
		}
	}
	for _, w := range workloads(objects) {
		for _, constraint := range w.pod.Spec.TopologySpreadConstraints {
			found = append(found, selection{w.String() + " topologySpreadConstraints", constraint.LabelSelector, []string{w.String()}})
		}
		for _, term := range zoneTerms(w.pod.Spec) {
			found = append(found, selection{w.String() + " podAntiAffinity", term.LabelSelector, []string{w.String()}})
		}
	}
	return found
}

// checkSelectors follows every selector over pods. `others` are objects of another release in the same namespace: none
// of their pods may be selected.
func checkSelectors(objects, others []object, r rendering) []string {
	var problems []string
	for _, s := range selections(objects, r) {
		found := names(selected(objects, s.selector))
		switch {
		case len(found) == 0:
			problems = append(problems, fmt.Sprintf("%s selects nothing", s.of))
		case s.wanted != nil && !slices.Equal(found, s.wanted):
			problems = append(problems, fmt.Sprintf("%s selects %q, not %q", s.of, found, s.wanted))
		}
		if foreign := names(selected(others, s.selector)); len(foreign) > 0 {
			problems = append(problems, fmt.Sprintf("%s selects %q of another release", s.of, foreign))
		}
	}
	return problems
}

// checkTargets follows what leads to a Service, and from a Service to a port of its pods.
func checkTargets(objects []object) []string {
	var problems []string
	services := map[string]*corev1.Service{}
	for _, service := range all[*corev1.Service](objects) {
		services[service.Name] = service
		for _, port := range service.Spec.Ports {
			for _, w := range selected(objects, &metav1.LabelSelector{MatchLabels: service.Spec.Selector}) {
				if _, found := containerPort(w.pod.Spec, port.TargetPort, port.Protocol); !found {
					problems = append(problems, fmt.Sprintf("Service/%s: %s has no port %s", service.Name, w, port.TargetPort.String()))
				}
			}
		}
	}
	backend := func(of, name string, fits func(corev1.ServicePort) bool) {
		service := services[name]
		if service == nil {
			problems = append(problems, fmt.Sprintf("%s leads to Service/%s, which is not rendered", of, name))
		} else if !slices.ContainsFunc(service.Spec.Ports, fits) {
			problems = append(problems, fmt.Sprintf("%s leads to a port that Service/%s does not have", of, name))
		}
	}
	for _, o := range objects {
		switch typed := o.typed.(type) {
		case *networkingv1.Ingress:
			for _, rule := range typed.Spec.Rules {
				for _, path := range rule.HTTP.Paths {
					backend(o.String(), path.Backend.Service.Name, func(port corev1.ServicePort) bool {
						wanted := path.Backend.Service.Port
						return wanted.Name != "" && port.Name == wanted.Name || wanted.Name == "" && port.Port == wanted.Number
					})
				}
			}
		case *gatewayv1.HTTPRoute:
			for _, rule := range typed.Spec.Rules {
				for _, reference := range rule.BackendRefs {
					backend(o.String(), string(reference.Name), func(port corev1.ServicePort) bool {
						return reference.Port != nil && port.Port == int32(*reference.Port)
					})
				}
			}
		case *appsv1.StatefulSet:
			backend(o.String(), typed.Spec.ServiceName, func(corev1.ServicePort) bool { return true })
		case *autoscalingv2.HorizontalPodAutoscaler:
			target := typed.Spec.ScaleTargetRef
			if !slices.ContainsFunc(objects, func(o object) bool {
				return o.Kind == target.Kind && o.meta.Name == target.Name && o.GroupVersion().String() == target.APIVersion
			}) {
				problems = append(problems, fmt.Sprintf("%s scales %s/%s, which is not rendered", o, target.Kind, target.Name))
			}
		case *monitoringv1.ServiceMonitor:
			// A Service with the label and without the port is passed over; each port has to lead to one Service.
			for _, endpoint := range typed.Spec.Endpoints {
				var found []string
				for _, service := range services {
					if matches(&typed.Spec.Selector, service.Labels) && slices.ContainsFunc(service.Spec.Ports, func(port corev1.ServicePort) bool { return port.Name == endpoint.Port }) {
						found = append(found, service.Name)
					}
				}
				if len(found) != 1 {
					problems = append(problems, fmt.Sprintf("%s: port %s is found in %q, and has to be found once", o, endpoint.Port, found))
				}
			}
		}
	}
	return problems
}

// containerPort finds the port of a pod that a name or a number means.
func containerPort(pod corev1.PodSpec, wanted intstr.IntOrString, protocol corev1.Protocol) (int32, bool) {
	for _, container := range slices.Concat(sidecars(pod), pod.Containers) {
		for _, port := range container.Ports {
			if either(port.Protocol) != either(protocol) {
				continue
			}
			if wanted.Type == intstr.String && port.Name == wanted.StrVal || wanted.Type == intstr.Int && port.ContainerPort == wanted.IntVal {
				return port.ContainerPort, true
			}
		}
	}
	return 0, false
}

// sidecars are init containers that live as long as the pod.
func sidecars(pod corev1.PodSpec) []corev1.Container {
	var found []corev1.Container
	for _, container := range pod.InitContainers {
		if policy := container.RestartPolicy; policy != nil && *policy == corev1.ContainerRestartPolicyAlways {
			found = append(found, container)
		}
	}
	return found
}

// either gives the protocol that is meant by none.
func either(protocol corev1.Protocol) corev1.Protocol {
	if protocol == "" {
		return corev1.ProtocolTCP
	}
	return protocol
}
