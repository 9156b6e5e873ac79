{{/* The port of a service, as the program has it by default. */}}
{{- define "highwater.port" -}}
{{ get (dict "activity" 8000 "users" 5001 "orders" 5002) . }}
{{- end }}

{{/* The files of a part of the values, those of all services among them, as JSON: (list context part). */}}
{{- define "highwater.files" -}}
{{- $values := (index . 0).Values -}}
{{ mergeOverwrite (deepCopy $values.secretFiles) (get (get $values (index . 1)) "secretFiles") | toJson }}
{{- end }}

{{/*
The settings of a part of the values, those of all services among them, as JSON of texts: (list context part). YAML takes
yes for true, and Go writes 2000000 as 2e+06.
*/}}
{{- define "highwater.settings" -}}
{{- $values := (index . 0).Values -}}
{{- $settings := dict -}}
{{- range list $values.settings (get (get $values (index . 1)) "settings") -}}
{{- range $name, $value := . -}}
{{- if kindIs "bool" $value }}{{ $value = ternary "yes" "no" $value }}{{ end -}}
{{- $_ := set $settings $name (kindIs "string" $value | ternary $value (toJson $value)) -}}
{{- end -}}
{{- end -}}
{{ toJson $settings }}
{{- end }}

{{/* All variables of a service: (list context service). */}}
{{- define "highwater.variables" -}}
{{- $context := index . 0 -}}
{{- $service := index . 1 -}}
{{- $settings := include "highwater.settings" . | fromJson -}}
{{- $files := include "highwater.files" . | fromJson -}}
{{- if not (hasKey $settings "KAFKA_BROKERS") }}{{ fail "settings.KAFKA_BROKERS: the addresses of Kafka are required" }}{{ end -}}
{{- $values := dict "DRAIN_DELAY" "drainSeconds" "SHUTDOWN_TIMEOUT" "shutdownSeconds" -}}
{{- range $name := list "DRAIN_DELAY" "SHUTDOWN_TIMEOUT" "PORT" "USERS_PORT" "ORDERS_PORT" "OPS_PORT" -}}
{{- if hasKey $settings $name }}{{ fail (printf "settings.%s: %s sets it" $name (get $values $name | default "the chart")) }}{{ end -}}
{{- end -}}
{{- range $name, $_ := $files -}}
{{- if hasKey $settings $name }}{{ fail (printf "secretFiles.%s: settings have it, too" $name) }}{{ end -}}
{{- end -}}
{{- if gt (mul 2 $context.Values.drainSeconds) (int $context.Values.shutdownSeconds) }}{{ fail "drainSeconds: at most half of shutdownSeconds" }}{{ end -}}
{{- $own := dict "OPS_PORT" "9000" "DRAIN_DELAY" (printf "%vs" $context.Values.drainSeconds) "SHUTDOWN_TIMEOUT" (printf "%vs" $context.Values.shutdownSeconds) -}}
{{- if eq $service "activity" -}}
{{- if $context.Values.migrate.enabled }}{{ $_ := set $own "STORE_MIGRATE" "no" }}{{ end -}}
{{- /* Longer than a pod needs to be back, or its partitions move all the same. */ -}}
{{- $membership := ternary (dict "KAFKA_SESSION_TIMEOUT" "30s") (dict "GROUP_ON_STOP" "leave") $context.Values.activity.staticMembership -}}
{{- $own = merge $own $membership -}}
{{- end -}}
{{- range $name, $value := mergeOverwrite (dict) $own $settings }}
- { name: {{ $name }}, value: {{ $value | quote }} }
{{- end }}
{{- if and (eq $service "activity") $context.Values.activity.staticMembership (not (hasKey $settings "KAFKA_GROUP_INSTANCE_ID")) }}
- { name: KAFKA_GROUP_INSTANCE_ID, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
{{- end }}
{{- include "highwater.fileVariables" $files }}
{{- with $context.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The variables that name files: files. */}}
{{- define "highwater.fileVariables" -}}
{{- range $name, $_ := . }}
- { name: {{ $name }}, value: /etc/highwater/{{ $name }} }
{{- end }}
{{- end }}

{{/* The mount and the volume of files: files. One volume for all, so that a certificate and its key change together. */}}
{{- define "highwater.fileMounts" -}}
{{- if . }}
volumeMounts:
  - { name: files, mountPath: /etc/highwater, readOnly: true }
{{- end }}
{{- end }}
{{- define "highwater.fileVolumes" -}}
{{- if . }}
volumes:
  - name: files
    projected:
      defaultMode: 0440
      sources:
        {{- range $name, $file := . }}
        - secret: { name: {{ $file.secret | quote }}, items: [{ key: {{ $file.key | quote }}, path: {{ $name }} }] }
        {{- end }}
{{- end }}
{{- end }}
