#!/usr/bin/env bash
# helm.sh [--check]: writes what is generated of the Helm chart: templates from the manifests in deploy/base/,
# deploy/components/ and deploy/removal/ with the edits in deploy/helm/edits/, the CRDs, alerts and dashboard, and the table of values in its README.
# --check writes nothing and fails if the chart differs from the result.
#
# A file of edits has lines of the manifest, each with what becomes of it, and below, after `|`, the text. In both, @ is the
# component. Each edit must match: once, or at least once where `*` follows the letter.
#   = "LINE"   replace the line          < "LINE"   insert before the line       ^   insert at the begin
#   { "LINE"   replace the line and      > "LINE"   insert after the line        $   insert at the end
#              what is nested in it      n "LINE"   replace the line after it
# `* "LINE"` is `=* "LINE"`.
set -euo pipefail
cd "$(dirname "$0")/.."
chart=deploy/helm/perouter

# template MANIFEST COMPONENT EDITS...: prints the manifest with all edits.
template() {
  local manifest=$1 component=$2
  shift 2
  awk -v component="$component" '
    function problem(text) { print FILENAME ": " text > "/dev/stderr"; failed = 1; exit 1 }
    function emit(n,  i) { for (i = 1; i <= lines[n]; i++) print text[n, i]; used[n]++ }
    function indent(line) { match(line, /^ */); return RLENGTH }
    FILENAME != manifest {
      gsub(/@/, component)
      if ($0 ~ /^#/ || $0 == "") next
      if (substr($0, 1, 1) == "|") { text[count, ++lines[count]] = substr($0, 2); next }
      op[++count] = substr($0, 1, 1)
      many[count] = $0 ~ /^[^ ]?\*/
      if (op[count] == "*") op[count] = "="
      line[count] = $0
      if (op[count] ~ /[$^]/) { line[count] = ""; next }
      if (!sub(/^[^"]*"/, "", line[count]) || !sub(/"$/, "", line[count])) problem("not an edit: " $0)
      gsub(/\\"/, "\"", line[count])
      next
    }
    FNR == 1 { for (n = 1; n <= count; n++) if (op[n] == "^") emit(n) }
    skipping { if ($0 == "" || indent($0) > depth || (indent($0) == depth && substr($0, depth + 1, 2) == "- ")) next; skipping = 0 }
    {
      replaced = 0
      if (next_line) { emit(next_line); replaced = 1; next_line = 0 }
      for (n = 1; n <= count; n++) if (op[n] == "<" && line[n] == $0) emit(n)
      for (n = 1; n <= count; n++) if (op[n] ~ /[={]/ && line[n] == $0 && !replaced) {
        emit(n); replaced = 1
        if (op[n] == "{") { depth = indent($0); skipping = 1 }
      }
      if (!replaced) print
      for (n = 1; n <= count; n++) if (op[n] == ">" && line[n] == $0) emit(n)
      for (n = 1; n <= count; n++) if (op[n] == "n" && line[n] == $0) next_line = n
    }
    END {
      if (failed) exit 1
      for (n = 1; n <= count; n++) if (op[n] == "$") emit(n)
      for (n = 1; n <= count; n++) if (!used[n] || used[n] > 1 && !many[n]) problem("edited " used[n] + 0 " times: " op[n] " " line[n])
    }
  ' manifest="$manifest" "$@" "$manifest"
}

# crd FILE: prints it as a template.
crd() {
  ! grep -q '{{' "$1" || { echo "$1 has template expressions" >&2; return 1; }
  echo '{{- if .Values.crds.enabled }}'
  awk '
    { print }
    $0 == "metadata:" && !found++ {
      print "  labels:"
      print "    {{- include \"perouter.labels\" . | nindent 4 }}"
      print "  {{- if .Values.crds.keep }}"
      print "  annotations:"
      print "    helm.sh/resource-policy: keep"
      print "  {{- end }}"
    }
    /^  (labels|annotations):/ { print FILENAME ": has labels or annotations of its own" > "/dev/stderr"; exit 1 }
  ' "$1"
  echo '{{- end }}'
}

# values: prints the table of values: each key that has a comment, with its default.
values() {
  awk '
    function key(n,  i, path) { path = part[0]; for (i = 1; i <= n; i++) path = path "." part[i]; return path }
    function cell(text) { gsub(/\|/, "\\|", text); return text }
    function row() { if (pending != "") print "| `" pending "` | " (shown == "" ? "" : "`" cell(shown) "`") " | " cell(about) " |"; pending = "" }
    BEGIN { print "| value | default | |"; print "|---|---|---|" }
    /^ *# / { sub(/^ *# /, ""); note = note (note == "" ? "" : " ") $0; next }
    /^ *$/ { note = ""; next }
    /^ *[A-Za-z0-9_.\/]+:/ {
      match($0, /^ */); level = RLENGTH / 2
      name = $1; sub(/:$/, "", name)
      part[level] = name
      rest = $0; sub(/^ *[A-Za-z0-9_.\/]+: */, "", rest)
      if (note != "") { row(); pending = key(level); about = note; shown = rest; depth = level; note = ""; next }
      if (pending != "" && level > depth) { shown = shown (shown == "" ? "" : ", ") name (rest == "" ? "" : ": " rest) } else { row() }
      next
    }
    /^ *- / { sub(/^ *- /, ""); shown = shown (shown == "" ? "" : ", ") $0 }
    END { row() }
  ' "$1"
}

# readme FILE VALUES: prints the README with a fresh table.
readme() {
  sed '/<!-- values -->/q' "$1"
  echo
  values "$2"
}

write() {
  local to=$1 file component
  mkdir -p "$to/templates" "$to/files"
  for component in router controller credentials cleanup; do
    file=deploy/base/$component.yaml
    local edits=(deploy/helm/edits/{all,daemonset,"$component"})
    case $component in
      credentials) file=deploy/components/host-credentials/credentials.yaml ;;
      cleanup) file=deploy/removal/cleanup.yaml ;;
      *) edits+=(deploy/helm/edits/node-daemon) ;;
    esac
    template "$file" "$component" "${edits[@]}" >"$to/templates/$component.yaml"
  done
  for file in base/service-accounts base/rbac components/openshift/scc components/pod-monitor/pod-monitor; do
    component=${file##*/}
    template "deploy/$file.yaml" "$component" deploy/helm/edits/{all,"$component"} >"$to/templates/$component.yaml"
  done
  template deploy/base/admission.yaml admission deploy/helm/edits/admission >"$to/templates/admission.yaml"
  for file in crds/*.yaml; do
    [ "$(basename "$file")" = kustomization.yaml ] || crd "$file" >"$to/templates/crd-${file##*_}"
  done
  sed '1,/^spec:/d; s/^  //' deploy/components/prometheus-rule/prometheus-rule.yaml >"$to/files/alerts.yaml"
  cp deploy/grafana/perouter.json "$to/files/dashboard.json"
  readme "$chart/README.md" "$chart/values.yaml" >"$to/README.new"
  mv "$to/README.new" "$to/README.md"
}

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
write "$fresh"
if [ "${1:-}" = --check ]; then
  status=0
  # What is generated is the same, and there is no other generated file.
  while read -r file; do
    diff -u --label "$chart/$file" --label generated "$chart/$file" "$fresh/$file" || status=1
  done < <(cd "$fresh" && find . -type f -printf '%P\n' | sort)
  for file in "$chart"/templates/crd-*.yaml; do
    [ -e "$fresh/templates/$(basename "$file")" ] || { echo "$file: no such CRD" >&2; status=1; }
  done
  [ $status = 0 ] || echo "the chart differs from deploy/ and crds/: run hack/helm.sh" >&2
  exit $status
fi
rm -f "$chart"/templates/crd-*.yaml
cp -r "$fresh/." "$chart"
