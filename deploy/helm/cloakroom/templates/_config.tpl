{{/* Cloakroom's configuration of one half: the values' config, and what the chart sets. */}}
{{- define "cloakroom.config" -}}
{{- $root := .root -}}
{{- $half := .half -}}
{{- $ports := $root.Values.ports -}}
{{- $file := deepCopy $root.Values.config -}}

{{- $public := get $file "public" -}}
{{- if eq $half "services" -}}
{{- $_ := set $public "listen" "off" -}}
{{- else -}}
{{- $_ := set $public "listen" (printf ":%d" (int $ports.public)) -}}
{{- if $root.Values.tls.public.secret -}}
{{- $_ := set $public "tls" (dict "cert_file" "/etc/cloakroom/tls/public/tls.crt" "key_file" "/etc/cloakroom/tls/public/tls.key") -}}
{{- end -}}
{{- end -}}

{{- $internal := get $file "internal" | default dict -}}
{{- $_ := set $file "internal" $internal -}}
{{- $_ := set $internal "url" (include "cloakroom.internalURL" $root) -}}
{{- if eq $half "browser" -}}
{{- $_ := set $internal "listen" "off" -}}
{{- $_ := unset $internal "tls" -}}
{{- else -}}
{{- $_ := set $internal "listen" (printf ":%d" (int $ports.internal)) -}}
{{- if $root.Values.tls.internal.secret -}}
{{- $_ := set $internal "tls" (merge (dict "cert_file" "/etc/cloakroom/tls/internal/tls.crt" "key_file" "/etc/cloakroom/tls/internal/tls.key") (get $internal "tls" | default dict)) -}}
{{- end -}}
{{- end -}}

{{- /* The kubelet's probes come from the node's address: on loopback nothing would hear them. */ -}}
{{- $_ := set $file "admin" (dict "listen" (printf ":%d" (int $ports.admin)) "token" (printf "${file:/etc/cloakroom/secrets/%s}" $root.Values.secret.adminToken)) -}}

{{- $seals := list -}}
{{- range $root.Values.secret.seals -}}
{{- $seals = append $seals (printf "${file:/etc/cloakroom/secrets/%s}" .) -}}
{{- end -}}
{{- $_ := set $file "secrets" $seals -}}
{{- $_ := set $file "drain" (dict "delay" (printf "%ds" (int $root.Values.drain.delaySeconds)) "timeout" (printf "%ds" (int $root.Values.drain.timeoutSeconds))) -}}

{{- if and (ne $half "services") (include "cloakroom.spa" $root) -}}
{{- $app := merge (dict "path" $root.Values.spa.path "spa" "/srv/spa") $root.Values.spa.route -}}
{{- $_ := set $file "routes" (append (get $file "routes" | default list) $app) -}}
{{- end -}}

{{- $providers := get $file "providers" -}}
{{- $_ := unset $file "providers" -}}
{{- $default := $root.Values.defaultProvider | default (first (keys $providers)) -}}
{{ toYaml $file }}
providers: # the first is the default
{{ dict $default (get $providers $default) | toYaml | indent 2 }}
{{- with omit $providers $default }}
{{ toYaml . | indent 2 }}
{{- end }}
{{- end -}}

{{/* Where the app's files come from: "image", "configMap", or nothing. */}}
{{- define "cloakroom.spa" -}}
{{- if .Values.spa.image.repository -}}image{{- else if .Values.spa.configMap -}}configMap{{- end -}}
{{- end -}}

{{/* Where services reach the exchange; it signs by that name, unless exchange.issuer says another. */}}
{{- define "cloakroom.internalURL" -}}
{{- $given := (.Values.config.internal | default dict).url -}}
{{- $scheme := ternary "https" "http" (not (empty .Values.tls.internal.secret)) -}}
{{- $given | default (printf "%s://%s-internal.%s.svc:%d" $scheme (include "cloakroom.fullname" .) .Release.Namespace (int .Values.service.internal.port)) -}}
{{- end -}}
