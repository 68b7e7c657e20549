package chart

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// peer is somebody on the network: a pod, or an address outside of the cluster.
type peer struct {
	name string
	// Empty for who is no pod.
	namespace string
	labels    map[string]string
	pod       corev1.PodSpec
	address   netip.Addr
}

// network says what may reach what under the policies of one namespace.
//
// Whether an ipBlock also means the addresses of pods is left to the network by Kubernetes' own specification: some
// say yes, some no. So a flow has to be allowed without it, and refused with it.
type network struct {
	policies   []*networkingv1.NetworkPolicy
	blocksPods bool
}

// allows says whether a connection gets through: out of where it comes from, and into where it goes.
func (n network) allows(from, to peer, protocol corev1.Protocol, port int32) bool {
	out := n.passes(from, networkingv1.PolicyTypeEgress, func(policy *networkingv1.NetworkPolicy) bool {
		return slices.ContainsFunc(policy.Spec.Egress, func(rule networkingv1.NetworkPolicyEgressRule) bool {
			return n.peersMatch(rule.To, to) && portsMatch(rule.Ports, to, protocol, port)
		})
	})
	in := n.passes(to, networkingv1.PolicyTypeIngress, func(policy *networkingv1.NetworkPolicy) bool {
		return slices.ContainsFunc(policy.Spec.Ingress, func(rule networkingv1.NetworkPolicyIngressRule) bool {
			return n.peersMatch(rule.From, from) && portsMatch(rule.Ports, to, protocol, port)
		})
	})
	return out && in
}

// passes applies the policies that select a pod: with none everything passes, with some only what one of them allows.
func (n network) passes(of peer, direction networkingv1.PolicyType, allowed func(*networkingv1.NetworkPolicy) bool) bool {
	restricted := false
	for _, policy := range n.policies {
		if of.namespace != namespace || !matches(&policy.Spec.PodSelector, of.labels) || !slices.Contains(directions(policy), direction) {
			continue
		}
		restricted = true
		if allowed(policy) {
			return true
		}
	}
	return !restricted
}

// directions gives those that a policy is about: Ingress always and Egress when it has such rules, unless it says.
func directions(policy *networkingv1.NetworkPolicy) []networkingv1.PolicyType {
	if len(policy.Spec.PolicyTypes) > 0 {
		return policy.Spec.PolicyTypes
	}
	if len(policy.Spec.Egress) > 0 {
		return []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	}
	return []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
}

// peersMatch: no peers are all of them.
func (n network) peersMatch(peers []networkingv1.NetworkPolicyPeer, who peer) bool {
	return len(peers) == 0 || slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool { return n.peerMatches(p, who) })
}

func (n network) peerMatches(p networkingv1.NetworkPolicyPeer, who peer) bool {
	if block := p.IPBlock; block != nil {
		if who.namespace != "" && !n.blocksPods {
			return false
		}
		return contains(block.CIDR, who.address) && !slices.ContainsFunc(block.Except, func(cidr string) bool { return contains(cidr, who.address) })
	}
	if who.namespace == "" {
		return false
	}
	if p.NamespaceSelector != nil {
		if !matches(p.NamespaceSelector, map[string]string{"kubernetes.io/metadata.name": who.namespace}) {
			return false
		}
	} else if who.namespace != namespace {
		return false
	}
	return p.PodSelector == nil || matches(p.PodSelector, who.labels)
}

func contains(cidr string, address netip.Addr) bool {
	prefix, err := netip.ParsePrefix(cidr)
	return err == nil && prefix.Contains(address)
}

// portsMatch: no ports are all of them; a name means the port that the pod at the other end has under it.
func portsMatch(ports []networkingv1.NetworkPolicyPort, to peer, protocol corev1.Protocol, port int32) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		wanted := corev1.ProtocolTCP
		if p.Protocol != nil {
			wanted = *p.Protocol
		}
		if wanted != protocol {
			return false
		}
		switch {
		case p.Port == nil:
			return true
		case p.Port.Type == intstr.String:
			number, found := containerPort(to.pod, *p.Port, protocol)
			return found && number == port
		case p.EndPort != nil:
			return p.Port.IntVal <= port && port <= *p.EndPort
		default:
			return p.Port.IntVal == port
		}
	})
}

// flow is a connection, as the tables of the tests write it.
type flow struct {
	from, to string
	port     int32
	protocol corev1.Protocol
}

func tcp(from, to string, port int32) flow { return flow{from, to, port, corev1.ProtocolTCP} }
func udp(from, to string, port int32) flow { return flow{from, to, port, corev1.ProtocolUDP} }

// anywhere is the other end of a rule that names none: every address, and every pod that lets it in.
const anywhere = "anywhere"

func (f flow) String() string {
	return fmt.Sprintf("%s to %s, port %d/%s", f.from, f.to, f.port, f.protocol)
}

// outside is everybody whom the chart does not make: those who ask, those who are asked, and those who have no business
// here.
func outside() []peer {
	return []peer{
		{name: "controller", namespace: "nginx-ingress", labels: map[string]string{"app.kubernetes.io/name": "nginx-ingress"}},
		{name: "prometheus", namespace: "monitoring", labels: map[string]string{"app.kubernetes.io/name": "prometheus"}},
		{name: "dns", namespace: "kube-system", labels: map[string]string{"k8s-app": "kube-dns"}},
		{name: "metrics-server", namespace: "kube-system", labels: map[string]string{"k8s-app": "metrics-server"}},
		{name: "stranger", namespace: "elsewhere", labels: map[string]string{"app.kubernetes.io/name": "triptych", "app.kubernetes.io/instance": release, "app.kubernetes.io/component": "app"}},
		{name: "neighbour", namespace: namespace, labels: map[string]string{"app.kubernetes.io/name": "neighbour"}},
		{name: "database", namespace: namespace, labels: map[string]string{"cnpg.io/cluster": "board-db"}},
		{name: "gateway", namespace: "gateways", labels: map[string]string{"app.kubernetes.io/name": "gateway"}},
		{name: "reader", namespace: namespace, labels: map[string]string{"example.org/reads": "board"}},
		{name: "openshift dns", namespace: "openshift-dns"},
		{name: "api server", address: netip.MustParseAddr("192.0.2.1")},
		{name: "telemetry", address: netip.MustParseAddr("192.0.2.2")},
		{name: "external database", address: netip.MustParseAddr("198.51.100.7")},
		{name: "s3", address: netip.MustParseAddr("203.0.113.7")},
		{name: "beside s3", address: netip.MustParseAddr("203.0.113.207")},
		{name: "internet", address: netip.MustParseAddr("192.88.99.1")},
	}
}

// asked are the ports at which everybody is knocked at.
var asked = []struct {
	port     int32
	protocol corev1.Protocol
}{
	{53, corev1.ProtocolUDP}, {53, corev1.ProtocolTCP}, {80, corev1.ProtocolTCP}, {443, corev1.ProtocolTCP},
	{4317, corev1.ProtocolTCP}, {4318, corev1.ProtocolTCP}, {5353, corev1.ProtocolUDP}, {5353, corev1.ProtocolTCP}, {5432, corev1.ProtocolTCP},
	{5433, corev1.ProtocolTCP}, {5434, corev1.ProtocolTCP}, {6443, corev1.ProtocolTCP}, {8080, corev1.ProtocolTCP}, {8443, corev1.ProtocolTCP},
	{9000, corev1.ProtocolTCP}, {9090, corev1.ProtocolTCP}, {9113, corev1.ProtocolTCP}, {16443, corev1.ProtocolTCP},
}

// everybody gives those outside and the pods of the chart, and the names of the latter.
func everybody(objects []object, r rendering) ([]peer, map[string]bool) {
	peers := outside()
	for index := range peers {
		if peers[index].namespace != "" {
			peers[index].address = netip.AddrFrom4([4]byte{10, 244, 1, byte(index + 1)})
		}
	}
	own := map[string]bool{}
	for index, w := range workloads(objects) {
		name := w.meta.Name[min(len(w.meta.Name), len(r.fullname())+1):]
		own[name] = true
		peers = append(peers, peer{name, namespace, w.pod.Labels, w.pod.Spec, netip.AddrFrom4([4]byte{10, 244, 2, byte(index + 1)})})
	}
	return peers, own
}

// checkHookFlows wants flows of hooks to be allowed by what is in force while these run: the policies of the release that
// is there, and those that the hooks bring before them.
func checkHookFlows(there, objects []object, r rendering, when string, wanted []flow) []string {
	var policies []*networkingv1.NetworkPolicy
	for _, o := range there {
		if policy, isPolicy := o.typed.(*networkingv1.NetworkPolicy); isPolicy && len(hooks(o)) == 0 {
			policies = append(policies, policy)
		}
	}
	for _, o := range objects {
		if policy, isPolicy := o.typed.(*networkingv1.NetworkPolicy); isPolicy && slices.Contains(hooks(o), when) {
			policies = append(policies, policy)
		}
	}
	peers, own := everybody(objects, r)
	tried := map[flow]bool{}
	var problems []string
	for _, f := range wanted {
		for _, from := range peers {
			for _, to := range peers {
				if from.name != f.from || to.name != f.to && (f.to != anywhere || own[to.name]) {
					continue
				}
				tried[f] = true
				if !(network{policies: policies}).allows(from, to, f.protocol, f.port) {
					problems = append(problems, fmt.Sprintf("%s is refused in a hook of %s (%s)", f, when, to.name))
				}
			}
		}
		if !tried[f] {
			problems = append(problems, fmt.Sprintf("%s: nobody is called that", f))
		}
	}
	return problems
}

// checkFlows tries everybody against everybody at every port that anything listens at, and wants exactly the flows of
// the list that a pod of the chart takes part in.
func checkFlows(objects []object, r rendering, wanted []flow) []string {
	peers, own := everybody(objects, r)
	var problems []string
	missing := map[flow]bool{}
	for _, f := range wanted {
		missing[f] = true
	}
	policies := all[*networkingv1.NetworkPolicy](objects)
	for _, from := range peers {
		for _, to := range peers {
			if from.name == to.name || !own[from.name] && !own[to.name] {
				continue
			}
			for _, at := range asked {
				f := flow{from.name, to.name, at.port, at.protocol}
				delete(missing, f)
				expected := slices.Contains(wanted, f)
				if free := (flow{from.name, anywhere, at.port, at.protocol}); !own[to.name] {
					delete(missing, free)
					expected = expected || slices.Contains(wanted, free)
				}
				for _, blocksPods := range []bool{false, true} {
					if (network{policies, blocksPods}).allows(from, to, at.protocol, at.port) != expected {
						what := "is refused"
						if !expected {
							what = "is allowed"
						}
						problems = append(problems, fmt.Sprintf("%s %s (ipBlocks mean pods too: %t)", f, what, blocksPods))
					}
				}
			}
		}
	}
	for f := range missing {
		problems = append(problems, fmt.Sprintf("%s: nobody is called that, or nobody asks at that port", f))
	}
	return problems
}

// checkPolicyPorts wants numbers: not every network looks up the name of a port, and some take a rule with one for none.
func checkPolicyPorts(objects []object) []string {
	var problems []string
	for _, policy := range all[*networkingv1.NetworkPolicy](objects) {
		var ports []networkingv1.NetworkPolicyPort
		for _, rule := range policy.Spec.Ingress {
			ports = append(ports, rule.Ports...)
		}
		for _, rule := range policy.Spec.Egress {
			ports = append(ports, rule.Ports...)
		}
		for _, port := range ports {
			if port.Port == nil || port.Port.Type != intstr.Int {
				problems = append(problems, fmt.Sprintf("NetworkPolicy/%s: port %v is no number", policy.Name, port.Port))
			}
		}
	}
	return problems
}

// checkDefaultDeny wants one policy that refuses everything to and from all pods of the release, so that a pod that no
// other policy knows is shut off, not open.
func checkDefaultDeny(objects []object, r rendering) []string {
	policy, err := find[*networkingv1.NetworkPolicy](objects, "NetworkPolicy", r.fullname()+"-default-deny")
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	if len(policy.Spec.Ingress) > 0 || len(policy.Spec.Egress) > 0 {
		problems = append(problems, "the default lets something through")
	}
	for _, direction := range []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress} {
		if !slices.Contains(policy.Spec.PolicyTypes, direction) {
			problems = append(problems, fmt.Sprintf("the default says nothing about %s", direction))
		}
	}
	for _, w := range workloads(objects) {
		if !matches(&policy.Spec.PodSelector, w.pod.Labels) {
			problems = append(problems, fmt.Sprintf("the default is not for the pods of %s", w))
		}
	}
	for _, p := range outside() {
		if p.namespace == namespace && matches(&policy.Spec.PodSelector, p.labels) {
			problems = append(problems, fmt.Sprintf("the default shuts off %s, which is not ours", p.name))
		}
	}
	return problems
}
