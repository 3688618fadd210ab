//! Settings whose changes cause no message of the kernel: their files are kept open, as to open one takes longer than to read
//! it, and read in turns. In: a namespace and its links. Out: whether one has another value than was observed. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::model::{LinkSetting, Netns, Sysctl};
use super::netlink::contents::{NetnsContents, ObservedLink};
use super::netns::{self, NetnsError};
use crate::names::{OwnedName, Role};
use crate::write_watch::{WatchedFile, WriteWatch};

/// Those of a link that are polled. Where a device forwards, redirects are accepted only if the setting for all devices is on
/// too, which is polled in the router.
const OF_LINK: [LinkSetting; 2] = [LinkSetting::SendRedirects, LinkSetting::RouteLocalnet];

/// A file of a link, which belongs to its ifindex and name.
#[derive(Debug)]
struct LinkFile {
    link: (u32, String),
    setting: LinkSetting,
    file: WatchedFile,
}

/// The open files of one namespace.
#[derive(Debug, Default)]
pub struct PolledSettings {
    watch: Arc<WriteWatch>,
    of_namespace: Vec<(Sysctl, WatchedFile)>,
    of_links: Vec<LinkFile>,
    /// The first of `of_links` that is read next.
    next: usize,
}

impl PolledSettings {
    /// None yet.
    pub fn new(watch: Arc<WriteWatch>) -> Self {
        Self { watch, ..Self::default() }
    }

    /// Whether inotify reports writes to all of them.
    pub fn is_watched(&self) -> bool {
        let of_links = self.of_links.iter().map(|link| &link.file);
        self.of_namespace.iter().map(|(_, file)| file).chain(of_links).all(WatchedFile::is_watched)
    }

    /// Opens the files of the settings of a namespace, once. Those of the host are its own.
    pub fn open(&mut self, netns: &Netns, file: &File) -> Result<(), NetnsError> {
        if self.of_namespace.is_empty() && *netns != Netns::Host {
            let here = |sysctl: &Sysctl| *netns == Netns::Router || !sysctl.is_of_vrf_devices();
            let path = |sysctl: Sysctl| (sysctl, Path::new("/proc/sys").join(sysctl.path()));
            let files = netns::open_files(file, Sysctl::POLLED.into_iter().filter(here).map(path).collect())?;
            self.of_namespace = files.into_iter().map(|(sysctl, file)| (sysctl, self.watch.watch(file))).collect();
        }
        Ok(())
    }

    /// Opens the files of new links of ours, and closes those of links that are gone.
    pub fn open_links(&mut self, file: &File, links: &BTreeMap<u32, Arc<ObservedLink>>) -> Result<(), NetnsError> {
        let is_routed = |link: &ObservedLink| {
            link.owned.as_ref().is_some_and(|name| !matches!(name, OwnedName::Vni(Role::Vxlan, _)))
        };
        let ours = links.iter().filter(|(_, link)| is_routed(link)).map(|(index, link)| (*index, link.name.clone()));
        let mut new: BTreeSet<(u32, String)> = ours.collect();
        self.of_links.retain(|file| new.contains(&file.link));
        for file in &self.of_links {
            new.remove(&file.link);
        }
        if new.is_empty() {
            return Ok(());
        }
        let path = |(index, name): &(u32, String), setting: LinkSetting| {
            let path = Path::new("/proc/sys").join(setting.path(name));
            (((*index, name.clone()), setting), path)
        };
        let paths = new.iter().flat_map(|link| OF_LINK.map(|setting| path(link, setting)));
        let opened = netns::open_files(file, paths.collect())?;
        let watched = |((link, setting), file)| LinkFile { link, setting, file: self.watch.watch(file) };
        self.of_links.extend(opened.into_iter().map(watched));
        Ok(())
    }

    /// How many files of links there are.
    pub fn link_files(&self) -> usize {
        self.of_links.len()
    }

    /// Whether a setting of the namespace differs from `known`. Of a namespace that is gone nothing can be read.
    pub fn differ(&self, known: &BTreeMap<Sysctl, u32>) -> bool {
        let differs = |(sysctl, watched): &(Sysctl, WatchedFile)| {
            value_of(&watched.file).is_some_and(|value| known.get(sysctl) != Some(&value))
        };
        self.of_namespace.iter().any(differs)
    }

    /// The same of the next `count` settings of links.
    pub fn links_differ(&mut self, known: &NetnsContents, count: usize) -> bool {
        let files = self.of_links.len();
        let first = self.next % files.max(1);
        let count = count.min(files);
        self.next = first + count;
        let differs = |LinkFile { link: (index, _), setting, file }: &LinkFile| {
            let observed = known.links.get(index).map(|link| link.settings.contains(setting));
            value_of(&file.file).is_some_and(|value| observed != Some(value != 0))
        };
        self.of_links.iter().cycle().skip(first).take(count).any(differs)
    }
}

/// The number in a file below `/proc/sys`.
fn value_of(file: &File) -> Option<u32> {
    let mut text = [0; 16];
    let length = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(text.get(..length)?).ok()?.trim().parse().ok()
}
