{{/* Peers of a policy, or everywhere: (dict "peers" …). */}}
{{- define "triptych.peers" -}}
{{- if .peers -}}
{{ toYaml .peers }}
{{- else -}}
- ipBlock: {cidr: 0.0.0.0/0}
- ipBlock: {cidr: "::/0"}
{{- end -}}
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

{{/* The rule that lets a pod look up names. */}}
{{- define "triptych.dnsRule" -}}
- to:
    {{- include "triptych.peers" (dict "peers" .Values.networkPolicy.dnsTo) | nindent 4 }}
  ports:
    {{- range .Values.networkPolicy.dnsPorts }}
    - {protocol: UDP, port: {{ . }}}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end -}}

{{/* The port of the S3 server outside of the release, as its address says. */}}
{{- define "triptych.s3Port" -}}
{{- $url := urlParse .Values.s3.endpoint -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $port | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{/* Selects the application, and the Jobs that work on the same data. */}}
{{- define "triptych.storageUsers" -}}
matchLabels:
  app.kubernetes.io/instance: {{ .Release.Name }}
  app.kubernetes.io/component: app
matchExpressions:
  - {key: app.kubernetes.io/name, operator: In, values: [triptych, triptych-migrate, triptych-gc]}
{{- end -}}
