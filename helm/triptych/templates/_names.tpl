{{/* Names and labels. */}}

{{- define "triptych.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Prefix of the names of all objects: at most 40 characters, so that there is room for what follows it. */}}
{{- define "triptych.fullname" -}}
{{- $name := include "triptych.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "triptych.credentialsName" -}}
{{- .Values.credentials.existingSecret | default (printf "%s-credentials" (include "triptych.fullname" .)) -}}
{{- end -}}

{{- define "triptych.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "triptych.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/*
What tells the pods of a component from all others, for ever: selectors cannot be changed.
Takes (dict "root" $ "component" "app" "name" "triptych-gc"): pods of Jobs have a name of their own, so that no Service
and no disruption budget counts them.
*/}}
{{- define "triptych.selector" -}}
app.kubernetes.io/name: {{ .name | default "triptych" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of a pod: nothing that changes with the chart's version alone, which would restart Postgres for nothing. */}}
{{- define "triptych.podLabels" -}}
{{ include "triptych.selector" . }}
app.kubernetes.io/version: {{ include "triptych.version" . | quote }}
app.kubernetes.io/part-of: triptych
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of an object. */}}
{{- define "triptych.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{ include "triptych.podLabels" . }}
{{- end -}}

{{/* The version of what runs in a component, as a label: of its image. */}}
{{- define "triptych.version" -}}
{{- $image := (index .root.Values .component).image -}}
{{- $version := $image.tag | default .root.Chart.AppVersion -}}
{{- if and $image.digest (not $image.tag) (has .component (list "postgresql" "minio")) -}}
{{- $version = $image.digest | replace "sha256:" "" | trunc 12 -}}
{{- end -}}
{{- $version | replace "+" "_" | trunc 63 | trimSuffix "-" | trimSuffix "." -}}
{{- end -}}

{{/* The image of a component: (dict "root" $ "component" "app"). */}}
{{- define "triptych.image" -}}
{{- $image := (index .root.Values .component).image -}}
{{- $registry := "" -}}
{{- $default := "" -}}
{{- if has .component (list "app" "web") -}}
{{- $registry = .root.Values.image.registry -}}
{{- $default = .root.Chart.AppVersion -}}
{{- else -}}
{{- $registry = $image.registry -}}
{{- end -}}
{{- with $registry }}{{ . | trimSuffix "/" }}/{{ end -}}
{{- $image.repository -}}
{{- $tag := $image.tag | default (ternary "" $default (ne $image.digest "")) -}}
{{- with $tag }}:{{ . }}{{ end -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* The address that visitors use; empty when nobody knows. */}}
{{- define "triptych.publicUrl" -}}
{{- if .Values.publicUrl -}}
{{- .Values.publicUrl | trimSuffix "/" -}}
{{- else if and .Values.ingress.enabled .Values.ingress.host -}}
{{- ternary "https" "http" .Values.ingress.tls.enabled -}}://{{ .Values.ingress.host }}
{{- end -}}
{{- end -}}

{{/* MiB of a whole post as the application accepts it: its pictures, and two for everything else. */}}
{{- define "triptych.bodyMiB" -}}
{{- add (mul (int .Values.limits.files) (int (trimSuffix "MiB" .Values.limits.fileSize))) 2 -}}
{{- end -}}

{{/* MiB of a body that the proxies in front let through: a little more, so that the application's own page is what people meet. */}}
{{- define "triptych.proxyBodyMiB" -}}
{{- add (include "triptych.bodyMiB" . | int) 1 -}}
{{- end -}}
