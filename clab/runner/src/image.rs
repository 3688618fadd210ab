//! What replaces an image in a lab without containers.
//!
//! In: the name of an image. Out: the [`RootFs`] that replaces it and the [`NodeProgram`] that it starts. It must not access
//! the machine.

/// An image that the runner can replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The image as in the file.
    pub name: String,
    /// The root file system of a node with this image.
    pub rootfs: RootFs,
    /// The program that the image starts unless the node has a `cmd`.
    pub program: NodeProgram,
}

/// The root file system of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootFs {
    /// That of the machine, with private directories mounted over it.
    Host,
    /// That of the Debian suite that has this release of FRR, in the same way.
    Frr(FrrRelease),
}

/// A release of FRR that has a root file system of its own, built by `hack/frr.sh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrrRelease {
    /// 10.3, in Debian trixie.
    V10_3,
    /// 10.7, in Debian forky.
    V10_7,
}

impl FrrRelease {
    /// Every release, oldest first.
    pub const ALL: [Self; 2] = [Self::V10_3, Self::V10_7];

    /// Major and minor version: `10.3`.
    pub fn number(self) -> &'static str {
        match self {
            Self::V10_3 => "10.3",
            Self::V10_7 => "10.7",
        }
    }
}

/// The program that a node starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeProgram {
    /// FRR's daemons as /etc/frr/daemons of the node names them.
    Frr,
    /// Nothing.
    Idle,
}

/// Repositories of images with FRR.
const FRR: [&str; 3] = ["quay.io/frrouting/frr", "docker.io/frrouting/frr", "frrouting/frr"];

/// Repositories of images with the usual network tools, which start nothing else.
const TOOLBOX: [&str; 5] = [
    "ghcr.io/srl-labs/network-multitool",
    "wbitt/network-multitool",
    "praqma/network-multitool",
    "nicolaka/netshoot",
    "ghcr.io/nicolaka/netshoot",
];

impl Image {
    /// The image with that name, if the runner supports it.
    pub fn named(name: &str) -> Option<Self> {
        let repository = without_tag(name);
        let program = if FRR.contains(&repository) {
            NodeProgram::Frr
        } else if TOOLBOX.contains(&repository) {
            NodeProgram::Idle
        } else {
            return None;
        };
        Some(Self { name: name.to_owned(), rootfs: rootfs(name, program), program })
    }

    /// Every repository that [`Image::named`] accepts.
    pub fn known() -> String {
        FRR.iter().chain(&TOOLBOX).copied().collect::<Vec<_>>().join(", ")
    }
}

/// A release that has a root file system is replaced by itself, every other one by that of the machine.
fn rootfs(name: &str, program: NodeProgram) -> RootFs {
    let name = name.split_once('@').map_or(name, |(before, _)| before);
    let tag = name.strip_prefix(without_tag(name)).unwrap_or_default().trim_start_matches(':');
    let is = |release: &FrrRelease| {
        tag.strip_prefix(release.number()).is_some_and(|patch| patch.is_empty() || patch.starts_with('.'))
    };
    match FrrRelease::ALL.into_iter().find(is) {
        Some(release) if program == NodeProgram::Frr => RootFs::Frr(release),
        _ => RootFs::Host,
    }
}

/// `quay.io/frrouting/frr:9.1.0@sha256:…` → `quay.io/frrouting/frr`; a port of the registry is not a tag.
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
            ("quay.io/frrouting/frr:9.1.0", Some(NodeProgram::Frr)),
            ("quay.io/frrouting/frr", Some(NodeProgram::Frr)),
            ("quay.io/frrouting/frr@sha256:00", Some(NodeProgram::Frr)),
            ("ghcr.io/srl-labs/network-multitool:latest", Some(NodeProgram::Idle)),
            ("registry:5000/frrouting/frr", None),
            ("ceos:4.30", None),
        ];
        for (name, program) in table {
            assert_eq!(Image::named(name).map(|image| image.program), program, "{name}");
        }
    }

    #[test]
    fn some_releases_of_frr_have_their_own_root() {
        let table = [
            ("quay.io/frrouting/frr:10.3.1", RootFs::Frr(FrrRelease::V10_3)),
            ("quay.io/frrouting/frr:10.3@sha256:00", RootFs::Frr(FrrRelease::V10_3)),
            ("quay.io/frrouting/frr:10.7.1", RootFs::Frr(FrrRelease::V10_7)),
            ("quay.io/frrouting/frr:10.30", RootFs::Host),
            ("quay.io/frrouting/frr:9.1.0", RootFs::Host),
            ("nicolaka/netshoot:10.3", RootFs::Host),
        ];
        for (name, rootfs) in table {
            assert_eq!(Image::named(name).map(|image| image.rootfs), Some(rootfs), "{name}");
        }
    }
}
