{{- define "skytrail.name" -}}
{{- printf "%s-%s" .root.Release.Name .part | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "skytrail.selector" -}}
app.kubernetes.io/name: skytrail
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "skytrail.labels" -}}
{{ include "skytrail.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "skytrail.metadata" -}}
name: {{ include "skytrail.name" . }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "skytrail.labels" . | nindent 2 }}
{{- end -}}

{{- /* What both ends are told beside the settings of the values. */ -}}
{{- define "skytrail.agent.settings" -}}
{{- $own := dict "agent" (dict "hubs" (list (printf "%s.%s.svc:8083" (include "skytrail.name" (dict "root" . "part" "hub")) .Release.Namespace))) -}}
{{- if .Values.insecure -}}
{{- $own = merge $own (dict "http" (dict "insecure" true)) -}}
{{- else -}}
{{- $own = merge $own (dict "wire" (dict "tls_ca" "/etc/skytrail/ca.crt" "tls_cert" "/etc/skytrail/agent.crt" "tls_key" "/etc/skytrail/agent.key")) -}}
{{- end -}}
{{- toYaml (merge (deepCopy .Values.agent.settings) $own) -}}
{{- end -}}

{{- define "skytrail.hub.settings" -}}
{{- $name := include "skytrail.name" (dict "root" . "part" "hub") -}}
{{- $names := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) -}}
{{- $own := dict "hub" (dict "listen" "0.0.0.0:8082" "wire" "0.0.0.0:8083") "http" (dict "allowed_hosts" $names) -}}
{{- if .Values.insecure -}}
{{- $own = merge $own (dict "http" (dict "insecure" true)) -}}
{{- else -}}
{{- $files := dict "tls_cert" "/etc/skytrail/secret/tls.crt" "tls_key" "/etc/skytrail/secret/tls.key" -}}
{{- $own = merge $own (dict "wire" (merge (dict "tls_ca" "/etc/skytrail/secret/ca.crt") $files) "http" (merge (dict "token_file" "/etc/skytrail/secret/tokens") $files)) -}}
{{- end -}}
{{- if .Values.janusgraph.enabled -}}
{{- $url := printf "ws://%s:8182/gremlin" (include "skytrail.name" (dict "root" . "part" "janusgraph")) -}}
{{- $own = merge $own (dict "topology" (dict "store" "janusgraph" "janusgraph" (dict "url" $url "transactional" false))) -}}
{{- end -}}
{{- toYaml (merge (deepCopy .Values.hub.settings) $own) -}}
{{- end -}}
