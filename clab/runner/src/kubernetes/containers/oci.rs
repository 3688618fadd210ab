//! The OCI configuration of a container.
//!
//! In: a container of a manifest, and what its Pod, its node and its image contribute. Out: `config.json` for runc, with the
//! values of containerd where Kubernetes leaves them to it. It must not access the machine.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::capabilities;
use super::image::ImageConfig;
use super::manifest::{ContainerManifest, Propagation, Resources};
use crate::kubernetes::error::KubernetesError;
use crate::kubernetes::pod::expanded;

/// What a container gets from its Pod, its node and its image.
#[derive(Debug)]
pub(super) struct ContainerContext<'a> {
    pub(super) image: &'a ImageConfig,
    /// Its root file system.
    pub(super) root: &'a Path,
    pub(super) environment: &'a BTreeMap<String, String>,
    /// Paths of the volumes in the node, by name.
    pub(super) volumes: &'a BTreeMap<String, PathBuf>,
    /// Files that a kubelet mounts into every container: path in the node, path in the container.
    pub(super) files: &'a [(PathBuf, PathBuf)],
    /// Capabilities that the machine has.
    pub(super) capabilities: &'a [&'static str],
    pub(super) cgroup: &'a str,
}

/// `config.json` of a container.
pub(super) fn config(container: &ContainerManifest, context: &ContainerContext) -> Result<Value, KubernetesError> {
    let security = &container.security_context;
    let names: Vec<String> = if security.privileged {
        context.capabilities.iter().map(|&name| name.to_owned()).collect()
    } else {
        let mut names = capabilities::changed(&security.capabilities.add, &security.capabilities.drop);
        names.retain(|name| context.capabilities.contains(&&**name));
        names
    };
    let names: Vec<String> = names.iter().map(|name| format!("CAP_{name}")).collect();
    let directory =
        if context.image.working_dir.as_os_str().is_empty() { Path::new("/") } else { &context.image.working_dir };
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": security.run_as_user, "gid": security.run_as_group},
            "args": command_line(container, context),
            "env": environment(context),
            "cwd": directory,
            "capabilities": {"bounding": names, "effective": names, "permitted": names},
            "noNewPrivileges": security.allow_privilege_escalation == Some(false),
        },
        "root": {"path": context.root, "readonly": security.read_only_root_filesystem},
        "mounts": mounts(container, context)?,
        "linux": {
            "cgroupsPath": context.cgroup,
            "resources": resources(&container.resources, security.privileged)?,
            // The network and the host name are those of the node.
            "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "mount"}],
            "maskedPaths": if security.privileged { &[][..] } else { &MASKED },
            "readonlyPaths": if security.privileged { &[][..] } else { &READ_ONLY },
        },
    });
    if let Some(propagation) = root_propagation(container) {
        config["linux"]["rootfsPropagation"] = propagation.into();
    }
    Ok(config)
}

/// The command replaces the image's entry point and its arguments; arguments replace only those.
fn command_line(container: &ContainerManifest, context: &ContainerContext) -> Vec<String> {
    let (entry_point, arguments) = match (&container.command[..], &container.args[..]) {
        ([], []) => (&context.image.entrypoint[..], &context.image.cmd[..]),
        ([], arguments) => (&context.image.entrypoint[..], arguments),
        given => given,
    };
    entry_point.iter().chain(arguments).map(|word| expanded(word, context.environment)).collect()
}

/// The container's variables replace those of the image.
fn environment(context: &ContainerContext) -> Vec<String> {
    let of_image = context.image.env.iter().filter_map(|variable| variable.split_once('='));
    let mut all: BTreeMap<&str, &str> = of_image.collect();
    all.extend(context.environment.iter().map(|(name, value)| (&**name, &**value)));
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn mounts(container: &ContainerManifest, context: &ContainerContext) -> Result<Vec<Value>, KubernetesError> {
    let security = &container.security_context;
    let special = |target: &str, kind: &str, options: &[&str]| {
        let source = if kind == "mqueue" || kind == "devpts" || kind == "cgroup" { kind } else { target };
        json!({"destination": target, "type": kind, "source": source, "options": options})
    };
    let bind = |source: &Path, target: &Path, read_only: bool, propagation: &str| {
        let access = if read_only { "ro" } else { "rw" };
        json!({"destination": target, "type": "bind", "source": source, "options": ["rbind", propagation, access]})
    };
    let access = if security.privileged { "rw" } else { "ro" };
    let mut all = vec![
        special("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        special("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        special("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        special("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        special("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        special("/sys", "sysfs", &["nosuid", "noexec", "nodev", access]),
        special("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", access]),
    ];
    for (source, target) in context.files {
        all.push(bind(source, target, security.read_only_root_filesystem, "rprivate"));
    }
    let mut wanted: Vec<_> = container.volume_mounts.iter().collect();
    // A mount inside another one comes after it.
    wanted.sort_by_key(|mount| mount.mount_path.components().count());
    for mount in wanted {
        let missing = || KubernetesError::NoVolume { container: container.name.clone(), volume: mount.name.clone() };
        let source = context.volumes.get(&mount.name).ok_or_else(missing)?;
        let propagation = match mount.mount_propagation {
            Propagation::None => "rprivate",
            Propagation::HostToContainer => "rslave",
            Propagation::Bidirectional => "rshared",
        };
        all.push(bind(source, &mount.mount_path, mount.read_only, propagation));
    }
    Ok(all)
}

/// The propagation of the root has to allow that of the mounts in it.
fn root_propagation(container: &ContainerManifest) -> Option<&'static str> {
    let has = |wanted| container.volume_mounts.iter().any(|mount| mount.mount_propagation == wanted);
    if has(Propagation::Bidirectional) {
        return Some("rshared");
    }
    has(Propagation::HostToContainer).then_some("rslave")
}

fn resources(resources: &Resources, privileged: bool) -> Result<Value, KubernetesError> {
    let (requests, limits) = (&resources.requests, &resources.limits);
    let mut value = json!({"devices": devices(privileged)});
    // As a kubelet: a core is 1024 shares, and 100 ms of each 100 ms.
    if let Some(milli) = requests.cpu.as_deref().map(milli_cpu).transpose()? {
        value["cpu"]["shares"] = (milli * 1024 / 1000).max(2).into();
    }
    if let Some(milli) = limits.cpu.as_deref().map(milli_cpu).transpose()? {
        value["cpu"]["period"] = 100_000.into();
        value["cpu"]["quota"] = (milli * 100).max(1000).into();
    }
    if let Some(bytes) = limits.memory.as_deref().map(bytes).transpose()? {
        value["memory"]["limit"] = bytes.into();
    }
    Ok(value)
}

/// All of them, or none but those that runc creates itself.
fn devices(privileged: bool) -> Value {
    json!([{"allow": privileged, "access": "rwm"}])
}

fn milli_cpu(text: &str) -> Result<u64, KubernetesError> {
    let (number, factor) = text.strip_suffix('m').map_or((text, 1000), |number| (number, 1));
    scaled(text, number, factor)
}

fn bytes(text: &str) -> Result<u64, KubernetesError> {
    let units =
        [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("k", 1000), ("M", 1_000_000), ("G", 1_000_000_000)];
    let unit = units.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = unit.unwrap_or((text, 1));
    scaled(text, number, factor)
}

fn scaled(text: &str, number: &str, factor: u64) -> Result<u64, KubernetesError> {
    let number: Option<u64> = number.parse().ok();
    let product = number.and_then(|number| number.checked_mul(factor));
    product.ok_or_else(|| KubernetesError::Quantity { text: text.to_owned() })
}

/// Hidden from a container that is not privileged (containerd, `oci.defaultMaskedPaths`).
const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
];

/// Read-only in a container that is not privileged.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

#[cfg(test)]
mod tests {
    use super::*;

    fn container(changes: &Value) -> ContainerManifest {
        let mut container = json!({"name": "router", "image": "perouter"});
        container.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(container).unwrap()
    }

    fn config_of(container: &ContainerManifest) -> Result<Value, KubernetesError> {
        let image = json!({
            "Entrypoint": ["/usr/bin/perouter"], "Cmd": ["run"], "Env": ["PATH=/bin", "A=image"], "WorkingDir": "",
        });
        let context = ContainerContext {
            image: &serde_json::from_value(image).unwrap(),
            root: Path::new("/rootfs"),
            environment: &BTreeMap::from([("A".to_owned(), "pod".to_owned()), ("B".to_owned(), "1".to_owned())]),
            volumes: &BTreeMap::from([("run".to_owned(), PathBuf::from("/run/perouter"))]),
            files: &[("/etc/hosts".into(), "/etc/hosts".into())],
            capabilities: &["CHOWN", "NET_ADMIN"],
            cgroup: "/lab/router",
        };
        config(container, &context)
    }

    #[test]
    fn command_and_arguments_replace_those_of_the_image() {
        for (changes, wanted) in [
            (json!({}), &["/usr/bin/perouter", "run"][..]),
            (json!({"args": ["router"]}), &["/usr/bin/perouter", "router"]),
            (json!({"command": ["setpriv", "x"], "args": ["--a=$(A)"]}), &["setpriv", "x", "--a=pod"]),
            (json!({"command": ["setpriv"]}), &["setpriv"]),
        ] {
            let config = config_of(&container(&changes)).unwrap();
            assert_eq!(config["process"]["args"], json!(wanted));
            assert_eq!(config["process"]["env"], json!(["A=pod", "B=1", "PATH=/bin"]));
        }
    }

    #[test]
    fn privileged_means_every_capability_of_the_machine_and_no_protected_path() {
        let security = json!({"privileged": true, "readOnlyRootFilesystem": true});
        let config = config_of(&container(&json!({ "securityContext": security }))).unwrap();
        assert_eq!(config["process"]["capabilities"]["bounding"], json!(["CAP_CHOWN", "CAP_NET_ADMIN"]));
        assert_eq!(config["linux"]["maskedPaths"], json!([]));
        assert_eq!(config["linux"]["readonlyPaths"], json!([]));
        assert_eq!(config["linux"]["resources"]["devices"], json!([{"allow": true, "access": "rwm"}]));
        assert_eq!(config["root"], json!({"path": "/rootfs", "readonly": true}));

        let config = config_of(&container(&json!({}))).unwrap();
        assert_eq!(config["process"]["capabilities"]["bounding"], json!(["CAP_CHOWN"]), "NET_ADMIN is no default");
        assert!(config["linux"]["readonlyPaths"].as_array().unwrap().contains(&json!("/proc/sys")));
        assert_eq!(config["linux"]["resources"]["devices"][0]["allow"], false);
        assert_eq!(config["root"]["readonly"], false);
    }

    #[test]
    fn a_bidirectional_mount_is_shared_and_so_is_the_root() {
        let mount = json!({"name": "run", "mountPath": "/run/perouter", "mountPropagation": "Bidirectional"});
        let config = config_of(&container(&json!({ "volumeMounts": [mount] }))).unwrap();
        assert_eq!(
            config["mounts"].as_array().unwrap().last().unwrap(),
            &json!({
                "destination": "/run/perouter", "type": "bind", "source": "/run/perouter",
                "options": ["rbind", "rshared", "rw"],
            })
        );
        assert_eq!(config["linux"]["rootfsPropagation"], "rshared");

        let mount = json!({"name": "run", "mountPath": "/x", "readOnly": true});
        let config = config_of(&container(&json!({ "volumeMounts": [mount] }))).unwrap();
        assert_eq!(config["mounts"].as_array().unwrap().last().unwrap()["options"], json!(["rbind", "rprivate", "ro"]));
        assert_eq!(config["linux"].get("rootfsPropagation"), None);

        let mount = json!({"name": "other", "mountPath": "/x"});
        let error = config_of(&container(&json!({ "volumeMounts": [mount] }))).unwrap_err();
        assert_eq!(error.to_string(), "container router: there is no volume other");
    }

    #[test]
    fn requests_and_limits_are_those_of_a_kubelet() {
        let wanted = json!({"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"cpu": "2", "memory": "64Mi"}});
        let config = config_of(&container(&json!({ "resources": wanted }))).unwrap();
        let resources = &config["linux"]["resources"];
        assert_eq!(resources["cpu"], json!({"shares": 51, "period": 100_000, "quota": 200_000}));
        assert_eq!(resources["memory"], json!({"limit": 64 << 20}));
        let error = config_of(&container(&json!({"resources": {"limits": {"memory": "much"}}}))).unwrap_err();
        assert_eq!(error.to_string(), "`much` is not a supported quantity");
    }
}
