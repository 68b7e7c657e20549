{{/*
What every pod has: no token, a security context, a place to run. Takes (dict "root" $ "component" "app"), and a "name"
for pods of Jobs: these have no priority class, which may be one of the release's own objects, made after its hooks.
*/}}
{{- define "triptych.pod" -}}
{{- $values := index .root.Values .component -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml $values.podSecurityContext | nindent 2 }}
{{- if and $values.priorityClassName (not .name) }}
priorityClassName: {{ $values.priorityClassName }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "triptych.affinity" . | fromYaml }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
Affinity of a pod, as YAML. Replicas prefer a zone without one of them, unless the operator says something of that sort. Not a
second spread constraint: the scheduler passes over nodes that lack the label of any, and then all replicas land on the
node that was scored first. Replicas of one rollout are counted, not those that are about to go.
*/}}
{{- define "triptych.affinity" -}}
{{- $affinity := (index .root.Values .component).affinity | default dict -}}
{{- if and (has .component (list "app" "web")) (not .name) (not (hasKey $affinity "podAntiAffinity")) -}}
{{- $selector := include "triptych.selector" . | fromYaml -}}
{{- $term := dict "topologyKey" "topology.kubernetes.io/zone" "labelSelector" (dict "matchLabels" $selector) "matchLabelKeys" (list "pod-template-hash") -}}
{{- $preferred := dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 100 "podAffinityTerm" $term)) -}}
{{- $affinity = merge (dict "podAntiAffinity" $preferred) $affinity -}}
{{- end -}}
{{- toYaml $affinity -}}
{{- end -}}

{{/* Spread constraints of a component; replicas of one rollout are counted, not those that are about to go. */}}
{{- define "triptych.spread" -}}
{{- $selector := include "triptych.selector" . | fromYaml -}}
{{- with (index .root.Values .component).topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ merge (dict) . (dict "labelSelector" (dict "matchLabels" $selector) "matchLabelKeys" (list "pod-template-hash")) | toYaml | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The container of a one-shot command of the application: (dict "root" $ "name" "gc" "args" (list "gc")). */}}
{{- define "triptych.oneShot" -}}
- name: {{ .name }}
  image: {{ include "triptych.image" (dict "root" .root "component" "app") }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args:
    {{- range .args }}
    - {{ . | quote }}
    {{- end }}
  securityContext:
    {{- toYaml .root.Values.app.securityContext | nindent 4 }}
  resources:
    {{- toYaml .root.Values.jobs.resources | nindent 4 }}
{{- end -}}

{{/* The container of a one-shot command that works on the data: (dict "root" $ "command" "gc"). */}}
{{- define "triptych.storageCommand" -}}
{{- $args := list .command -}}
{{- if and (eq .command "migrate") .root.Values.migrations.claimBucket }}{{ $args = append $args "--claim-bucket" }}{{ end -}}
{{- include "triptych.oneShot" (dict "root" .root "name" .command "args" $args) }}
  {{- include "triptych.environment" . | nindent 2 }}
  {{- with .root.Values.app.extraVolumeMounts }}
  volumeMounts:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* A HorizontalPodAutoscaler: (dict "root" $ "component" "app"). */}}
{{- define "triptych.autoscaler" -}}
{{- $name := printf "%s-%s" (include "triptych.fullname" .root) .component -}}
{{- with (index .root.Values .component).autoscaling }}
{{- if .enabled }}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $name }}
  labels:
    {{- include "triptych.labels" $ | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ $name }}
  minReplicas: {{ .minReplicas }}
  maxReplicas: {{ .maxReplicas }}
  metrics:
    {{- with .targetCPUUtilizationPercentage }}
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ . }}
    {{- end }}
    {{- with .targetMemoryUtilizationPercentage }}
    - type: Resource
      resource:
        name: memory
        target:
          type: Utilization
          averageUtilization: {{ . }}
    {{- end }}
    {{- with .metrics }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
A PodDisruptionBudget: (dict "root" $ "component" "app"). Not for a single replica, which could never be drained;
an unknown number of them counts as several.
*/}}
{{- define "triptych.disruptionBudget" -}}
{{- $values := index .root.Values .component -}}
{{- $replicas := ternary ($values.autoscaling.minReplicas | int) (kindIs "invalid" $values.replicas | ternary 2 ($values.replicas | int)) $values.autoscaling.enabled -}}
{{- if and $values.podDisruptionBudget.enabled (gt $replicas 1) }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "triptych.fullname" .root }}-{{ .component }}
  labels:
    {{- include "triptych.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ $values.podDisruptionBudget.maxUnavailable }}
  # A pod that is not ready serves nobody, and must not keep a node from being drained.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "triptych.selector" . | nindent 6 }}
{{- end }}
{{- end -}}

{{/* A Service: (dict "root" $ "component" "app" "ports" (list (dict …))). */}}
{{- define "triptych.service" -}}
{{- $values := index .root.Values .component -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "triptych.fullname" .root }}-{{ .component }}
  labels:
    {{- include "triptych.labels" . | nindent 4 }}
  {{- with $values.service }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
spec:
  {{- with .root.Values.ipFamilyPolicy }}
  ipFamilyPolicy: {{ . }}
  {{- end }}
  ports:
    {{- range .ports }}
    - name: {{ .name }}
      port: {{ .port }}
      targetPort: {{ .name }}
      protocol: TCP
    {{- end }}
  selector:
    {{- include "triptych.selector" . | nindent 4 }}
{{- end -}}

{{/* The volume of a StatefulSet: (dict "root" $ "component" "minio"). It cannot be changed later, so it has no version on it. */}}
{{- define "triptych.claim" -}}
{{- $persistence := (index .root.Values .component).persistence -}}
- apiVersion: v1
  kind: PersistentVolumeClaim
  metadata:
    name: data
    labels:
      {{- include "triptych.selector" . | nindent 6 }}
    {{- with $persistence.annotations }}
    annotations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with $persistence.storageClass }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ $persistence.size }}
{{- end -}}
