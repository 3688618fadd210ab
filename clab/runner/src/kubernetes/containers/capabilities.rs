//! Linux capabilities by name.
//!
//! In: the bounding set of this process, and what a container adds and drops. Out: names as in an OCI configuration. It must
//! not change a capability.

use std::fs;

/// In the order of their numbers (capability.h).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Those of a container that is not privileged and changes none (containerd, `oci.defaultUnixCaps`).
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Capabilities that this machine has: the bounding set of this process.
pub(super) fn of_machine() -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    of_mask(mask)
}

fn of_mask(mask: u64) -> Vec<&'static str> {
    NAMES.into_iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, name)| name).collect()
}

/// Capabilities that exist and that this machine does not have.
pub(super) fn missing(machine: &[&str]) -> Vec<&'static str> {
    NAMES.into_iter().filter(|name| !machine.contains(name)).collect()
}

/// Those of a container that is not privileged.
pub(super) fn changed(add: &[String], drop: &[String]) -> Vec<String> {
    let has = |list: &[String], name: &str| list.iter().any(|entry| entry == name || entry == "ALL");
    let dropped_all = drop.iter().any(|name| name == "ALL");
    let is_kept = |name: &&str| DEFAULT.contains(name) && !dropped_all && !has(drop, name);
    NAMES.into_iter().filter(|name| is_kept(name) || has(add, name)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_has_the_names_of_its_bits() {
        assert_eq!(of_mask(0x0000_0000_0020_1001), ["CHOWN", "NET_ADMIN", "SYS_ADMIN"]);
        assert_eq!(missing(&of_mask(0x1ff_feff_ffff)), ["SYS_RESOURCE"]);
    }

    #[test]
    fn a_container_adds_to_the_default_or_to_nothing() {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(changed(&[], &[]).len(), DEFAULT.len());
        assert_eq!(changed(&list(&["NET_ADMIN"]), &list(&["ALL"])), ["NET_ADMIN"]);
        assert!(!changed(&[], &list(&["MKNOD"])).contains(&"MKNOD".to_owned()));
        assert_eq!(changed(&list(&["ALL"]), &[]).len(), NAMES.len());
    }
}
