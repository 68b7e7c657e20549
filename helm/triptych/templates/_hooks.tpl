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

{{/*
The policy of a hook's pods, which comes and goes with the hook. It is there with networkPolicy.enabled=false as well: while
the hooks of an upgrade run, the policies of the release before are still in force, and refuse everything to pods that
they do not know. It then lets everything out, so that it takes nothing away from a network without policies.
Takes (dict "root" $ "job" $job "name" "board-migrate" "on" "pre-upgrade" "egress" "- ports: …").
*/}}
{{- define "triptych.hookPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  labels:
    {{- include "triptych.labels" .job | nindent 4 }}
  annotations:
    {{- include "triptych.hook" (dict "on" .on "weight" "-10") | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "triptych.selector" .job | nindent 6 }}
  {{- if .root.Values.networkPolicy.enabled }}
  policyTypes: [Ingress, Egress]
  egress:
    {{- .egress | nindent 4 }}
  {{- else }}
  policyTypes: [Egress]
  egress: [{}]
  {{- end }}
{{- end -}}
