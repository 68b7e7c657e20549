{{/* Names and labels. */}}

{{- define "triptych.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/*
Prefix of the names of all objects: at most 40 characters, so that there is room for what follows it. A longer one is cut,
and told apart by a hash from others that begin alike. Names of releases may have dots, those of Services not.
*/}}
{{- define "triptych.fullname" -}}
{{- $name := include "triptych.name" . -}}
{{- $fullname := .Release.Name | replace "." "-" -}}
{{- if .Values.fullnameOverride -}}
{{- $fullname = .Values.fullnameOverride -}}
{{- else if not (contains $name $fullname) -}}
{{- $fullname = printf "%s-%s" $fullname $name -}}
{{- end -}}
{{- if gt (len $fullname) 40 -}}
{{- $fullname = printf "%s-%s" ($fullname | trunc 33 | trimSuffix "-") ($fullname | sha256sum | trunc 6) -}}
{{- end -}}
{{- $fullname -}}
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

{{/*
Labels of a pod: nothing that changes with the chart's version alone, which would restart Postgres for nothing. What the
operator adds comes last and replaces nothing: selectors and policies hang on ours.
*/}}
{{- define "triptych.podLabels" -}}
{{- $own := (index .root.Values .component).podLabels | default dict -}}
{{- merge (include "triptych.fixedLabels" . | fromYaml) $own (.root.Values.commonLabels | default dict) | toYaml -}}
{{- end -}}

{{/* Labels of an object, with those in "extra" if there are any. */}}
{{- define "triptych.labels" -}}
{{- $chart := dict "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- merge (include "triptych.fixedLabels" . | fromYaml) $chart (.extra | default dict) (.root.Values.commonLabels | default dict) | toYaml -}}
{{- end -}}

{{- define "triptych.fixedLabels" -}}
{{ include "triptych.selector" . }}
app.kubernetes.io/version: {{ include "triptych.version" . | quote }}
app.kubernetes.io/part-of: triptych
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{/* The version of what runs in a component, as a label: the tag of its image, or the beginning of its digest. */}}
{{- define "triptych.version" -}}
{{- $image := (index .root.Values .component).image -}}
{{- $digest := $image.digest | trimPrefix "sha256:" | trunc 12 -}}
{{- $version := $image.tag | default $digest | default .root.Chart.AppVersion -}}
{{- $version | replace "+" "_" | trunc 63 | trimAll "-._" -}}
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
