{{- define "larder.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "larder.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 39 | trimSuffix "-" -}}
{{- else if contains (include "larder.name" .) .Release.Name -}}
{{- .Release.Name | trunc 39 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "larder.name" .) | trunc 39 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "larder.service" -}}
{{- default (include "larder.fullname" .) .Values.service.name -}}
{{- end -}}

{{- define "larder.serviceAccount" -}}
{{- default (include "larder.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "larder.secret" -}}
{{- default (printf "%s-tls" (include "larder.fullname" .)) .Values.certificates.secretName -}}
{{- end -}}

{{- define "larder.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* What pods are selected by. Takes (list $ COMPONENT). */}}
{{- define "larder.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "larder.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "larder.labels" -}}
{{- $root := index . 0 -}}
{{ include "larder.selector" . }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "larder.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "larder.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop:
    - ALL
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "larder.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "larder.placement" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
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
{{- end -}}

{{/* Where the kube-apiserver is reached, and names are. */}}
{{- define "larder.kubernetesPorts" -}}
{{- range .Values.networkPolicy.kubernetesPorts }}
- port: {{ . }}
  protocol: TCP
{{- end }}
- port: 53
  protocol: UDP
- port: 53
  protocol: TCP
{{- end -}}

{{/* A size of Kubernetes in MiB, rounded down. */}}
{{- define "larder.mebibytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- div (mul $number (get $units (regexFind "[A-Za-z]*$" .) | int64)) 1048576 -}}
{{- end -}}

{{/* The database's quota: what is given, or two fifths of the volume. */}}
{{- define "larder.quota" -}}
{{- if .Values.maxDatabaseSize -}}
{{- .Values.maxDatabaseSize -}}
{{- else -}}
{{- $quota := div (mul 2 (include "larder.mebibytes" .Values.persistence.size | int64)) 5 -}}
{{- if mod $quota 1024 }}{{ $quota }}MiB{{ else }}{{ div $quota 1024 }}GiB{{ end -}}
{{- end -}}
{{- end -}}

{{/* A time of Larder in seconds, rounded up. */}}
{{- define "larder.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- if eq $unit "ms" -}}{{ div (add $number 999) 1000 }}
{{- else -}}{{ mul $number (get (dict "s" 1 "m" 60 "h" 3600) $unit) }}
{{- end -}}
{{- end -}}

{{/* The server's certificate may be signed by another CA than its clients' are. Then they are given that CA, without the key beside it. */}}
{{- define "larder.serverCA" -}}
{{- if .Values.certificates.clientCASecretName }}
- name: server-ca
  secret:
    secretName: {{ include "larder.secret" . }}
    defaultMode: 288 # 0440
    items:
      - key: ca.crt
        path: ca.crt
{{- end }}
{{- end -}}

{{- define "larder.serverCAMount" -}}
{{- if .Values.certificates.clientCASecretName }}
- name: server-ca
  mountPath: /etc/larder/server-ca
  readOnly: true
{{- end }}
{{- end -}}

{{/* What no schema can see. */}}
{{- define "larder.check" -}}
{{- if lt (.Values.terminationGracePeriodSeconds | int64) (add 5 (include "larder.seconds" .Values.drainTimeout)) -}}
{{- fail "terminationGracePeriodSeconds has to be 5 seconds longer than drainTimeout: after it the log is moved into the database" -}}
{{- end -}}
{{- if lt (include "larder.mebibytes" .Values.persistence.size | int64) 128 -}}
{{- fail "persistence.size: below 128Mi there is no room for the log alone" -}}
{{- end -}}
{{- if and (eq .Values.certificates.mode "self-signed") .Values.certificates.secretName (not .Values.certificates.clientCASecretName) -}}
{{- fail "certificates.secretName is somebody else's Secret, so the clients' certificates that the jobs make need a CA of their own: set certificates.clientCASecretName" -}}
{{- end -}}
{{- $names := list -}}
{{- range .Values.certificates.clients }}{{ $names = append $names .name }}{{ end -}}
{{- if and .Values.backup.enabled (not (has "backup" $names)) (ne .Values.certificates.mode "existing") -}}
{{- fail "backup.enabled needs a certificate: add one of the name backup to certificates.clients, and grant its identity the role admin" -}}
{{- end -}}
{{- end -}}
