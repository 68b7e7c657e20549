{{/* The application's environment: the only configuration that it has. */}}

{{/*
How to reach Postgres and S3, for every command; passwords are never in a manifest. Postgres as the role that may change
rows: only the migration is told who the owner of the tables is.
*/}}
{{- define "triptych.environment.storage" -}}
{{- $fullname := include "triptych.fullname" . -}}
{{- $credentials := include "triptych.credentialsName" . -}}
{{- if .Values.postgresql.enabled }}
# Before the address, which is made of it.
- name: POSTGRES_SERVE_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $credentials }}, key: postgresql-serve-password}}
- name: TRIPTYCH_DATABASE_URL
  value: postgres://triptych_serve:$(POSTGRES_SERVE_PASSWORD)@{{ $fullname }}-postgresql:5432/triptych
{{- else }}
- name: TRIPTYCH_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.externalDatabase.existingSecret }}, key: {{ .Values.externalDatabase.key }}}}
{{- end }}
{{- if .Values.minio.enabled }}
- name: TRIPTYCH_S3_ENDPOINT
  value: http://{{ $fullname }}-minio:9000
- name: TRIPTYCH_S3_ACCESS_KEY_ID
  value: triptych
- name: TRIPTYCH_S3_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ $credentials }}, key: minio-password}}
{{- else }}
- name: TRIPTYCH_S3_ENDPOINT
  value: {{ .Values.s3.endpoint | quote }}
- name: TRIPTYCH_S3_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ .Values.s3.existingSecret }}, key: {{ .Values.s3.accessKeyIdKey }}}}
- name: TRIPTYCH_S3_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ .Values.s3.existingSecret }}, key: {{ .Values.s3.secretAccessKeyKey }}}}
{{- end }}
- name: TRIPTYCH_S3_REGION
  value: {{ .Values.s3.region | quote }}
- name: TRIPTYCH_S3_BUCKET
  value: {{ .Values.s3.bucket | quote }}
{{- with .Values.s3.prefix }}
- name: TRIPTYCH_S3_PREFIX
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "triptych.environment.serve" -}}
{{ include "triptych.environment.storage" . }}
- name: TRIPTYCH_SECRET
  valueFrom: {secretKeyRef: {name: {{ include "triptych.credentialsName" . }}, key: secret}}
- name: TRIPTYCH_DATABASE_CONNECTIONS
  value: {{ int .Values.app.databaseConnections | quote }}
- name: TRIPTYCH_LISTEN
  value: {{ printf "%s:8080" .Values.listenAddress | quote }}
- name: TRIPTYCH_METRICS_LISTEN
  value: {{ printf "%s:9090" .Values.listenAddress | quote }}
{{- with include "triptych.publicUrl" . }}
- name: TRIPTYCH_PUBLIC_URL
  value: {{ . | quote }}
{{- end }}
- name: TRIPTYCH_TRUSTED_PROXIES
  value: {{ join "," .Values.trustedProxies | quote }}
# Web alone asks the replicas, and counts what it answers by itself.
- name: TRIPTYCH_BEHIND_WEB
  value: "true"
- name: TRIPTYCH_TRAFFIC_PAGE
  value: {{ .Values.traffic.page | quote }}
{{- with .Values.traffic.monthlyBudget }}
- name: TRIPTYCH_TRAFFIC_BUDGET
  value: {{ . | quote }}
{{- end }}
- name: TRIPTYCH_TITLE
  value: {{ include "triptych.verbatim" .Values.title | quote }}
- name: TRIPTYCH_MAX_FILES
  value: {{ .Values.limits.files | quote }}
- name: TRIPTYCH_MAX_FILE_SIZE
  value: {{ .Values.limits.fileSize | quote }}
- name: TRIPTYCH_UPLOAD_MEMORY
  value: {{ include "triptych.uploadMemoryMiB" . }}MiB
- name: TRIPTYCH_DECODERS
  value: {{ int .Values.app.decoders | quote }}
- name: TRIPTYCH_FEED_INTERVAL
  value: {{ .Values.app.feedInterval | quote }}
- name: TRIPTYCH_STALE_IF_ERROR
  value: {{ .Values.app.staleIfError | quote }}
- name: TRIPTYCH_MAX_STREAMS
  value: {{ int .Values.app.streams.max | quote }}
- name: TRIPTYCH_MAX_STREAMS_PER_ADDRESS
  value: {{ int .Values.app.streams.perAddress | quote }}
- name: TRIPTYCH_SLOW_REQUEST
  value: {{ .Values.tracing.slowRequest | quote }}
{{- with .Values.tracing.otlpEndpoint }}
- name: TRIPTYCH_OTLP_ENDPOINT
  value: {{ . | quote }}
- name: TRIPTYCH_TRACE_RATIO
  value: {{ $.Values.tracing.sampleRatio | quote }}
{{- end }}
- name: TRIPTYCH_DRAIN_DELAY
  value: {{ printf "%ds" (int .Values.app.drainDelaySeconds) }}
- name: TRIPTYCH_SHUTDOWN_TIMEOUT
  value: {{ printf "%ds" (int .Values.app.shutdownTimeoutSeconds) }}
{{- end -}}

{{- define "triptych.environment.migrate" -}}
{{ include "triptych.environment.storage" . }}
{{- if .Values.postgresql.enabled }}
- name: POSTGRES_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "triptych.credentialsName" . }}, key: postgresql-password}}
- name: TRIPTYCH_MIGRATE_DATABASE_URL
  value: postgres://triptych:$(POSTGRES_PASSWORD)@{{ include "triptych.fullname" . }}-postgresql:5432/triptych
{{- else if .Values.externalDatabase.ownerSecret }}
- name: TRIPTYCH_MIGRATE_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.externalDatabase.ownerSecret }}, key: {{ .Values.externalDatabase.ownerKey }}}}
{{- end }}
- name: TRIPTYCH_MIGRATE_WAIT
  value: {{ .Values.migrations.wait | quote }}
{{- with .Values.boards }}
- name: TRIPTYCH_BOARDS
  value: {{ include "triptych.verbatim" (toJson .) | quote }}
{{- end }}
{{- end -}}

{{- define "triptych.environment.gc" -}}
{{ include "triptych.environment.storage" . }}
- name: TRIPTYCH_GC_GRACE
  value: {{ .Values.gc.grace | quote }}
{{- end -}}

{{/*
`env` and `envFrom` of a container: (dict "root" $ "command" "serve"). What app.extraEnv names takes the place of what
the chart would set, because a name that is there twice is refused by server-side apply. It takes exactly that place:
`$(NAME)` is only known further down.
*/}}
{{- define "triptych.environment" -}}
{{- $extra := dict -}}
{{- range .root.Values.app.extraEnv }}{{ $_ := set $extra .name . }}{{ end -}}
env:
  {{- range include (printf "triptych.environment.%s" .command) .root | fromYamlArray }}
  - {{ get $extra .name | default . | toYaml | nindent 4 | trim }}
  {{- $_ := unset $extra .name }}
  {{- end }}
  {{- range .root.Values.app.extraEnv }}
  {{- if hasKey $extra .name }}
  - {{ get $extra .name | toYaml | nindent 4 | trim }}
  {{- $_ := unset $extra .name }}
  {{- end }}
  {{- end }}
{{- with .root.Values.app.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Text as somebody typed it: the kubelet would put another variable's value, a password even, where `$(NAME)` stands. */}}
{{- define "triptych.verbatim" -}}
{{- . | replace "$" "$$" -}}
{{- end -}}

{{/* MiB of uploads that a web server collects at a time. */}}
{{- define "triptych.uploadSpoolMiB" -}}
{{- mul (int .Values.web.uploads.max) (include "triptych.proxyBodyMiB" . | int) -}}
{{- end -}}

{{/* MiB of uploads that a replica holds at a time: at the least one post, and one of its files once more, because it is copied. */}}
{{- define "triptych.uploadMemoryMiB" -}}
{{- max 96 (mul (add (int .Values.limits.files) 1) (int (trimSuffix "MiB" .Values.limits.fileSize))) -}}
{{- end -}}

{{/* Ports of an external database, as YAML: that of the address for replicas, and that of the owner's. */}}
{{- define "triptych.databasePorts" -}}
{{- $ports := list (int .Values.externalDatabase.port) -}}
{{- if .Values.externalDatabase.ownerSecret -}}
{{- $ports = append $ports (int .Values.externalDatabase.ownerPort) | uniq -}}
{{- end -}}
{{- toYaml $ports -}}
{{- end -}}
