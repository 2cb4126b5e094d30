{{/*
The name of every object of the release. Routers' objects are called model-router-ROUTER, so a name
that starts the same could meet one of them.
*/}}
{{- define "model-router.name" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $name = ternary .Release.Name (printf "%s-model-router" .Release.Name) (contains "model-router" .Release.Name) -}}
{{- end -}}
{{- if hasPrefix "model-router-" $name -}}
{{- fail (printf "the operator's objects would be called %q, and a router's objects are called model-router-ROUTER: set fullnameOverride to a name that does not start with model-router-" $name) -}}
{{- end -}}
{{- $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "model-router.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "model-router.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "model-router.selectorLabels" -}}
app.kubernetes.io/name: model-router-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "model-router.labels" -}}
{{ include "model-router.selectorLabels" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: model-router-operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "model-router.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}
