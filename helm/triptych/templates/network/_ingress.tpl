{{/*
What a controller has to know, in its own words. Nothing about buffers: it collects pages, so that a slow reader keeps no
replica waiting, and sends event streams on as they come, because the replicas say `X-Accel-Buffering: no` with these.
*/}}
{{- define "triptych.ingressAnnotations.f5" -}}
# A little more than the application takes, so that its own page is what people meet.
nginx.org/client-max-body-size: {{ include "triptych.proxyBodyMiB" . }}m
# A pod that went away without a word answers nothing: ask another soon.
nginx.org/proxy-connect-timeout: 2s
# Between two reads. A replica says something on every event stream each 20 s.
nginx.org/proxy-read-timeout: 60s
nginx.org/proxy-send-timeout: 60s
# Pods are taken out by Kubernetes. nginx that has counted out all of them in one second answers 502 with living pods behind it.
nginx.org/max-fails: "0"
{{- end -}}

{{- define "triptych.ingressAnnotations.ingress-nginx" -}}
nginx.ingress.kubernetes.io/proxy-body-size: {{ include "triptych.proxyBodyMiB" . }}m
nginx.ingress.kubernetes.io/proxy-connect-timeout: "2"
# As above.
nginx.ingress.kubernetes.io/proxy-read-timeout: "60"
nginx.ingress.kubernetes.io/proxy-send-timeout: "60"
nginx.ingress.kubernetes.io/ssl-redirect: {{ .Values.ingress.tls.enabled | quote }}
{{- end -}}

{{- define "triptych.ingressAnnotations.none" -}}
{{- end -}}
