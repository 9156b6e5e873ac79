{{/* What all pods have, in the restricted pod security standard. */}}
{{- define "highwater.podBasics" -}}
automountServiceAccountToken: false
# Kubernetes' own variables (ORDERS_PORT=tcp://…) have the names of settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: { type: RuntimeDefault }
{{- range $field := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with get $.Values $field }}
{{ $field }}: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* What all containers have. */}}
{{- define "highwater.containerBasics" -}}
image: {{ include "highwater.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{/* The pods of a service: (list context service). */}}
{{- define "highwater.pod" -}}
{{- $context := index . 0 -}}
{{- $service := index . 1 -}}
{{- $values := get $context.Values $service -}}
{{- $files := include "highwater.files" . | fromJson -}}
metadata:
  labels:
    {{- include "highwater.labels" . | nindent 4 }}
    {{- with $context.Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- with $context.Values.podAnnotations }}
  annotations: {{ toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "highwater.podBasics" $context | nindent 2 }}
  serviceAccountName: {{ include "highwater.serviceAccount" $context | quote }}
  # It counts from before preStop, and the program needs a moment to end.
  terminationGracePeriodSeconds: {{ add $context.Values.preStopSeconds $context.Values.shutdownSeconds 5 }}
  {{- with $context.Values.topologySpread }}
  {{- if .enabled }}
  topologySpreadConstraints:
    {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: {{ $context.Values.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels: {{ include "highwater.selector" (list $context $service) | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- end }}
  containers:
    - name: {{ $service }}
      {{- include "highwater.containerBasics" $context | nindent 6 }}
      {{- if ne $service "activity" }}
      args: [{{ $service }}]
      {{- end }}
      env: {{ include "highwater.variables" . | trim | nindent 8 }}
      ports:
        - { name: http, containerPort: {{ include "highwater.port" $service }} }
        - { name: ops, containerPort: 9000 }
      # A process that answers is alive. It is ready once it has Kafka and has caught up, however long that takes.
      startupProbe:
        httpGet: { path: /health, port: ops }
        periodSeconds: 1
        failureThreshold: 60
      livenessProbe:
        httpGet: { path: /health, port: ops }
        periodSeconds: 10
        timeoutSeconds: 3
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: /ready, port: ops }
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 1
      {{- with $context.Values.preStopSeconds }}
      lifecycle:
        preStop: { sleep: { seconds: {{ . }} } }
      {{- end }}
      resources: {{ toYaml $values.resources | nindent 8 }}
      {{- include "highwater.fileMounts" $files | indent 6 }}
  {{- include "highwater.fileVolumes" $files | indent 2 }}
{{- end }}
