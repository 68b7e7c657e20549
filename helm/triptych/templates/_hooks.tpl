{{/*
Annotations of what Helm makes around an operation and takes away when that has succeeded; what a failed Job has printed is
shown (Helm 3.18 and later). Takes (dict "on" "pre-upgrade" "weight" "0").
*/}}
{{- define "triptych.hook" -}}
helm.sh/hook: {{ .on }}
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
helm.sh/hook-output-log-policy: hook-failed
{{- end -}}
