{{/* What the schema cannot tell: values that contradict one another. */}}
{{- define "cloakroom.refuse" -}}
{{- $providers := .Values.config.providers -}}
{{- if and (gt (len $providers) 1) (not .Values.defaultProvider) -}}
{{- fail "defaultProvider: say which of config.providers /bff/login begins with; Helm keeps no order of keys" -}}
{{- end -}}
{{- if and .Values.defaultProvider (not (hasKey $providers .Values.defaultProvider)) -}}
{{- fail (printf "defaultProvider: %s is not in config.providers" .Values.defaultProvider) -}}
{{- end -}}
{{- if hasPrefix "memory:" .Values.config.store.url -}}
{{- range $half := include "cloakroom.halves" . | fromYamlArray -}}
{{- $pods := include "cloakroom.half.values" (dict "root" $ "half" $half) | fromYaml -}}
{{- if or (eq $.Values.halves "apart") $pods.autoscaling.enabled (gt (int $pods.replicas) 1) -}}
{{- fail "config.store.url: memory is one pod's own: name a Redis, or set replicas: 1, autoscaling.enabled: false and halves: together" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.spa.image.repository .Values.spa.configMap -}}
{{- fail "spa: set either spa.image.repository or spa.configMap: the files come from one place" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled .Values.tls.public.secret (not .Values.httpRoute.backendAuthorities) -}}
{{- fail "httpRoute.backendAuthorities: name the ConfigMap whose ca.crt signed tls.public, or the Gateway would speak plain HTTP to a TLS port" -}}
{{- end -}}
{{- if not .Values.tls.internal.secret -}}
{{- if hasKey (.Values.config.internal | default dict) "tls" -}}
{{- if .Values.config.internal.tls.client_ca_file -}}
{{- fail "config.internal.tls.client_ca_file: needs tls.internal.secret, the listener's own certificate" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
