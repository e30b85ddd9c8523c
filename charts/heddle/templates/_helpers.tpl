{{/* Fails with a sentence where the release can't work. Rendered once, by the settings. */}}
{{- define "heddle.checks" -}}
{{- if ne .Release.Namespace "heddle-system" -}}
{{- fail (printf "heddle is installed into the namespace heddle-system, not %s: say --namespace heddle-system --create-namespace" .Release.Namespace) -}}
{{- end -}}
{{- if and (ne .Values.cni.mode "capture") (ne .Values.cni.chained "auto") -}}
{{- fail "cni.chained is for cni.mode capture: a CNI of its own is chained behind nothing" -}}
{{- end -}}
{{- range $part := list "controlPlane" "injector" -}}
{{- range $label := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/part-of" -}}
{{- if hasKey ((index $.Values $part).podLabels | default dict) $label -}}
{{- fail (printf "%s.podLabels can't have %s: it is the chart's own" $part $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether this release holds what all revisions share. */}}
{{- define "heddle.shared" -}}
{{- if eq .Values.revision "default" -}}true{{- end -}}
{{- end -}}

{{/* -REVISION, or nothing for the default one. */}}
{{- define "heddle.suffix" -}}
{{- if ne .Values.revision "default" -}}-{{ .Values.revision }}{{- end -}}
{{- end -}}

{{- define "heddle.labels" -}}
app.kubernetes.io/part-of: heddle
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Labels by which pods are selected: (list $ "heddle-injector"). */}}
{{- define "heddle.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- end -}}

{{/* Name of an image: (list $ "proxy"). */}}
{{- define "heddle.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.image (index . 1) -}}
{{- with $root.Values.image.registry -}}{{ trimSuffix "/" . }}/{{- end -}}
{{- $image.repository -}}
{{- if $image.digest -}}@{{ $image.digest }}{{- else -}}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}{{- end -}}
{{- end -}}

{{- define "heddle.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where sidecars and the injector find the control plane. */}}
{{- define "heddle.controlPlaneAddress" -}}
heddle-control-plane{{ include "heddle.suffix" . }}.{{ .Release.Namespace }}.svc.{{ .Values.dns.clusterDomain }}:15012
{{- end -}}

{{- define "heddle.caSecret" -}}
{{- .Values.ca.existingSecret | default "heddle-ca" -}}
{{- end -}}

{{/* What the restricted Pod Security level asks for, of a pod. */}}
{{- define "heddle.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* The same, of a container. */}}
{{- define "heddle.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where pods run: (list $ .Values.injector "heddle-injector"). */}}
{{- define "heddle.scheduling" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
{{- $name := index . 2 -}}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
{{- if $values.affinity }}
  {{- toYaml $values.affinity | nindent 2 }}
{{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "heddle.selector" (list $root $name) | nindent 14 }}
{{- end }}
{{- with $values.topologySpreadConstraints }}
topologySpreadConstraints:
{{- range . }}
{{- $own := dict "labelSelector" (dict "matchLabels" (include "heddle.selector" (list $root $name) | fromYaml)) }}
  - {{- toYaml (merge (deepCopy .) $own) | nindent 4 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Kept by `helm uninstall`, where pods have no network without it. */}}
{{- define "heddle.keepCni" -}}
{{- if and .Values.cni.keepOnUninstall (ne .Values.cni.mode "capture") }}
annotations:
  helm.sh/resource-policy: keep
{{- end }}
{{- end -}}

{{/* Whether DNS runs on the nodes. */}}
{{- define "heddle.dns" -}}
{{- if and .Values.dns.enabled (ne .Values.cni.mode "capture") -}}true{{- end -}}
{{- end -}}
