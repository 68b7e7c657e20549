{{/* What the schema cannot see: values that contradict each other. All of it is told at once. */}}
{{- define "triptych.problems" -}}
{{- $problems := list -}}
{{- range $component := list "app" "web" -}}
  {{- $values := index $.Values $component -}}
  {{- if and $values.autoscaling.enabled (not (kindIs "invalid" $values.replicas)) -}}
    {{- $problems = append $problems (printf "%s.autoscaling.enabled with %s.replicas=%v: the autoscaler owns the number of replicas. Set %s.replicas to null." $component $component $values.replicas $component) -}}
  {{- end -}}
  {{- if gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas) -}}
    {{- $problems = append $problems (printf "%s.autoscaling.minReplicas=%v is more than maxReplicas=%v." $component $values.autoscaling.minReplicas $values.autoscaling.maxReplicas) -}}
  {{- end -}}
  {{- if and $values.autoscaling.enabled (not (or $values.autoscaling.targetCPUUtilizationPercentage $values.autoscaling.targetMemoryUtilizationPercentage $values.autoscaling.metrics)) -}}
    {{- $problems = append $problems (printf "%s.autoscaling.enabled without anything to scale by: set targetCPUUtilizationPercentage, targetMemoryUtilizationPercentage or metrics." $component) -}}
  {{- end -}}
  {{- if and $values.image.digest (not $.Values.image.registry) (not (contains "/" $values.image.repository)) -}}
    {{- $problems = append $problems (printf "%s.image.digest without a registry: an image that was loaded into the nodes by hand has no digest. Set image.registry, or take %s.image.tag alone." $component $component) -}}
  {{- end -}}
  {{- if and (eq (toString $values.strategy.maxSurge) "0") (eq (toString $values.strategy.maxUnavailable) "0") -}}
    {{- $problems = append $problems (printf "%s.strategy: maxSurge and maxUnavailable are both 0, so nothing could ever be replaced." $component) -}}
  {{- end -}}
{{- end -}}
{{- if lt (int .Values.app.shutdownTimeoutSeconds) (add (int .Values.app.drainDelaySeconds) 2 | int) -}}
  {{- $problems = append $problems (printf "app.shutdownTimeoutSeconds=%v is less than app.drainDelaySeconds=%v, which is part of it, and 2 for running requests to finish." .Values.app.shutdownTimeoutSeconds .Values.app.drainDelaySeconds) -}}
{{- end -}}
{{- range .Values.app.extraEnv -}}
  {{- if eq .name "TRIPTYCH_SHUTDOWN_TIMEOUT" "TRIPTYCH_DRAIN_DELAY" -}}
    {{- $problems = append $problems (printf "app.extraEnv with %s: the grace period would not fit. Set app.shutdownTimeoutSeconds and app.drainDelaySeconds." .name) -}}
  {{- end -}}
  {{- if eq .name "TRIPTYCH_DECODERS" -}}
    {{- $problems = append $problems "app.extraEnv with TRIPTYCH_DECODERS: nothing would compare it with the memory. Set app.decoders." -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) (ne .Values.ingress.controller "none") -}}
  {{- $problems = append $problems (printf "ingress.enabled without ingress.host: the controller %q needs a host name." .Values.ingress.controller) -}}
{{- end -}}
{{- if and .Values.ingress.enabled .Values.ingress.tls.enabled (not .Values.ingress.host) (eq .Values.ingress.controller "none") -}}
  {{- $problems = append $problems "ingress.tls.enabled without ingress.host: a certificate is for a host name." -}}
{{- end -}}
{{- if and .Values.ingress.enabled (contains "*" .Values.ingress.host) (not .Values.publicUrl) -}}
  {{- $problems = append $problems (printf "ingress.host=%s without publicUrl: forms are accepted from one address only. Set publicUrl." .Values.ingress.host) -}}
{{- end -}}
{{- if .Values.httpRoute.enabled -}}
  {{- if not .Values.publicUrl -}}
    {{- $problems = append $problems "httpRoute.enabled without publicUrl: only the gateway knows whether the board is at http or https. Set publicUrl to what visitors type." -}}
  {{- end -}}
  {{- if not .Values.httpRoute.parentRefs -}}
    {{- $problems = append $problems "httpRoute.enabled without httpRoute.parentRefs: name the gateway." -}}
  {{- end -}}
{{- end -}}
{{- if not .Values.postgresql.enabled -}}
  {{- if not .Values.externalDatabase.existingSecret -}}
    {{- $problems = append $problems "postgresql.enabled=false without externalDatabase.existingSecret: name the Secret that holds the address of the database." -}}
  {{- end -}}
{{- else -}}
  {{- if or .Values.externalDatabase.existingSecret .Values.externalDatabase.ownerSecret -}}
    {{- $problems = append $problems "externalDatabase.existingSecret or externalDatabase.ownerSecret with postgresql.enabled=true: which of the two? Set postgresql.enabled to false." -}}
  {{- end -}}
  {{- if .Values.migrations.hook.enabled -}}
    {{- $problems = append $problems "migrations.hook.enabled with postgresql.enabled=true: the hook would run before the bundled Postgres is upgraded. The init container does this work." -}}
  {{- end -}}
{{- end -}}
{{- if not .Values.minio.enabled -}}
  {{- if not .Values.s3.endpoint -}}
    {{- $problems = append $problems "minio.enabled=false without s3.endpoint: where is the S3 server?" -}}
  {{- end -}}
  {{- if not .Values.s3.existingSecret -}}
    {{- $problems = append $problems "minio.enabled=false without s3.existingSecret: name the Secret that holds the access key." -}}
  {{- end -}}
{{- else -}}
  {{- if or .Values.s3.endpoint .Values.s3.existingSecret -}}
    {{- $problems = append $problems "s3.endpoint or s3.existingSecret with minio.enabled=true: which of the two? Set minio.enabled to false." -}}
  {{- end -}}
  {{- if .Values.migrations.hook.enabled -}}
    {{- $problems = append $problems "migrations.hook.enabled with minio.enabled=true: the hook would run before the bundled MinIO is upgraded. The init container does this work." -}}
  {{- end -}}
{{- end -}}
{{- if and (eq .Values.ipFamilyPolicy "RequireDualStack" "PreferDualStack") (not (hasPrefix "[" .Values.listenAddress)) -}}
  {{- $problems = append $problems (printf "ipFamilyPolicy=%s with listenAddress=%s: nobody would listen on IPv6. Set listenAddress to \"[::]\"." .Values.ipFamilyPolicy .Values.listenAddress) -}}
{{- end -}}
{{- if and .Values.metrics.prometheusRule.enabled (not .Values.metrics.serviceMonitor.enabled) -}}
  {{- $problems = append $problems "metrics.prometheusRule.enabled without metrics.serviceMonitor.enabled: its alerts ask for series that nobody would make." -}}
{{- end -}}
{{- $memory := ((.Values.app.resources | default dict).limits | default dict).memory -}}
{{- if not (kindIs "invalid" $memory) -}}
  {{- $there := include "triptych.bytes" $memory -}}
  {{- $uploads := include "triptych.uploadMemoryMiB" . | int -}}
  {{- /* Decoding takes 170 MiB a picture, an event stream 20 KiB. In the 128: the program 36, pages 32, texts 16, and connections that send, half a MiB each. */ -}}
  {{- $decoders := int .Values.app.decoders -}}
  {{- $streams := div (add (mul 20 (int .Values.app.streams.max)) 1023) 1024 -}}
  {{- $needed := add $uploads (mul 170 $decoders) $streams 128 -}}
  {{- if not $there -}}
    {{- $problems = append $problems (printf "app.resources.limits.memory=%v is no amount of memory, such as 768Mi." $memory) -}}
  {{- else if lt (float64 $there) (mulf $needed 1048576) -}}
    {{- $problems = append $problems (printf "app.resources.limits.memory=%v is too little: %d MiB for uploads (limits.files × limits.fileSize, and limits.fileSize once more; 96 at the least), 170 for each of app.decoders=%d, %d for app.streams.max, and 128 for everything else are %dMi." $memory $uploads $decoders $streams $needed) -}}
  {{- end -}}
{{- end -}}
{{- $disk := .Values.web.resources | default dict -}}
{{- $cache := int .Values.web.cacheSizeMiB -}}
{{- $spool := include "triptych.uploadSpoolMiB" . | int -}}
{{- /* The emptyDirs of templates/web/deployment.yaml, and what a kubelet that keeps five files of 50 MiB keeps of its output. */ -}}
{{- $needed := add $cache $spool 512 64 256 -}}
{{- range $of, $least := dict "limits" $needed "requests" $cache -}}
  {{- $amount := index (index $disk $of | default dict) "ephemeral-storage" -}}
  {{- if not (kindIs "invalid" $amount) -}}
    {{- $there := include "triptych.bytes" $amount -}}
    {{- if not $there -}}
      {{- $problems = append $problems (printf "web.resources.%s.ephemeral-storage=%v is no amount of storage, such as 2Gi." $of $amount) -}}
    {{- else if lt (float64 $there) (mulf $least 1048576) -}}
      {{- if eq $of "limits" -}}
        {{- $problems = append $problems (printf "web.resources.limits.ephemeral-storage=%v is too little: web.cacheSizeMiB=%d, %d MiB for web.uploads.max=%d of the largest uploads, 512 for what is on its way, 64 for temporary files and 256 for logs are %dMi. The pod would be evicted." $amount $cache $spool (int $.Values.web.uploads.max) $needed) -}}
      {{- else -}}
        {{- $problems = append $problems (printf "web.resources.requests.ephemeral-storage=%v is less than web.cacheSizeMiB=%d: a node that runs out of disk evicts those first that take more than they asked for." $amount $cache) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $slugs := list -}}
{{- range .Values.boards -}}
  {{- if has .slug $slugs -}}
    {{- $problems = append $problems (printf "boards: %q is there twice." .slug) -}}
  {{- end -}}
  {{- $slugs = append $slugs .slug -}}
{{- end -}}
{{- range $problems }}
  - {{ . }}
{{- end -}}
{{- end -}}
