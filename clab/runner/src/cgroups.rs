//! Control groups for containers in nodes.
//!
//! In: the machine's hierarchies, version 1 or 2. Out: the same ones mounted in a node, and a path of its own for each node. It
//! must not change a group that is not of a lab.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::node::{Node, NodeError};

const MOUNT_POINT: &str = "/sys/fs/cgroup";
/// The parent of all groups of labs.
const PARENT: &str = "perouter-lab";

/// A hierarchy that the machine has mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    kind: String,
    path: String,
    options: String,
}

/// The hierarchies in the form of /proc/mounts, with the names of the controllers.
fn hierarchies(mounts: &str, controllers: &BTreeSet<&str>) -> Vec<Hierarchy> {
    let hierarchy = |line: &str| {
        let [_, path, kind, options, ..] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let inside = path == MOUNT_POINT || path.starts_with(&format!("{MOUNT_POINT}/"));
        let named = |option: &&str| controllers.contains(option) || option.starts_with("name=");
        let mut chosen: Vec<&str> = options.split(',').filter(named).collect();
        if chosen.first().is_some_and(|option| option.starts_with("name=")) {
            chosen.insert(0, "none");
        }
        let of_interest = inside && matches!(kind, "cgroup" | "cgroup2");
        of_interest.then(|| Hierarchy { kind: kind.to_owned(), path: path.to_owned(), options: chosen.join(",") })
    };
    mounts.lines().filter_map(hierarchy).collect()
}

/// Hierarchies of this machine.
fn of_machine() -> Vec<Hierarchy> {
    let (mounts, controllers) = (
        fs::read_to_string("/proc/mounts").unwrap_or_default(),
        fs::read_to_string("/proc/cgroups").unwrap_or_default(),
    );
    let controllers = controllers.lines().filter_map(|line| line.split_whitespace().next()).collect();
    hierarchies(&mounts, &controllers)
}

/// Mounts the machine's hierarchies in a node.
pub(crate) fn mount_in(node: &Node) -> Result<(), NodeError> {
    let all = of_machine();
    if !all.iter().any(|hierarchy| hierarchy.path == MOUNT_POINT) {
        node.check(&["mount", "-t", "tmpfs", "-o", "mode=755", "cgroup", MOUNT_POINT])?;
    }
    for Hierarchy { kind, path, options } in &all {
        node.check(&["mkdir", "-p", path])?;
        let options = if options.is_empty() { "rw" } else { options };
        node.check(&["mount", "-t", kind, "-o", options, kind, path])?;
    }
    Ok(())
}

/// The group of a node, from the root of each hierarchy.
pub(crate) fn of_node(node: &Node) -> String {
    format!("/{PARENT}/{}", node.long_name())
}

/// Removes the groups of nodes whose processes have exited.
pub(crate) fn remove(long_names: &[String]) {
    for hierarchy in of_machine() {
        let parent = Path::new(&hierarchy.path).join(PARENT);
        for name in long_names {
            remove_tree(&parent.join(name));
        }
        // Only the last lab succeeds.
        let _ = fs::remove_dir(&parent);
    }
}

/// A group has files that cannot be removed, and is removed without its children only.
fn remove_tree(group: &Path) {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    for child in entries.map(|entry| entry.path()).filter(|path| path.is_dir()) {
        remove_tree(&child);
    }
    // One that is in use, which no process of the lab can be in any more, stays.
    let _ = fs::remove_dir(group);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_keep_their_controllers_and_names() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0\n\
            cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,relatime,cpu,cpuacct 0 0\n\
            cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n\
            cgroup /other cgroup rw,cpu 0 0\n";
        let found = hierarchies(mounts, &BTreeSet::from(["cpu", "cpuacct"]));
        let found: Vec<_> = found.iter().map(|found| (&*found.kind, &*found.path, &*found.options)).collect();
        assert_eq!(
            found,
            [
                ("cgroup", "/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct"),
                ("cgroup", "/sys/fs/cgroup/systemd", "none,name=systemd"),
                ("cgroup2", "/sys/fs/cgroup/unified", ""),
            ]
        );
    }

    #[test]
    fn version_2_is_mounted_where_the_machine_has_it() {
        let found = hierarchies("cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n", &BTreeSet::from(["cpu"]));
        assert_eq!(found.iter().map(|found| &*found.path).collect::<Vec<_>>(), [MOUNT_POINT]);
    }
}
