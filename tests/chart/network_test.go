package chart

import (
	"slices"
	"testing"
)

// to gives the flows from each of some to one port.
func to(target string, port int32, from ...string) []flow {
	var flows []flow
	for _, who := range from {
		flows = append(flows, tcp(who, target, port))
	}
	return flows
}

// lookUps are those of names, by whoever talks to something by its name.
func lookUps(server string, port int32, from ...string) []flow {
	var flows []flow
	for _, who := range from {
		flows = append(flows, udp(who, server, port), tcp(who, server, port))
	}
	return flows
}

// pages are asked for at both servers.
func pages(from ...string) []flow {
	return slices.Concat(to("app", 8080, from...), to("web", 8080, from...))
}

// The parts of what a board needs.
var (
	// The address of the API is not known beforehand.
	credentials = slices.Concat(to(anywhere, 443, "credentials"), to(anywhere, 6443, "credentials"))
	smoke       = slices.Concat(pages("smoke"), lookUps("dns", 53, "smoke"))
	servers     = slices.Concat(to("app", 8080, "web"), lookUps("dns", 53, "app", "web"))
	// With Postgres and MinIO in the release no pod but the one above reaches anything outside of it.
	stores = slices.Concat(to("postgresql", 5432, "app", "gc"), to("minio", 9000, "app", "gc"), lookUps("dns", 53, "gc"))
	board  = slices.Concat(pages("controller"), servers, stores, smoke, credentials)
)

func TestFlows(t *testing.T) {
	// Everybody who reads or works on an external database or S3 server.
	workers := []string{"app", "gc", "migrate"}
	for _, c := range []struct {
		name  string
		flows []flow
	}{
		{"default", board},
		{"kind", board},
		{"f5", board},
		{"same name", board},
		// Its controller is in another namespace, where nobody is.
		{"ingress-nginx", slices.Concat(servers, stores, smoke, credentials)},
		// Whoever the controller is, it is in some namespace.
		{"none", slices.Concat(
			pages("controller", "prometheus", "dns", "metrics-server", "stranger", "neighbour", "database", "gateway", "reader", "openshift dns"),
			servers, stores, smoke, credentials,
		)},
		{"httproute", slices.Concat(pages("gateway"), servers, stores, smoke, credentials)},
		{"manifests", slices.Concat(pages("controller"), servers, stores, credentials)},
		{"bundled", slices.Concat(board, to("app", 9090, "prometheus"))},
		{"openshift", slices.Concat(
			pages("controller", "smoke"), to("app", 8080, "web"), to("postgresql", 5432, "app", "gc"), to("minio", 9000, "app", "gc"),
			lookUps("openshift dns", 5353, "app", "web", "gc", "smoke"), credentials,
		)},
		{"external", slices.Concat(
			pages("controller"), servers, smoke, lookUps("dns", 53, "gc", "migrate"),
			to("external database", 5433, workers...), to("s3", 8443, workers...),
		)},
		{"production", slices.Concat(
			pages("controller"), servers, smoke, credentials, lookUps("dns", 53, "gc", "migrate"),
			to("app", 9090, "prometheus"), to("database", 5432, workers...), to(anywhere, 443, workers...),
		)},
		{"everything", slices.Concat(
			// An ingress controller that is no pod of the cluster's network.
			pages("controller", "reader", "api server", "telemetry"), servers, smoke, lookUps("dns", 53, "gc", "migrate"),
			to("app", 9090, "prometheus"), to(anywhere, 5432, workers...), to(anywhere, 443, workers...), to("telemetry", 4317, workers...),
		)},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects, r := rendered(t, c.name)
			reportAll(t, checkFlows(objects, r, c.flows))
		})
	}
}

func TestDefaultDeny(t *testing.T) {
	for _, c := range cases {
		if c.name == "minimal" {
			continue
		}
		t.Run(c.name, func(t *testing.T) { reportAll(t, checkDefaultDeny(render(t, c.rendering), c.rendering)) })
	}
	t.Run("off", func(t *testing.T) {
		objects, _ := rendered(t, "minimal")
		for _, o := range objects {
			if o.Kind == "NetworkPolicy" {
				t.Errorf("%s is rendered, and policies are switched off", o)
			}
		}
	})
}
