{{/* Short enough for the longest label that Kubernetes makes of it, NAME-activity-HASH of a StatefulSet's pods. */}}
{{- define "highwater.name" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{ $name | trunc 43 | trimSuffix "-" }}
{{- end }}

{{- define "highwater.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "highwater.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "highwater.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* The labels that select the pods of a service: (list context service). */}}
{{- define "highwater.selector" -}}
app.kubernetes.io/name: highwater
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "highwater.labels" -}}
{{- $context := index . 0 -}}
{{ include "highwater.selector" . }}
app.kubernetes.io/version: {{ $context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $context.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $context.Chart.Name $context.Chart.Version }}
{{- end }}

{{/* The services that run, with a comma between them. */}}
{{- define "highwater.services" -}}
activity{{ if .Values.users.enabled }},users{{ end }}{{ if .Values.orders.enabled }},orders{{ end }}
{{- end }}

{{/* The job of a service in Prometheus: (list context service). Alerts need a name that begins with highwater. */}}
{{- define "highwater.job" -}}
{{- $context := index . 0 -}}
highwater/{{ $context.Release.Namespace }}/{{ include "highwater.name" $context }}-{{ index . 1 }}
{{- end }}
