package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"
)

func TestSchemaAndValuesAgree(t *testing.T) {
	schema, err := os.ReadFile(filepath.Join(chartPath, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(chartPath, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		t.Fatal(err)
	}
	reportAll(t, checkSchema(schema, values))
}

// refusal gives what helm says about values that it must not render.
func refusal(t *testing.T, r rendering) string {
	t.Helper()
	if _, err := program("helm"); err != nil {
		t.Fatal(err)
	}
	manifests, err := r.template()
	if err == nil {
		t.Fatalf("rendered all the same, %d bytes", len(manifests))
	}
	return err.Error()
}

// wants looks for each part in a message.
func wants(t *testing.T, message string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(message, part) {
			t.Errorf("the message has no %q:\n%s", part, message)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	for _, c := range []struct{ value, message string }{
		// Typing errors.
		{`replicaCount=3`, `at '': additional properties 'replicaCount' not allowed`},
		{`aplication={}`, `at '': additional properties 'aplication' not allowed`},
		{`app.replcas=3`, `at '/app': additional properties 'replcas' not allowed`},
		{`app.image.registry="example.org"`, `at '/app/image': additional properties 'registry' not allowed`},
		{`app.autoscaling.maxReplica=3`, `at '/app/autoscaling': additional properties 'maxReplica' not allowed`},
		{`web.extraEnv=[]`, `at '/web': additional properties 'extraEnv' not allowed`},
		{`ingress.hosts=["a.example.org"]`, `at '/ingress': additional properties 'hosts' not allowed`},
		{`ingress.tls.secret="x"`, `at '/ingress/tls': additional properties 'secret' not allowed`},
		{`postgresql.persistence.class="x"`, `at '/postgresql/persistence': additional properties 'class' not allowed`},
		{`metrics.serviceMonitor.enable=true`, `at '/metrics/serviceMonitor': additional properties 'enable' not allowed`},
		{`networkPolicy.from=[{"podSelectors":{}}]`, `at '/networkPolicy/from/0': additional properties 'podSelectors' not allowed`},
		{`boards=[{"slug":"b","title":"Random","lock":true}]`, `at '/boards/0': additional properties 'lock' not allowed`},
		// Wrong types.
		{`app.replicas="three"`, `at '/app/replicas': got string, want null or integer`},
		{`app.replicas=1.5`, `at '/app/replicas': got number, want null or integer`},
		{`ingress.enabled="yes"`, `at '/ingress/enabled': got string, want boolean`},
		{`postgresql=false`, `at '/postgresql': got boolean, want object`},
		{`trustedProxies="10.0.0.0/8"`, `at '/trustedProxies': got string, want array`},
		{`app.image.tag=1.0`, `at '/app/image/tag': got number, want string`},
		{`app.podAnnotations={"example.org/port":8080}`, `at '/app/podAnnotations/example.org~1port': got number, want null or string`},
		{`app.extraEnv={"TRIPTYCH_LOG":"debug"}`, `at '/app/extraEnv': got object, want array`},
		{`app.extraEnv=[{"value":"debug"}]`, `at '/app/extraEnv/0': missing property 'name'`},
		{`boards=[{"slug":"b"}]`, `at '/boards/0': missing property 'title'`},
		{`image.pullSecrets=["registry"]`, `at '/image/pullSecrets/0': got string, want object`},
		// Nothing where something has to be: `ingress:` with all that was below it commented out.
		{`ingress=null`, `at '': missing property 'ingress'`},
		{`app.image=null`, `at '/app': missing property 'image'`},
		{`web.workerProcesses=null`, `at '/web': missing property 'workerProcesses'`},
		{`limits.fileSize=null`, `at '/limits': missing property 'fileSize'`},
		{`jobs=null`, `at '': missing property 'jobs'`},
		{`gc.schedule=null`, `at '/gc': missing property 'schedule'`},
		{`app.preStopSleepSeconds=null`, `at '/app': missing property 'preStopSleepSeconds'`},
		{`postgresql.persistence=null`, `at '/postgresql': missing property 'persistence'`},
		{`metrics.dashboard=null`, `at '/metrics': missing property 'dashboard'`},
		// Values that are none.
		{`ingress.controller="traefik"`, `at '/ingress/controller': value must be one of 'f5', 'ingress-nginx', 'none'`},
		{`image.pullPolicy="Sometimes"`, `at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'`},
		{`ipFamilyPolicy="DualStack"`, `at '/ipFamilyPolicy': value must be one of`},
		{`app.replicas=-1`, `at '/app/replicas': minimum: got -1, want 0`},
		{`limits.files=21`, `at '/limits/files': maximum: got 21, want 20`},
		{`limits.fileSize="8MB"`, `at '/limits/fileSize': '8MB' does not match pattern`},
		{`app.image.digest="sha256:12"`, `at '/app/image/digest': 'sha256:12' does not match pattern`},
		{`publicUrl="board.example.org"`, `at '/publicUrl': 'board.example.org' does not match pattern`},
		{`publicUrl="https://example.org/board"`, `at '/publicUrl': 'https://example.org/board' does not match pattern`},
		{`ingress.host="https://board.example.org"`, `at '/ingress/host': 'https://board.example.org' does not match pattern`},
		{`boards=[{"slug":"static","title":"Files"}]`, `at '/boards/0/slug': 'not' failed`},
		{`boards=[{"slug":"B b","title":"Random"}]`, `at '/boards/0/slug': 'B b' does not match pattern`},
		{`postgresql.persistence.size="eight"`, `at '/postgresql/persistence/size': 'eight' does not match pattern`},
		{`externalDatabase.port=70000`, `at '/externalDatabase/port': maximum: got 70,000, want 65,535`},
		{`networkPolicy.dnsPorts=[]`, `at '/networkPolicy/dnsPorts': minItems: got 0, want 1`},
		{`fullnameOverride="Board"`, `at '/fullnameOverride': 'Board' does not match pattern`},
		{`fullnameOverride="board.one"`, `at '/fullnameOverride': 'board.one' does not match pattern`},
		{`nameOverride="1-board"`, `at '/nameOverride': '1-board' does not match pattern`},
		{`gc.schedule="every day"`, `at '/gc/schedule': 'every day' does not match pattern`},
		{`gc.schedule="4 * * *"`, `at '/gc/schedule': '4 * * *' does not match pattern`},
		{`app.preStopSleepSeconds=0`, `at '/app/preStopSleepSeconds': minimum: got 0, want 1`},
		{`app.shutdownTimeoutSeconds=1`, `at '/app/shutdownTimeoutSeconds': minimum: got 1, want 2`},
		{`web.preStopSleepSeconds=0`, `at '/web/preStopSleepSeconds': minimum: got 0, want 1`},
		{`ingress.host="board.*.org"`, `at '/ingress/host': 'board.*.org' does not match pattern`},
		{`ingress.host="*board.example.org"`, `at '/ingress/host': '*board.example.org' does not match pattern`},
		// What is gone, or the chart's own. Helm is mistaken in where a wrong name is, at every call in another way.
		{`gc.resources={"limits":{"memory":"1Gi"}}`, `at '/gc': additional properties 'resources' not allowed`},
		{`commonLabels={"app.kubernetes.io/name":"other"}`, `invalid propertyName 'app.kubernetes.io/name'`},
		{`commonLabels={"helm.sh/chart":"other"}`, `invalid propertyName 'helm.sh/chart'`},
		{`app.podLabels={"app.kubernetes.io/component":"web"}`, `invalid propertyName 'app.kubernetes.io/component'`},
		{`web.podLabels={"app.kubernetes.io/instance":"other"}`, `invalid propertyName 'app.kubernetes.io/instance'`},
		{`postgresql.podLabels={"app.kubernetes.io/part-of":"other"}`, `invalid propertyName 'app.kubernetes.io/part-of'`},
		{`minio.podLabels={"app.kubernetes.io/version":"other"}`, `invalid propertyName 'app.kubernetes.io/version'`},
		{`metrics.serviceMonitor.labels={"app.kubernetes.io/name":"other"}`, `invalid propertyName 'app.kubernetes.io/name'`},
		{`metrics.prometheusRule.labels={"app.kubernetes.io/instance":"other"}`, `invalid propertyName 'app.kubernetes.io/instance'`},
		{`metrics.dashboard.labels={"app.kubernetes.io/component":"other"}`, `invalid propertyName 'app.kubernetes.io/component'`},
		{`app.feedInterval=20`, `at '/app/feedInterval': got number, want string`},
		{`app.feedInterval="20"`, `at '/app/feedInterval': '20' does not match pattern`},
		{`app.feedInterval="2s"`, `at '/app/feedInterval': '2s' does not match pattern`},
		{`app.feedInterval=null`, `at '/app': missing property 'feedInterval'`},
		{`app.staleIfError="ten minutes"`, `at '/app/staleIfError': 'ten minutes' does not match pattern`},
		{`app.decoders=0`, `at '/app/decoders': minimum: got 0, want 1`},
		{`app.decoders=null`, `at '/app': missing property 'decoders'`},
		{`app.decoders="2"`, `at '/app/decoders': got string, want integer`},
		{`web.cacheAge="a day"`, `at '/web/cacheAge': 'a day' does not match pattern`},
		{`web.cacheAge=null`, `at '/web': missing property 'cacheAge'`},
		{`app.streams=10000`, `at '/app/streams': got number, want object`},
		{`app.streams.max=-1`, `at '/app/streams/max': minimum: got -1, want 0`},
		{`app.streams.perAddress="50"`, `at '/app/streams/perAddress': got string, want integer`},
		{`app.streams.perVisitor=50`, `at '/app/streams': additional properties 'perVisitor' not allowed`},
		{`gc.deadlineSeconds=0`, `at '/gc/deadlineSeconds': minimum: got 0, want 60`},
		{`migrations.hook.deadlineSeconds=null`, `at '/migrations/hook': missing property 'deadlineSeconds'`},
		{`gc.grace="a day"`, `at '/gc/grace': 'a day' does not match pattern`},
	} {
		t.Run(c.value, func(t *testing.T) {
			t.Parallel()
			wants(t, refusal(t, rendering{set: []string{c.value}}), c.message)
		})
	}
	t.Run("everything at once", func(t *testing.T) {
		wants(t, refusal(t, rendering{set: []string{`aplication={}`, `app.replcas=3`, `ingress.controller="traefik"`, `limits.files="four"`}}),
			`'aplication' not allowed`, `'replcas' not allowed`, `'/ingress/controller'`, `'/limits/files': got string, want integer`)
	})
}

// What may be null takes what it would have added away, and nothing else.
func TestNullWhereItMayBe(t *testing.T) {
	var set []string
	for _, name := range []string{
		"commonLabels", "serviceAccount.annotations", "ingress.annotations", "httpRoute.annotations", "app.replicas", "web.replicas",
		"app.podAnnotations", "app.podLabels", "app.extraVolumes", "app.topologySpreadConstraints", "app.nodeSelector", "app.affinity",
		"app.tolerations", "networkPolicy.dnsTo", "networkPolicy.from", "web.service.annotations", "postgresql.persistence.annotations",
	} {
		set = append(set, name+"=null")
	}
	objects := render(t, rendering{set: set})
	reportAll(t, checkPodSecurity(objects))
	reportAll(t, checkSelectors(objects, nil, rendering{}))
}

// contradiction is what a schema cannot see.
type contradiction struct {
	name    string
	values  []string
	message string
}

// With servers of the operator's, and with those of the release: the two exclude each other. Those of the last group set
// what some of the others set to something else.
var contradictions = map[string][]contradiction{
	"external": {
		{"autoscaler and replicas", []string{`app.autoscaling.enabled=true`, `app.replicas=3`}, `app.autoscaling.enabled with app.replicas=3`},
		{"the same for web", []string{`web.autoscaling.enabled=true`, `web.replicas=2`}, `web.autoscaling.enabled with web.replicas=2`},
		{"fewer at the most than at the least", []string{`app.autoscaling.minReplicas=7`, `app.autoscaling.maxReplicas=6`}, `app.autoscaling.minReplicas=7 is more than maxReplicas=6`},
		{"nothing to scale by", []string{`app.replicas=3`, `app.autoscaling.enabled=true`, `app.autoscaling.targetCPUUtilizationPercentage=null`}, `app.autoscaling.enabled without anything to scale by`},
		{"digest of a loaded image", []string{`app.image.digest="sha256:1111111111111111111111111111111111111111111111111111111111111111"`}, `app.image.digest without a registry`},
		{"the same for web", []string{`web.image.digest="sha256:1111111111111111111111111111111111111111111111111111111111111111"`}, `web.image.digest without a registry`},
		{"a rollout that cannot move", []string{`app.strategy.maxSurge=0`, `app.strategy.maxUnavailable=0`}, `app.strategy: maxSurge and maxUnavailable are both 0`},
		{"no time for requests", []string{`app.drainDelaySeconds=24`}, `app.shutdownTimeoutSeconds=25 is less than app.drainDelaySeconds=24, which is part of it`},
		{"a deadline that the grace period does not know", []string{`app.extraEnv=[{"name":"TRIPTYCH_SHUTDOWN_TIMEOUT","value":"60s"}]`}, `app.extraEnv with TRIPTYCH_SHUTDOWN_TIMEOUT`},
		{"Ingress without a host", []string{`ingress.host=""`}, `ingress.enabled without ingress.host: the controller "f5" needs a host name`},
		{"HTTPRoute without an address", []string{`httpRoute.enabled=true`, `publicUrl=""`, `httpRoute.parentRefs=[{"name":"public"}]`}, `httpRoute.enabled without publicUrl`},
		{"HTTPRoute without a gateway", []string{`httpRoute.enabled=true`, `httpRoute.parentRefs=[]`}, `httpRoute.enabled without httpRoute.parentRefs`},
		{"database without a secret", []string{`postgresql.enabled=false`}, `postgresql.enabled=false without externalDatabase.existingSecret`},
		{"S3 without an address", []string{`minio.enabled=false`}, `minio.enabled=false without s3.endpoint`},
		{"S3 without a secret", []string{`minio.enabled=false`}, `minio.enabled=false without s3.existingSecret`},
		{"IPv6 that nobody listens on", []string{`ipFamilyPolicy="PreferDualStack"`}, `ipFamilyPolicy=PreferDualStack with listenAddress=0.0.0.0`},
		{"a board that is there twice", []string{`boards=[{"slug":"b","title":"Random"},{"slug":"b","title":"Other"}]`}, `boards: "b" is there twice`},
	},
	"bundled": {
		{"two databases", []string{`externalDatabase.existingSecret="board-database"`}, `externalDatabase.existingSecret or externalDatabase.ownerSecret with postgresql.enabled=true`},
		{"two S3 servers", []string{`s3.endpoint="https://s3.example.org"`}, `s3.endpoint or s3.existingSecret with minio.enabled=true`},
		{"hook before Postgres", []string{`migrations.hook.enabled=true`}, `migrations.hook.enabled with postgresql.enabled=true`},
		{"hook before MinIO", []string{`migrations.hook.enabled=true`}, `migrations.hook.enabled with minio.enabled=true`},
		{"TLS without a host", []string{`ingress.controller="none"`, `ingress.host=""`, `ingress.tls.enabled=true`}, `ingress.tls.enabled without ingress.host`},
	},
	"either": {
		{"many addresses", []string{`ingress.host="*.example.org"`}, `ingress.host=*.example.org without publicUrl`},
		{"alerts about nothing", []string{`metrics.prometheusRule.enabled=true`}, `metrics.prometheusRule.enabled without metrics.serviceMonitor.enabled`},
		{"too little memory", []string{`app.resources.limits.memory="256Mi"`}, `app.resources.limits.memory=256Mi is too little:`},
		{"too many decoders for it", []string{`app.decoders=4`}, `170 for each of app.decoders=4`},
		{"decoders that nobody counts", []string{`app.extraEnv=[{"name":"TRIPTYCH_DECODERS","value":"8"}]`}, `app.extraEnv with TRIPTYCH_DECODERS`},
		{"too many streams for it", []string{`app.streams.max=30000`}, `586 for app.streams.max`},
		{"too little disk for the cache", []string{`web.cacheSizeMiB=4096`}, `web.resources.limits.ephemeral-storage=4Gi is too little: web.cacheSizeMiB=4096, `},
		{"a cache that the node does not know of", []string{`web.cacheSizeMiB=4096`}, `web.resources.requests.ephemeral-storage=1280Mi is less than web.cacheSizeMiB=4096`},
		{"too large posts for it", []string{`limits={"files":20,"fileSize":"32MiB"}`}, `and 128 for everything else are`},
	},
}

// What the refusals above nearly are.
func TestNoContradiction(t *testing.T) {
	for _, c := range [][]string{
		{`ingress.host="*.example.org"`, `publicUrl="https://board.example.org"`},
		{`metrics.serviceMonitor.enabled=true`, `metrics.prometheusRule.enabled=true`},
		// 96 for uploads, 170 for each of two cores, 99 for streams, 128 for the rest.
		{`app.resources.limits.memory="760Mi"`},
		{`app.resources.limits.memory="584Mi"`, `app.streams.max=1000`},
		{`app.resources.limits={"memory":"1100Mi"}`, `app.decoders=4`},
		{`app.resources.limits={"cpu":null,"memory":"590Mi"}`, `app.decoders=1`},
		{`web.cacheSizeMiB=1024`, `web.uploads.max=64`},
		{`web.cacheSizeMiB=8192`, `web.resources={"requests":{"ephemeral-storage":"8.5Gi"},"limits":{"ephemeral-storage":"11.9e9"}}`},
		{`web.cacheSizeMiB=8192`, `web.resources={"requests":{"ephemeral-storage":null},"limits":{"ephemeral-storage":null}}`},
		{`web.resources=null`},
		// More cores only decode faster.
		{`app.resources.limits.cpu="16"`},
		// Without a limit there is nothing to compare with.
		{`app.resources=null`},
		{`app.resources.limits.memory=null`, `app.decoders=1000`},
		{`app.drainDelaySeconds=23`},
		{`app.drainDelaySeconds=0`, `app.shutdownTimeoutSeconds=2`},
		{`app.feedInterval="0"`, `app.staleIfError="0"`, `app.streams={"max":0,"perAddress":0}`},
		{`app.feedInterval="1s"`, `app.staleIfError="1h"`, `app.streams={"max":10,"perAddress":1000000}`},
		{`gc.schedule="@daily"`},
		{`gc.schedule="*/5 0-6 1,15 * MON-FRI"`},
		{`fullnameOverride="b"`, `nameOverride="a-1"`},
	} {
		t.Run(strings.Join(c, " "), func(t *testing.T) {
			t.Parallel()
			render(t, rendering{set: c})
		})
	}
}

// Two decoders need 564 MiB. Whatever way the limit is written in, and whether there is one of CPU, it is compared with that.
func TestMemoryInEveryNotation(t *testing.T) {
	const needed = 564
	written := func(quantity string) []string {
		return []string{`app.streams.max=0`, `app.resources.limits={"cpu":null,"memory":` + quantity + `}`}
	}
	for _, quantity := range []string{
		`"563Mi"`, `"0.5Gi"`, `".5Gi"`, `"563.5Mi"`, `"591396k"`, `"577535Ki"`, `"591M"`, `"0.59G"`, `"5.9e8"`, `"59E7"`, `"5900e+5"`, `5.9e8`,
		`591396863`, `"591396863"`, `"+563Mi"`, `"0.0005T"`, `"0.0005Ti"`, `"0.0000005P"`, `"591396863000m"`, `"1e8"`, `"100M"`, `512`, `"0"`,
	} {
		t.Run("too little: "+quantity, func(t *testing.T) {
			t.Parallel()
			parsed := resource.MustParse(strings.Trim(quantity, `"`))
			if parsed.Value() >= needed<<20 {
				t.Fatalf("%s is enough", quantity)
			}
			wants(t, refusal(t, rendering{set: written(quantity)}), "is too little: ", fmt.Sprintf("are %dMi", needed))
		})
	}
	for _, quantity := range []string{
		`"564Mi"`, `"1.5Gi"`, `"1536Mi"`, `"1e9"`, `1e9`, `"2G"`, `"900000k"`, `"577536Ki"`, `591396864`, `"591396864"`, `"0.56Gi"`, `"1.Gi"`,
		`"6E8"`, `"0.001T"`, `"1Ti"`, `"1P"`, `"1E"`, `"1Ei"`, `"+1G"`, `"591396864000m"`, `"6e+8"`,
	} {
		t.Run("enough: "+quantity, func(t *testing.T) {
			t.Parallel()
			parsed := resource.MustParse(strings.Trim(quantity, `"`))
			if parsed.Value() < needed<<20 {
				t.Fatalf("%s is too little", quantity)
			}
			render(t, rendering{set: written(quantity)})
		})
	}
	for _, quantity := range []string{`"1.5 Gi"`, `"1GB"`, `"-1Gi"`, `"much"`, `"1e3Mi"`, `"1Gi "`, `"1K"`, `""`} {
		t.Run("none: "+quantity, func(t *testing.T) {
			t.Parallel()
			if _, err := resource.ParseQuantity(strings.Trim(quantity, `"`)); err == nil && !strings.HasPrefix(quantity, `"-`) {
				t.Fatalf("%s is a quantity", quantity)
			}
			wants(t, refusal(t, rendering{set: written(quantity)}), "app.resources.limits.memory="+strings.Trim(quantity, `"`)+" is no amount of memory")
		})
	}
}

func TestContradictions(t *testing.T) {
	for name, together := range contradictions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var values, messages []string
			for _, c := range together {
				values = append(values, c.values...)
				messages = append(messages, c.message)
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					wants(t, refusal(t, rendering{set: c.values}), c.message)
				})
			}
			t.Run("all at once", func(t *testing.T) {
				message := refusal(t, rendering{set: values})
				wants(t, message, messages...)
				if count := strings.Count(message, "These values contradict each other"); count != 1 {
					t.Errorf("told %d times:\n%s", count, message)
				}
			})
		})
	}
}
