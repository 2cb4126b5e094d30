{{/*
What the operator may do where it serves routes: in a ClusterRole, or in a Role of each namespace.
It also holds what it grants to routers, because nobody can grant more than they hold: ConfigMaps,
EndpointSlices and Secrets to read. A list or watch of Secrets that names one by field selector is
allowed by `resourceNames`; one of all of them is not.
*/}}
{{- define "model-router.rules" -}}
- apiGroups: [modelrouter.dev]
  resources: [modelroutes, modelpools]
  verbs: [get, list, watch]
- apiGroups: [modelrouter.dev]
  resources: [modelroutes/status, modelpools/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
# The operator deletes no claim, the garbage collector does. But where admission guards owners, as on
# OpenShift, only who may delete an object may say whose it is.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
# `patch` is for labels: which adapters a model server has loaded.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
{{- if .Values.keda.enabled }}
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- if eq .Values.rbac.secretAccess "all" }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
{{- else if .Values.rbac.secretNames }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames:
  {{- toYaml (.Values.rbac.secretNames | uniq) | nindent 2 }}
  verbs: [get, list, watch]
{{- end }}
{{- end -}}
