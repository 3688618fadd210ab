{{- define "perouter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Shorter than 63 characters: suffixes such as -controller and -node-status are added. */}}
{{- define "perouter.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- else }}
{{- $name := include "perouter.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 45 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "perouter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "perouter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "perouter.labels" -}}
{{ include "perouter.selectorLabels" . }}
app.kubernetes.io/part-of: openperouter
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "perouter.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "perouter.router.serviceAccountName" -}}
{{- if .Values.router.serviceAccount.create }}
{{- .Values.router.serviceAccount.name | default (printf "%s-router" (include "perouter.fullname" .)) }}
{{- else }}
{{- .Values.router.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "perouter.controller.serviceAccountName" -}}
{{- if .Values.controller.serviceAccount.create }}
{{- .Values.controller.serviceAccount.name | default (printf "%s-controller" (include "perouter.fullname" .)) }}
{{- else }}
{{- .Values.controller.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{/* The begin of a probe's request: `{host: H, port: P`. */}}
{{- define "perouter.router.http" -}}
{host: 127.0.0.1, port: {{ .Values.router.port }}
{{- end }}

{{- define "perouter.controller.http" -}}
{ {{- if not .Values.metrics.enabled }}host: 127.0.0.1, {{ end }}port: {{ .Values.controller.port }}
{{- end }}
