#!/usr/bin/env bash
# helm.sh [--check]: writes templates/ and crds/ of the Helm chart from the manifests in deploy/base/ and crds/. --check writes
# nothing and fails if the chart differs from the result.
set -euo pipefail
cd "$(dirname "$0")/.."
chart=deploy/helm/perouter

# template MANIFEST: prints it with template expressions for what users can set. It is an error if their number is not the
# expected one.
template() {
  awk -v component="$(basename "$1" .yaml)" '
    function value(text) { match($0, /^ */); print substr($0, 1, RLENGTH) text; found++ }
    function block(name, indent) {
      match($0, /^ */); depth = RLENGTH
      printf "%s%s:\n%s  {{- toYaml .Values.%s | nindent %d }}\n", substr($0, 1, depth), name, substr($0, 1, depth), path, indent
      skipping = 1; found++
    }
    skipping { match($0, /^ */); if (RLENGTH > depth || $1 == "-") next; skipping = 0 }
    $1 == "namespace:" && $2 == "openperouter-system" { value("namespace: {{ .Release.Namespace }}"); next }
    $0 == "        image: perouter" { value("image: {{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"); next }
    $1 == "imagePullPolicy:" { value("imagePullPolicy: {{ .Values.image.pullPolicy }}"); next }
    $0 == "          value: auto" { value("value: {{ .Values.vrfMode }}"); next }
    $0 == "          value: json" { value("value: {{ .Values.logFormat }}"); next }
    $0 == "      tolerations:" { path = "tolerations"; block("tolerations", 6); next }
    $0 == "      nodeSelector:" { path = "nodeSelector"; block("nodeSelector", 8); next }
    $0 == "        resources:" { path = component ".resources"; block("resources", 10); next }
    component == "rbac" && $0 == "  resources: [secrets]" {
      print
      print "  {{- with .Values.secretNames }}"
      print "  resourceNames: {{ toJson . }}"
      print "  {{- end }}"
      found++; next
    }
    component == "controller" && $1 == "value:" && $2 == "127.0.0.1:9476" {
      value("value: {{ if .Values.podMonitor.enabled }}$(NODE_IP){{ else }}127.0.0.1{{ end }}:9476"); next
    }
    component == "controller" && $0 == "        - name: PEROUTER_HTTP_ADDRESS" {
      print "        {{- if .Values.podMonitor.enabled }}"
      print "        - name: NODE_IP"
      print "          valueFrom:"
      print "            fieldRef:"
      print "              fieldPath: status.hostIP"
      print "        {{- end }}"
      print; found++; next
    }
    component == "controller" && sub(/\{host: 127.0.0.1, /, "{{ if not .Values.podMonitor.enabled }}{host: 127.0.0.1, {{ else }}{ {{ end }}") { print; found++; next }
    component == "controller" && $0 == "        env:" {
      print "        {{- if .Values.podMonitor.enabled }}"
      print "        ports:"
      print "        - name: metrics"
      print "          containerPort: 9476"
      print "        {{- end }}"
      print; found++; next
    }
    { print }
    END { wanted = component == "controller" ? 14 : component == "router" ? 8 : component == "rbac" ? 8 : 0; if (found != wanted) { print component ": " found " template expressions, expected " wanted > "/dev/stderr"; exit 1 } }
  ' "$1"
}

write() {
  local to=$1 file
  mkdir -p "$to/templates" "$to/crds"
  for file in rbac admission router controller; do
    template "deploy/base/$file.yaml" >"$to/templates/$file.yaml"
  done
  {
    echo '{{- if .Values.podMonitor.enabled }}'
    sed 's/namespace: openperouter-system/namespace: {{ .Release.Namespace }}/' deploy/components/pod-monitor/pod-monitor.yaml
    echo '{{- end }}'
  } >"$to/templates/pod-monitor.yaml"
  for file in crds/*.yaml; do
    [ "$(basename "$file")" = kustomization.yaml ] || cp "$file" "$to/crds/"
  done
}

if [ "${1:-}" = --check ]; then
  fresh=$(mktemp -d)
  trap 'rm -rf "$fresh"' EXIT
  write "$fresh"
  status=0
  for folder in templates crds; do
    diff -ru "$chart/$folder" "$fresh/$folder" || status=1
  done
  [ $status = 0 ] || echo "the chart differs from deploy/ and crds/: run hack/helm.sh" >&2
  exit $status
fi
rm -rf "$chart/templates" "$chart/crds"
write "$chart"
