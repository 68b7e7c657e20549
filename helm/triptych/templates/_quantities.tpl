{{/*
Bytes of an amount as Kubernetes writes them: 1.5Gi, 1536Mi, 2G, 900000k, 1e9, 1610612736, also as a number of YAML. Empty for
what is none, or less than nothing.
*/}}
{{- define "triptych.bytes" -}}
{{- $units := dict
  "n" 0.000000001 "u" 0.000001 "m" 0.001 "" 1
  "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "P" 1000000000000000 "E" 1000000000000000000
  "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976
-}}
{{- $text := toString . -}}
{{- if regexMatch `^\+?([0-9]+\.?[0-9]*|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]+)?$` $text -}}
{{- /* An exponent belongs to the number; `1E` has none, it is an exabyte. */ -}}
{{- $number := regexFind `^\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?` $text -}}
{{- mulf (float64 $number) (get $units (trimPrefix $number $text)) | printf "%.0f" -}}
{{- end -}}
{{- end -}}
