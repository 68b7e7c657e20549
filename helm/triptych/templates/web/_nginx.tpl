{{/* nginx's files: the template that the local stack and its tests use too, with the values of a cluster filled in. */}}
{{- define "triptych.nginx" -}}
{{- $listen := printf "%s:8080" .Values.listenAddress -}}
{{- if hasPrefix "[" .Values.listenAddress }}{{ $listen = printf "%s ipv6only=off" $listen }}{{ end -}}
{{- /* Written three times: nginx asks another server when one fails, and behind each is the Service, which picks any pod, perhaps the same. */ -}}
{{- $replicas := printf "server %s-app:80 max_fails=0;" (include "triptych.fullname" .) -}}
{{- $values := dict
  "WORKERS" .Values.web.workerProcesses
  "OPEN_FILES" 32768
  "SHUTDOWN_TIMEOUT" (printf "%ds" (int .Values.web.shutdownTimeoutSeconds))
  "LISTEN" $listen
  "REPLICAS" (printf "%s\n        %s\n        %s" $replicas $replicas $replicas)
  "MAX_BODY" (mul (include "triptych.proxyBodyMiB" . | int) 1048576)
  "CACHE_SIZE" (printf "%dm" (int .Values.web.cacheSizeMiB))
  "CACHE_AGE" .Values.web.cacheAge
  "PICTURE_VALIDITY" "30s"
  "BODY_TIMEOUT" "15s"
  "BODIES" (int .Values.web.uploads.max)
  "BODIES_PER_ADDRESS" (int .Values.web.uploads.perAddress)
  "STATE" "/var/cache/triptych"
  "EXTRA" "/etc/triptych/extra"
  "ERRORS" "/etc/triptych/errors"
  "ASSETS" "/usr/share/nginx/html"
  "ACCESS_LOG" "/dev/stdout"
  "ERROR_LOG" "stderr"
-}}
{{- $text := .Files.Get "files/nginx/nginx.conf.template" -}}
{{- range $name, $value := $values }}{{ $text = replace (printf "${%s}" $name) (toString $value) $text }}{{ end -}}
nginx.conf: |
  {{- $text | trim | nindent 2 }}
# At a reload or an orderly end, connections that are idle are kept for a moment: a request that is on its way into one
# is answered.
newer.conf: |
  keepalive_min_timeout 10s;
# Who asks, where a controller or a load balancer asks for them: for limits by address. The application finds out by itself.
real-ip.conf: |
  {{- range .Values.trustedProxies }}
  set_real_ip_from {{ . }};
  {{- end }}
  real_ip_header X-Forwarded-For;
  real_ip_recursive on;
# In memory, for the meter. A line waits for a second at the most; when there is no room it is lost, and nothing waits.
traffic.conf: |
  access_log /var/lib/triptych/traffic/lines traffic buffer=64k flush=1s if=$counted_here;
errors.conf: |
  {{- .Files.Get "files/nginx/errors.conf" | trim | nindent 2 }}
page.html: |
  {{- .Files.Get "files/nginx/nginx-error/page.html" | trim | nindent 2 }}
problem.json: |
  {{- .Files.Get "files/nginx/nginx-error/problem.json" | trim | nindent 2 }}
{{- end -}}
