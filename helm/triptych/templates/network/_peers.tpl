{{/*
A rule of a policy's egress: (dict "to" peers "ports" (list 443) "protocols" (list "TCP")). Without peers it names no
destination, which is everywhere. `0.0.0.0/0` is not: to some networks that is everything outside of the cluster.
*/}}
{{- define "triptych.egressRule" -}}
{{- $protocols := .protocols | default (list "TCP") -}}
- ports:
    {{- range $port := .ports }}
    {{- range $protocols }}
    - {protocol: {{ . }}, port: {{ $port }}}
    {{- end }}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Who asks for pages: the Ingress controller or the gateway. */}}
{{- define "triptych.pageReaders" -}}
{{- $namespaces := dict "f5" "nginx-ingress" "ingress-nginx" "ingress-nginx" -}}
{{- $namespace := get $namespaces .Values.ingress.controller -}}
{{- if .Values.networkPolicy.from -}}
{{ toYaml .Values.networkPolicy.from }}
{{- else if and .Values.ingress.enabled (not .Values.httpRoute.enabled) $namespace -}}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ $namespace }}}}
{{- else -}}
- namespaceSelector: {}
{{- end -}}
{{- end -}}

{{/* Who reads metrics; empty for nobody. */}}
{{- define "triptych.metricsReaders" -}}
{{- if or .Values.networkPolicy.metricsFrom .Values.metrics.serviceMonitor.enabled -}}
{{ toYaml (.Values.networkPolicy.metricsFrom | default (list (dict "namespaceSelector" dict))) }}
{{- end -}}
{{- end -}}

{{/* The rule that lets a pod look up names. */}}
{{- define "triptych.dnsRule" -}}
{{- include "triptych.egressRule" (dict "to" .Values.networkPolicy.dnsTo "ports" .Values.networkPolicy.dnsPorts "protocols" (list "UDP" "TCP")) -}}
{{- end -}}

{{/* The port of the S3 server outside of the release, as its address says. */}}
{{- define "triptych.s3Port" -}}
{{- include "triptych.portOf" .Values.s3.endpoint -}}
{{- end -}}

{{/* The port of an address. */}}
{{- define "triptych.portOf" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $port | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{/* Pods of the release that work on the data: the replicas, and gc. */}}
{{- define "triptych.storageUsers" -}}
matchLabels:
  app.kubernetes.io/instance: {{ .Release.Name }}
  app.kubernetes.io/component: app
matchExpressions:
  - {key: app.kubernetes.io/name, operator: In, values: [triptych, triptych-gc]}
{{- end -}}

{{/* What they reach: DNS, Postgres, S3. */}}
{{- define "triptych.storageEgress" -}}
{{- $policy := .Values.networkPolicy -}}
{{- $bundled := dict "postgresql" list "minio" list -}}
{{- range $component := keys $bundled -}}
{{- $selector := include "triptych.selector" (dict "root" $ "component" $component) | fromYaml -}}
{{- $_ := set $bundled $component (list (dict "podSelector" (dict "matchLabels" $selector))) -}}
{{- end -}}
{{ include "triptych.dnsRule" . }}
{{ if .Values.postgresql.enabled -}}
{{ include "triptych.egressRule" (dict "to" $bundled.postgresql "ports" (list 5432)) }}
{{- else -}}
{{ include "triptych.egressRule" (dict "to" $policy.databaseTo "ports" (include "triptych.databasePorts" . | fromYamlArray)) }}
{{- end }}
{{ if .Values.minio.enabled -}}
{{ include "triptych.egressRule" (dict "to" $bundled.minio "ports" (list 9000)) }}
{{- else -}}
{{ include "triptych.egressRule" (dict "to" $policy.s3To "ports" (list (include "triptych.s3Port" . | int))) }}
{{- end }}
{{- with $policy.app.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What the pod of `helm test` reaches: DNS, the replicas and the web servers. */}}
{{- define "triptych.smokeEgress" -}}
{{- $servers := list -}}
{{- range $component := list "app" "web" -}}
{{- $selector := include "triptych.selector" (dict "root" $ "component" $component) | fromYaml -}}
{{- $servers = append $servers (dict "podSelector" (dict "matchLabels" $selector)) -}}
{{- end -}}
{{ include "triptych.dnsRule" . }}
{{ include "triptych.egressRule" (dict "to" $servers "ports" (list 8080)) }}
{{- end -}}
