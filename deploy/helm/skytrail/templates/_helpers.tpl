{{- define "skytrail.name" -}}
{{- printf "%s-%s" (.root.Release.Name | trunc 40 | trimSuffix "-") .part -}}
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

{{- /* Where agents listen; its port, where a probe on the node asks, and whether others reach it. */ -}}
{{- define "skytrail.agent.listen" -}}
{{- dig "agent" "listen" "127.0.0.1:8081" .Values.agent.settings -}}
{{- end -}}

{{- define "skytrail.agent.port" -}}
{{- include "skytrail.agent.listen" . | regexFind "[0-9]+$" -}}
{{- end -}}

{{- define "skytrail.agent.host" -}}
{{- $host := include "skytrail.agent.listen" . | regexFind "^.*:" | trimSuffix ":" | trimAll "[]" -}}
{{- ternary "127.0.0.1" $host (has $host (list "" "::" "0.0.0.0" "localhost")) -}}
{{- end -}}

{{- define "skytrail.agent.open" -}}
{{- if not (include "skytrail.agent.listen" . | regexMatch "^(127\\.|localhost:|\\[::1\\]:)") }}open{{ end -}}
{{- end -}}

{{- define "skytrail.agent.scheme" -}}
{{- ternary "https" "http" (not (empty (dig "http" "tls_cert" "" .Values.agent.settings))) -}}
{{- end -}}

{{- define "skytrail.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Apart, where there are nodes for it. */ -}}
{{- define "skytrail.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "skytrail.selector" . | nindent 8 }}
{{- end -}}

{{- define "skytrail.disruptions" -}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "skytrail.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "skytrail.selector" . | nindent 6 }}
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
{{- $own = merge $own (dict "wire" (merge (dict "tls_ca" "/etc/skytrail/secret/ca.crt") $files) "http" (deepCopy $files)) -}}
{{- if not (dig "http" "users_file" "" .Values.hub.settings) -}}
{{- $_ := set $own.http "token_file" "/etc/skytrail/secret/tokens" -}}
{{- end -}}
{{- end -}}
{{- if .Values.janusgraph.enabled -}}
{{- $url := printf "ws://%s:8182/gremlin" (include "skytrail.name" (dict "root" . "part" "janusgraph")) -}}
{{- $own = merge $own (dict "topology" (dict "store" "janusgraph" "janusgraph" (dict "url" $url "transactional" false))) -}}
{{- end -}}
{{- toYaml (merge (deepCopy .Values.hub.settings) $own) -}}
{{- end -}}
