{{- define "guildhall.name" -}}
{{- $name := printf "%s-%s" .Release.Name .Chart.Name -}}
{{- (contains .Chart.Name .Release.Name | ternary .Release.Name $name) | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "guildhall.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "guildhall.labels" -}}
{{ include "guildhall.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "guildhall.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* A value of the configuration as a variable has it: lists with commas, and numbers without an exponent. */}}
{{- define "guildhall.value" -}}
{{- if kindIs "slice" . }}{{ join "," . }}{{ else if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else if not (kindIs "invalid" .) }}{{ toString . }}{{ end }}
{{- end }}

{{/* What `serve` and `worker` are told. */}}
{{- define "guildhall.environment" -}}
{{- $_ := required "config.server.public_url: how callers reach the deployment" .Values.config.server.public_url -}}
{{- $_ = required "config.mail.from: whom mails are from" .Values.config.mail.from -}}
- name: GUILDHALL_ENV
  value: production
# The admin listener: an address of the pod's network, and never all addresses.
- name: GUILDHALL__SERVER__ADMIN_HOST
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- range $section, $keys := .Values.config }}
{{- range $key, $value := $keys }}
{{- $text := include "guildhall.value" $value }}
{{- if ne $text "" }}
- name: GUILDHALL__{{ upper $section }}__{{ upper $key }}
  value: {{ $text | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- range .Values.secrets.required }}
- name: {{ . }}
  valueFrom:
    secretKeyRef:
      name: {{ $.Values.secrets.name }}
      key: {{ . }}
{{- end }}
{{- range .Values.secrets.optional }}
- name: {{ . }}
  valueFrom:
    secretKeyRef:
      name: {{ $.Values.secrets.name }}
      key: {{ . }}
      optional: true
{{- end }}
{{- end }}

{{/* What every pod is: nobody, with nothing to write to and no say in the cluster. */}}
{{- define "guildhall.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.extraVolumes }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "guildhall.container" -}}
image: {{ include "guildhall.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- with .Values.extraVolumeMounts }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
