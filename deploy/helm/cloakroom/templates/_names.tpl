{{- define "cloakroom.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* The longest suffix is "-services". */}}
{{- define "cloakroom.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "cloakroom.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "cloakroom.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "cloakroom.selector" -}}
app.kubernetes.io/name: {{ include "cloakroom.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cloakroom.labels" -}}
{{ include "cloakroom.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* The Deployments there are, as a list of halves: "both", or "browser" and "services". */}}
{{- define "cloakroom.halves" -}}
{{- if eq .Values.halves "apart" }}[browser, services]{{ else }}[both]{{ end -}}
{{- end -}}

{{/* What a half's objects are called. */}}
{{- define "cloakroom.half.name" -}}
{{- include "cloakroom.fullname" .root }}{{ if ne .half "both" }}-{{ .half }}{{ end -}}
{{- end -}}

{{- define "cloakroom.half.selector" -}}
{{ include "cloakroom.selector" .root }}
app.kubernetes.io/component: {{ .half }}
{{- end -}}

{{/* The half's values: the common ones, and its own over them. */}}
{{- define "cloakroom.half.values" -}}
{{- $common := pick .root.Values "replicas" "autoscaling" "podDisruptionBudget" "resources" "topologySpreadConstraints" "nodeSelector" "tolerations" "affinity" "priorityClassName" "podLabels" "podAnnotations" -}}
{{- mergeOverwrite (deepCopy $common) (deepCopy (get .root.Values .half | default dict)) | toYaml -}}
{{- end -}}

{{- define "cloakroom.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "cloakroom.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* An image's reference, of a dict with repository, tag and digest. */}}
{{- define "cloakroom.image" -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag }}{{- end -}}
{{- end -}}

{{- define "cloakroom.host" -}}
{{- (urlParse .Values.config.public.url).hostname -}}
{{- end -}}

{{/* nine tenths of a quantity, in bytes */}}
{{- define "cloakroom.memoryLimit" -}}
{{- $quantity := toString . -}}
{{- $units := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "k" 1000 "M" 1000000 "G" 1000000000 -}}
{{- $unit := regexFind "[A-Za-z]+$" $quantity -}}
{{- $number := trimSuffix $unit $quantity | int64 -}}
{{- div (mul $number (get $units $unit | default 1) 9) 10 -}}
{{- end -}}
