package chart

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// layOut writes the files of the web pods as their volume lays them out, below a folder.
func layOut(t *testing.T, objects []object, full, folder string) {
	t.Helper()
	deployment, err := find[*appsv1.Deployment](objects, "Deployment", full+"-web")
	if err != nil {
		t.Fatal(err)
	}
	configuration, err := find[*corev1.ConfigMap](objects, "ConfigMap", full+"-web")
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	for _, volume := range deployment.Spec.Template.Spec.Volumes {
		if volume.ConfigMap == nil || volume.ConfigMap.Name != configuration.Name {
			continue
		}
		for _, item := range volume.ConfigMap.Items {
			path := filepath.Join(folder, item.Path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(configuration.Data[item.Key]), 0o644); err != nil {
				t.Fatal(err)
			}
			written++
		}
	}
	if written != len(configuration.Data) {
		t.Errorf("%d of the %d files of the ConfigMap are mounted", written, len(configuration.Data))
	}
}

// nginxVersion gives that of the nginx here.
func nginxVersion(t *testing.T) []int {
	t.Helper()
	path, err := program("nginx")
	if err != nil {
		t.Fatal(err)
	}
	output, err := run("sh", "-c", `"$1" -v 2>&1`, "sh", path)
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`nginx/(\d+)\.(\d+)\.(\d+)`).FindStringSubmatch(string(output))
	if match == nil {
		t.Fatalf("nginx says about itself: %s", output)
	}
	var version []int
	for _, part := range match[1:] {
		number, _ := strconv.Atoi(part)
		version = append(version, number)
	}
	return version
}

// The configuration that is rendered is the one that nginx is asked about. Only what is not outside of a cluster is
// replaced: the folders of the image, and the Service.
func TestNginxTakesTheConfiguration(t *testing.T) {
	for _, name := range []string{"default", "kind", "bundled", "everything", "long name"} {
		t.Run(name, func(t *testing.T) {
			objects, r := rendered(t, name)
			folder := t.TempDir()
			layOut(t, objects, r.fullname(), folder)
			path := filepath.Join(folder, "nginx.conf")
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text := string(content)
			if left := regexp.MustCompile(`\$\{[A-Z_]+\}`).FindAllString(regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAllString(text, ""), -1); left != nil {
				t.Errorf("not filled in: %v", left)
			}
			state := t.TempDir()
			for from, to := range map[string]string{
				"/etc/triptych": folder, "/var/cache/triptych": state, "/usr/share/nginx/html": state, "server " + r.fullname() + "-app:": "server 127.0.0.1:",
			} {
				if !strings.Contains(text, from) {
					t.Errorf("no %q in it", from)
				}
				text = strings.ReplaceAll(text, from, to)
			}
			if strings.Contains(text, "[::]") {
				if listener, err := net.Listen("tcp6", "[::1]:0"); err == nil {
					_ = listener.Close()
				} else {
					t.Log("this machine has no IPv6: nginx is asked with an address of IPv4 in its place")
					text = strings.ReplaceAll(text, "[::]:8080 ipv6only=off", "0.0.0.0:8080")
				}
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}

			// It looks for these only when it has to say something.
			for _, document := range []string{"page.html", "problem.json"} {
				if _, err := os.Stat(filepath.Join(folder, "errors", "nginx-error", document)); err != nil {
					t.Error(err)
				}
			}

			newer := filepath.Join(folder, "extra", "newer.conf")
			directives, err := os.ReadFile(newer)
			if err != nil {
				t.Fatal(err)
			}
			lines := filepath.Join(folder, "extra", "traffic.conf")
			traffic, err := os.ReadFile(lines)
			if err != nil {
				t.Fatal(err)
			}
			here := strings.Replace(string(traffic), "/var/lib/triptych/traffic", state, 1)
			if here == string(traffic) {
				t.Errorf("no lines for the meter:\n%s", traffic)
			}
			if err := os.WriteFile(lines, []byte(here), 0o644); err != nil {
				t.Fatal(err)
			}
			if v := nginxVersion(t); v[0] < 1 || v[0] == 1 && (v[1] < 27 || v[1] == 27 && v[2] < 4) {
				// Debian's is older. What it does not know is asked about where there is a newer one, and on a cluster.
				t.Logf("nginx %d.%d.%d here is older than 1.27.4: newer.conf is looked at without it", v[0], v[1], v[2])
				if !regexp.MustCompile(`^(\s*#.*\n|\s*keepalive_min_timeout \d+s;\n)*$`).Match(directives) {
					t.Errorf("only keepalive_min_timeout is known to need a newer nginx, and there is:\n%s", directives)
				}
				if err := os.Remove(newer); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := run("nginx", "-t", "-q", "-e", "stderr", "-p", state, "-c", path); err != nil {
				t.Error(err)
			}
		})
	}
}

// A deleted picture is gone from nginx within a minute: this is what an answer that was on its way in the moment of the
// deletion may take, and how long it is kept then.
func TestDeletedPicturesAreGoneWithinAMinute(t *testing.T) {
	objects, r := rendered(t, "default")
	configuration, err := find[*corev1.ConfigMap](objects, "ConfigMap", r.fullname()+"-web")
	if err != nil {
		t.Fatal(err)
	}
	_, pictures, found := strings.Cut(configuration.Data["nginx.conf"], "proxy_cache pictures;")
	if !found {
		t.Fatal("web keeps no pictures")
	}
	total := 0
	for _, directive := range []string{"proxy_cache_valid 200", "proxy_read_timeout"} {
		match := regexp.MustCompile(directive + ` (\d+)s;`).FindStringSubmatch(pictures)
		if match == nil {
			t.Fatalf("no %s for pictures", directive)
		}
		seconds, _ := strconv.Atoi(match[1])
		total += seconds
	}
	if total >= 60 {
		t.Errorf("it may be shown for %d seconds", total)
	}
}

// Whatever an event stream passes on its way waits for longer than a replica is silent, and has room for it.
func TestEventStreamsLast(t *testing.T) {
	// A replica says something this often.
	const heartbeat = 20
	seconds := func(t *testing.T, who, text string) {
		t.Helper()
		number, err := strconv.Atoi(strings.TrimSuffix(text, "s"))
		if err != nil || number <= 2*heartbeat {
			t.Errorf("%s waits for %q, and one heartbeat may be lost", who, text)
		}
	}
	for _, c := range []struct{ name, annotation string }{
		{"default", "nginx.org/proxy-read-timeout"},
		{"f5", "nginx.org/proxy-read-timeout"},
		{"ingress-nginx", "nginx.ingress.kubernetes.io/proxy-read-timeout"},
	} {
		objects, r := rendered(t, c.name)
		ingress, err := find[*networkingv1.Ingress](objects, "Ingress", r.fullname())
		if err != nil {
			t.Fatal(err)
		}
		seconds(t, c.name, ingress.Annotations[c.annotation])
	}

	objects, r := rendered(t, "default")
	configuration, err := find[*corev1.ConfigMap](objects, "ConfigMap", r.fullname()+"-web")
	if err != nil {
		t.Fatal(err)
	}
	text := configuration.Data["nginx.conf"]
	match := regexp.MustCompile(`(?s)location ~ (\S*events\S*) \{(.*?)\n\s*\}`).FindStringSubmatch(text)
	if match == nil {
		t.Fatal("web has no location for event streams")
	}
	location, err := regexp.Compile(match[1])
	if err != nil {
		t.Fatal(err)
	}
	for path, wanted := range map[string]bool{
		"/b/events": true, "/b/res/17/events": true, "/a1/res/2147483647/events": true,
		"/events": false, "/b/res/events": false, "/b/res/17.html": false, "/b/events/": false, "/b/src/events.jpg": false, "/b/res/x/events": false,
	} {
		if location.MatchString(path) != wanted {
			t.Errorf("%s: %s is taken for an event stream: %t", match[1], path, !wanted)
		}
	}
	for _, directive := range []string{"proxy_buffering off;", "proxy_pass_header X-Accel-Buffering;", "proxy_next_upstream error timeout http_503;"} {
		if !strings.Contains(match[2], directive) {
			t.Errorf("no %q for event streams", directive)
		}
	}
	// One header that is set here would take the place of all that are set for everything.
	if strings.Contains(match[2], "proxy_set_header") {
		t.Error("event streams have headers of their own")
	}
	timeout := regexp.MustCompile(`proxy_read_timeout (\S+);`).FindStringSubmatch(match[2])
	if timeout == nil {
		t.Fatal("no proxy_read_timeout for event streams")
	}
	seconds(t, "web", timeout[1])

	number := func(directive string) int {
		match := regexp.MustCompile(`(?m)^\s*` + directive + ` (\d+)s?;`).FindStringSubmatch(text)
		if match == nil {
			t.Fatalf("no %s", directive)
		}
		number, _ := strconv.Atoi(match[1])
		return number
	}
	// Two for each of as many as a replica holds, and some for everybody else.
	if connections, files := number("worker_connections"), number("worker_rlimit_nofile"); connections < 2*10000+4096 || files < connections {
		t.Errorf("%d connections, %d files", connections, files)
	}
	// A pod of web ends in good order before it is killed.
	deployment, err := find[*appsv1.Deployment](objects, "Deployment", r.fullname()+"-web")
	if err != nil {
		t.Fatal(err)
	}
	pod := deployment.Spec.Template.Spec
	sleep := pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds
	if end := sleep + int64(number("worker_shutdown_timeout")); end >= *pod.TerminationGracePeriodSeconds {
		t.Errorf("streams are open for %d seconds, and the pod is killed after %d", end, *pod.TerminationGracePeriodSeconds)
	}
}

// Gateways that limit the time of an answer do so for everything but event streams.
func TestTheRouteOfEventStreams(t *testing.T) {
	objects, r := rendered(t, "httproute")
	route, err := find[*gatewayv1.HTTPRoute](objects, "HTTPRoute", r.fullname())
	if err != nil {
		t.Fatal(err)
	}
	unlimited := 0
	for _, rule := range route.Spec.Rules {
		streams := false
		for _, match := range rule.Matches {
			for _, header := range match.Headers {
				streams = streams || header.Name == "Accept" && header.Value == "text/event-stream"
			}
		}
		if limited := rule.Timeouts == nil || rule.Timeouts.Request == nil || *rule.Timeouts.Request != "0s"; limited == streams {
			t.Errorf("%v is limited: %t", rule.Matches, limited)
		}
		if streams {
			unlimited++
			if len(rule.BackendRefs) != 1 || string(rule.BackendRefs[0].Name) != r.fullname()+"-web" {
				t.Errorf("streams go to %v", rule.BackendRefs)
			}
		}
	}
	if unlimited != 1 {
		t.Errorf("%d rules for event streams", unlimited)
	}
}

// An upload that is too large has to be refused by the application, with its own page: whatever is in front of it lets
// a little more through.
func TestLimitsOfBodiesGrow(t *testing.T) {
	for _, c := range []struct{ name, annotation string }{
		{"default", "nginx.org/client-max-body-size"},
		{"f5", "nginx.org/client-max-body-size"},
		{"everything", "nginx.org/client-max-body-size"},
		{"ingress-nginx", "nginx.ingress.kubernetes.io/proxy-body-size"},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects, r := rendered(t, c.name)
			ingress, err := find[*networkingv1.Ingress](objects, "Ingress", r.fullname())
			if err != nil {
				t.Fatal(err)
			}
			configuration, err := find[*corev1.ConfigMap](objects, "ConfigMap", r.fullname()+"-web")
			if err != nil {
				t.Fatal(err)
			}
			deployment, err := find[*appsv1.Deployment](objects, "Deployment", r.fullname()+"-app")
			if err != nil {
				t.Fatal(err)
			}
			variables := map[string]string{}
			for _, variable := range deployment.Spec.Template.Spec.Containers[0].Env {
				variables[variable.Name] = variable.Value
			}
			files, _ := strconv.Atoi(variables["TRIPTYCH_MAX_FILES"])
			// Two MiB are for everything on a post that is no picture; the chart has the same number.
			post := files*bytesOf(t, variables["TRIPTYCH_MAX_FILE_SIZE"]) + 2<<20
			match := regexp.MustCompile(`client_max_body_size (\S+);`).FindStringSubmatch(configuration.Data["nginx.conf"])
			if match == nil {
				t.Fatal("web has no limit")
			}
			for who, limit := range map[string]string{"web": match[1], "Ingress": ingress.Annotations[c.annotation]} {
				if limit == "" {
					t.Errorf("%s has no limit", who)
				} else if size := bytesOf(t, limit); size <= post || size > post+16<<20 {
					t.Errorf("%s lets %d bytes through, and a post has up to %d", who, size, post)
				}
			}
		})
	}
}

// bytesOf reads a size as nginx (8m, 8192) and the application (8MiB) write it.
func bytesOf(t *testing.T, size string) int {
	t.Helper()
	var number int
	var unit string
	if _, err := fmt.Sscanf(size, "%d%s", &number, &unit); err != nil && unit != "" || number == 0 {
		t.Fatalf("%q is no size", size)
	}
	shift, found := map[string]int{"": 0, "k": 10, "m": 20, "g": 30, "KiB": 10, "MiB": 20, "GiB": 30}[unit]
	if !found {
		t.Fatalf("%q is no size", size)
	}
	return number << shift
}

// nginx keeps as much as it is told, and for so long: with uploads on their way less than its volume holds, and no more than the
// pod asks the node for, which evicts those first that take more than they asked for.
func TestCacheFitsTheDisk(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			objects := render(t, c.rendering)
			configuration, err := find[*corev1.ConfigMap](objects, "ConfigMap", c.fullname()+"-web")
			if err != nil {
				t.Fatal(err)
			}
			match := regexp.MustCompile(`(?s)proxy_cache_path [^;]* max_size=(\d+)m inactive=(\d+[smhd]) `).FindStringSubmatch(configuration.Data["nginx.conf"])
			if match == nil {
				t.Fatal("the cache has no size, or no age")
			}
			if wanted := map[string]string{"kind": "6h", "everything": "30d"}[c.name]; wanted != "" && match[2] != wanted {
				t.Errorf("pictures that nobody asks for are kept for %s, not %s", match[2], wanted)
			}
			size := resource.MustParse(match[1] + "Mi")
			bodies := regexp.MustCompile(`(?s)client_max_body_size (\d+);.*limit_conn bodies (\d+);`).FindStringSubmatch(configuration.Data["nginx.conf"])
			if bodies == nil {
				t.Fatal("uploads have no limit")
			}
			each, _ := strconv.ParseInt(bodies[1], 10, 64)
			most, _ := strconv.ParseInt(bodies[2], 10, 64)
			all := resource.NewQuantity(size.Value()+each*most, resource.BinarySI)
			deployment, err := find[*appsv1.Deployment](objects, "Deployment", c.fullname()+"-web")
			if err != nil {
				t.Fatal(err)
			}
			pod := deployment.Spec.Template.Spec
			if request := pod.Containers[0].Resources.Requests[corev1.ResourceEphemeralStorage]; request.Cmp(size) < 0 {
				t.Errorf("the cache may take %s, and the pod asks for %s", &size, &request)
			}
			for _, volume := range pod.Volumes {
				if volume.Name == "state" && volume.EmptyDir.SizeLimit.Cmp(*all) <= 0 {
					t.Errorf("the cache and uploads may take %s of a volume of %s", all, volume.EmptyDir.SizeLimit)
				}
			}
		})
	}
}
