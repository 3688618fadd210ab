//! What an image stands for in a lab without containers.
//!
//! In: the name of an image. Out: the [`RootFs`] that plays it and the [`Program`] that it starts by itself. It must not
//! touch the machine.

/// An image that the runner can play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The image as the file names it.
    pub name: String,
    /// The files under a node of this image.
    pub rootfs: RootFs,
    /// What the image starts unless the node has a `cmd`.
    pub program: Program,
}

/// The root file system of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootFs {
    /// The machine's own, with the private directories of [`crate::rootfs`] over it.
    Host,
    /// One of Debian trixie, which has FRR 10.3, likewise: see [`crate::frr::trixie`].
    Trixie,
}

/// What runs in a node by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// FRR's daemons as /etc/frr/daemons of the node names them.
    Frr,
    /// Nothing.
    Idle,
}

/// Repositories of images that carry FRR.
const FRR: [&str; 3] = ["quay.io/frrouting/frr", "docker.io/frrouting/frr", "frrouting/frr"];

/// Repositories of images that carry the usual network tools and wait.
const TOOLBOX: [&str; 5] = [
    "ghcr.io/srl-labs/network-multitool",
    "wbitt/network-multitool",
    "praqma/network-multitool",
    "nicolaka/netshoot",
    "ghcr.io/nicolaka/netshoot",
];

impl Image {
    /// The image of that name, if the runner can play it.
    pub fn named(name: &str) -> Option<Self> {
        let repository = without_tag(name);
        let program = if FRR.contains(&repository) {
            Program::Frr
        } else if TOOLBOX.contains(&repository) {
            Program::Idle
        } else {
            return None;
        };
        Some(Self { name: name.to_owned(), rootfs: rootfs(name, program), program })
    }

    /// Every repository that [`Image::named`] takes.
    pub fn known() -> String {
        FRR.iter().chain(&TOOLBOX).copied().collect::<Vec<_>>().join(", ")
    }
}

/// FRR 10.3 is played by FRR 10.3, every other release by that of the machine.
fn rootfs(name: &str, program: Program) -> RootFs {
    let name = name.split_once('@').map_or(name, |(before, _)| before);
    let tag = name.strip_prefix(without_tag(name)).unwrap_or_default().trim_start_matches(':');
    let is_10_3 = tag == "10.3" || tag.starts_with("10.3.");
    if program == Program::Frr && is_10_3 { RootFs::Trixie } else { RootFs::Host }
}

/// `quay.io/frrouting/frr:9.1.0@sha256:…` → `quay.io/frrouting/frr`; a port of the registry is no tag.
pub(crate) fn without_tag(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(before, _)| before);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_does_not_matter() {
        let table = [
            ("quay.io/frrouting/frr:9.1.0", Some(Program::Frr)),
            ("quay.io/frrouting/frr", Some(Program::Frr)),
            ("quay.io/frrouting/frr@sha256:00", Some(Program::Frr)),
            ("ghcr.io/srl-labs/network-multitool:latest", Some(Program::Idle)),
            ("registry:5000/frrouting/frr", None),
            ("ceos:4.30", None),
        ];
        for (name, program) in table {
            assert_eq!(Image::named(name).map(|image| image.program), program, "{name}");
        }
    }

    #[test]
    fn frr_10_3_has_a_root_of_its_own() {
        let table = [
            ("quay.io/frrouting/frr:10.3.1", RootFs::Trixie),
            ("quay.io/frrouting/frr:10.3@sha256:00", RootFs::Trixie),
            ("quay.io/frrouting/frr:10.30", RootFs::Host),
            ("quay.io/frrouting/frr:9.1.0", RootFs::Host),
            ("nicolaka/netshoot:10.3", RootFs::Host),
        ];
        for (name, rootfs) in table {
            assert_eq!(Image::named(name).map(|image| image.rootfs), Some(rootfs), "{name}");
        }
    }
}
