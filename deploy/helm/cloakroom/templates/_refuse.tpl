{{/* What the schema cannot tell: values that contradict one another. */}}
{{- define "cloakroom.refuse" -}}
{{- $providers := .Values.config.providers -}}
{{- if and (gt (len $providers) 1) (not .Values.defaultProvider) -}}
{{- fail "defaultProvider: say which of config.providers /bff/login begins with; Helm keeps no order of keys" -}}
{{- end -}}
{{- if and .Values.defaultProvider (not (hasKey $providers .Values.defaultProvider)) -}}
{{- fail (printf "defaultProvider: %s is not in config.providers" .Values.defaultProvider) -}}
{{- end -}}
{{- $memory := hasPrefix "memory:" .Values.config.store.url -}}
{{- range $half := include "cloakroom.halves" . | fromYamlArray -}}
{{- $pods := include "cloakroom.half.values" (dict "root" $ "half" $half) | fromYaml -}}
{{- $scaled := $pods.autoscaling -}}
{{- if and $memory (or (eq $.Values.halves "apart") $scaled.enabled (gt (int $pods.replicas) 1)) -}}
{{- fail "config.store.url: memory is one pod's own: name a Redis, or set replicas: 1, autoscaling.enabled: false and halves: together" -}}
{{- end -}}
{{- if and $scaled.enabled (not $scaled.cpu) (not $scaled.memory) -}}
{{- fail "autoscaling: set cpu or memory: by neither nothing would be scaled" -}}
{{- end -}}
{{- if and $scaled.enabled (gt (int $scaled.minReplicas) (int $scaled.maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas: %d is more than maxReplicas, %d" (int $scaled.minReplicas) (int $scaled.maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- if has .Values.secret.adminToken .Values.secret.seals -}}
{{- fail "secret.adminToken: is one of secret.seals, so whoever has the operators' token could make sessions: give it a key of its own" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.adminFrom) -}}
{{- fail "networkPolicy.adminFrom: is empty, so Prometheus could not reach what serviceMonitor tells it to: name where it comes from" -}}
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
