#!/usr/bin/env bash
# The layers of the crate: which module may use which. Fails with the lines that reach where they must not.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0

# forbid PLACE PATTERN REASON: no line of PLACE outside comments and tests may match PATTERN.
forbid() {
  local hits
  hits=$(grep -rnE "$2" $1 --include='*.rs' 2>/dev/null | grep -vE '/tests\.rs:|:[0-9]+: *//' || true)
  if [ -n "$hits" ]; then
    printf '%s\n%s\n' "layer: $3" "$hits" >&2
    failed=1
  fi
}

pure="src/kernel/nftables/message.rs src/status/witness.rs src/types.rs src/names.rs src/snapshot.rs src/runtime.rs src/plan src/kernel/model.rs src/kernel/diff.rs src/kernel/op.rs
  src/trace.rs src/frr/inspect.rs src/status/cause.rs src/frr/model.rs src/frr/render.rs src/frr/diff.rs src/frr/tree.rs src/reconcile/schedule.rs"
forbid "$pure" 'tokio::|std::fs|std::process|nix::|netlink_sys' "pure modules have no effects"
forbid "src/types.rs src/names.rs" 'crate::(api|plan|kernel|frr|source|reconcile|status|cli)' "words know nobody"
forbid "src/api" 'crate::(plan|kernel|frr|source|reconcile|status|cli)' "api knows only words"
forbid "src/source" 'crate::(plan|kernel|frr|reconcile|status|cli)' "source delivers snapshots only"
forbid "src/plan" 'crate::(source|reconcile|status|cli)|crate::kernel::(apply|netlink|netns|nic|events)' "plan is pure"
forbid "src/kernel" 'crate::(source|plan|reconcile|status|cli|api)' "kernel knows links, not objects"
forbid "src/frr" 'crate::(source|plan|reconcile|status|cli|api)' "frr knows configuration, not objects"
forbid "src/plan src/kernel src/frr src/reconcile src/control.rs src/api" 'kube::(Client|Api|api|client|runtime|config)' \
  "the API server is spoken to in source and status only"
forbid "src/source src/plan src/frr src/status src/cli src/reconcile src/api" 'netlink_packet|netlink_sys' "netlink is spoken in kernel only"
forbid "src/source src/plan src/kernel src/status src/cli src/reconcile src/api" 'std::process::Command|tokio::process' \
  "processes are started in frr::daemons only"
exit $failed
