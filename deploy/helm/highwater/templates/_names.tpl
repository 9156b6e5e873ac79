{{- define "highwater.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "highwater.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "highwater.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "highwater.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The labels that select the pods of a service: (list context service). */}}
{{- define "highwater.selector" -}}
{{- $context := index . 0 -}}
app.kubernetes.io/name: highwater
app.kubernetes.io/instance: {{ $context.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "highwater.labels" -}}
{{- $context := index . 0 -}}
{{ include "highwater.selector" . }}
app.kubernetes.io/version: {{ $context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $context.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $context.Chart.Name $context.Chart.Version }}
{{- end }}

{{/* The services that run, as a comma-separated text. */}}
{{- define "highwater.services" -}}
activity{{ if .Values.users.enabled }},users{{ end }}{{ if .Values.orders.enabled }},orders{{ end }}
{{- end }}

{{- define "highwater.port" -}}
{{- get (dict "activity" 8000 "users" 5001 "orders" 5002) . -}}
{{- end }}

{{/* http, or HTTPS where the services have a certificate. */}}
{{- define "highwater.scheme" -}}
{{- if or (hasKey .Values.secretFiles "HTTPS_CERTIFICATE") (hasKey .Values.settings "HTTPS_CERTIFICATE") }}HTTPS{{ else }}HTTP{{ end }}
{{- end }}

{{/* The restricted pod security standard. */}}
{{- define "highwater.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end }}
{{- define "highwater.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* The variables of the files that Secrets hold. */}}
{{- define "highwater.fileVariables" -}}
{{- range $name, $file := .Values.secretFiles }}
- { name: {{ $name }}, value: /etc/highwater/{{ $name }}/{{ required (printf "secretFiles.%s.key" $name) $file.key }} }
{{- end }}
{{- end }}
{{- define "highwater.fileMounts" -}}
{{- range $name, $file := .Values.secretFiles }}
- { name: {{ $name | lower | replace "_" "-" }}, mountPath: /etc/highwater/{{ $name }}, readOnly: true }
{{- end }}
{{- end }}
{{- define "highwater.fileVolumes" -}}
{{- range $name, $file := .Values.secretFiles }}
- name: {{ $name | lower | replace "_" "-" }}
  secret:
    secretName: {{ required (printf "secretFiles.%s.secret" $name) $file.secret }}
    # Not subPath: a Secret that changes must arrive, and the service reads its files again.
    items: [{ key: {{ $file.key }}, path: {{ $file.key }} }]
    defaultMode: 0440
{{- end }}
{{- end }}

{{/* The variables of a service: (list context service). */}}
{{- define "highwater.variables" -}}
{{- $context := index . 0 -}}
{{- $service := index . 1 -}}
{{- $values := get $context.Values $service -}}
{{- $settings := merge (dict) $values.settings $context.Values.settings -}}
{{- if not (hasKey $settings "KAFKA_BROKERS") }}{{ fail "settings.KAFKA_BROKERS: the addresses of Kafka are required" }}{{ end }}
{{- $own := dict "HOST" "0.0.0.0" "PORT" "8000" "USERS_PORT" "5001" "ORDERS_PORT" "5002" -}}
{{- $_ := set $own "DRAIN_DELAY" (printf "%vs" $context.Values.drainSeconds) -}}
{{- $_ := set $own "SHUTDOWN_TIMEOUT" (printf "%vs" $context.Values.shutdownSeconds) -}}
{{- if and (eq $service "activity") $context.Values.migrate.enabled }}{{ $_ := set $own "STORE_MIGRATE" "no" }}{{ end }}
{{- if and (eq $service "activity") (not $values.staticMembership) }}{{ $_ := set $own "GROUP_ON_STOP" "leave" }}{{ end }}
{{- range $name, $value := merge (dict) $settings $own }}
- { name: {{ $name }}, value: {{ $value | toString | quote }} }
{{- end }}
{{- if and (eq $service "activity") $values.staticMembership (not (hasKey $settings "KAFKA_GROUP_INSTANCE_ID")) }}
- name: KAFKA_GROUP_INSTANCE_ID
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
{{- end }}
{{ include "highwater.fileVariables" $context }}
{{- end }}

{{/* The pods of a service: (list context service). */}}
{{- define "highwater.pod" -}}
{{- $context := index . 0 -}}
{{- $service := index . 1 -}}
{{- $values := get $context.Values $service -}}
{{- $scheme := include "highwater.scheme" $context -}}
metadata:
  labels:
    {{- include "highwater.labels" . | nindent 4 }}
    {{- with $context.Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- with $context.Values.podAnnotations }}
  annotations: {{ toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "highwater.serviceAccount" $context }}
  automountServiceAccountToken: false
  # Kubernetes' own variables (ORDERS_PORT=tcp://…) have the names of settings.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add $context.Values.shutdownSeconds $context.Values.preStopSeconds 5 }}
  securityContext: {{ include "highwater.podSecurity" $context | nindent 4 }}
  {{- with $context.Values.imagePullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- if $context.Values.topologySpread.enabled }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: {{ $context.Values.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels: {{ include "highwater.selector" (list $context $service) | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- with $context.Values.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $context.Values.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ $service }}
      image: {{ include "highwater.image" $context }}
      imagePullPolicy: {{ $context.Values.image.pullPolicy }}
      {{- if ne $service "activity" }}
      args: [{{ $service }}]
      {{- end }}
      env: {{ include "highwater.variables" . | trim | nindent 8 }}
      ports:
        - { name: http, containerPort: {{ include "highwater.port" $service }} }
      # Alive is a process that answers; it is ready once it has Kafka.
      startupProbe:
        httpGet: { path: /health, port: http, scheme: {{ $scheme }} }
        periodSeconds: 1
        failureThreshold: 60
      livenessProbe:
        httpGet: { path: /health, port: http, scheme: {{ $scheme }} }
        periodSeconds: 10
        timeoutSeconds: 3
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: /ready, port: http, scheme: {{ $scheme }} }
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 1
      {{- if $context.Values.preStopSeconds }}
      lifecycle:
        preStop: { sleep: { seconds: {{ $context.Values.preStopSeconds }} } }
      {{- end }}
      resources: {{ toYaml $values.resources | nindent 8 }}
      securityContext: {{ include "highwater.containerSecurity" $context | nindent 8 }}
      {{- with include "highwater.fileMounts" $context | trim }}
      volumeMounts: {{ . | nindent 8 }}
      {{- end }}
  {{- with include "highwater.fileVolumes" $context | trim }}
  volumes: {{ . | nindent 4 }}
  {{- end }}
{{- end }}
