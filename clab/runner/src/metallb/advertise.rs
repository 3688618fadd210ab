//! Which prefixes are announced to each peer: pools, communities and advertisements.
//!
//! In: the specs of these objects and the services. Out: announcements by peer, or the object at fault. It must not know
//! sessions or FRR.

use ipnet::{IpNet, IpSubnets, Ipv4Subnets, Ipv6Subnets};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::announcer::{Announcement, Service, host_prefix};
use super::error::ManifestError;
use super::spec::{AdvertisementSpec, CommunitySpec, PeerSpec, PoolSpec};

/// The addresses of one entry of a pool.
pub(super) struct Range {
    entry: String,
    first: IpAddr,
    last: IpAddr,
}

impl Range {
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && (self.first..=self.last).contains(&address)
    }

    /// Length of the shortest prefix within the range.
    fn shortest(&self) -> u8 {
        let subnets = match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => IpSubnets::V4(Ipv4Subnets::new(first, last, 0)),
            (IpAddr::V6(first), IpAddr::V6(last)) => IpSubnets::V6(Ipv6Subnets::new(first, last, 0)),
            _ => return host_prefix(self.first).prefix_len(),
        };
        subnets.map(|net| net.prefix_len()).min().unwrap_or_else(|| host_prefix(self.first).prefix_len())
    }
}

/// Pools by name.
pub(super) type Pools = BTreeMap<String, Vec<Range>>;

/// Reads the entries of all pools.
pub(super) fn pools(specs: &BTreeMap<String, PoolSpec>) -> Result<Pools, ManifestError> {
    specs.iter().map(|(name, pool)| Ok((name.clone(), ranges(name, pool)?))).collect()
}

fn ranges(pool: &str, spec: &PoolSpec) -> Result<Vec<Range>, ManifestError> {
    let range = |entry: &String| {
        let of = |first, last| Range { entry: entry.clone(), first, last };
        let ends = entry
            .split_once('-')
            .and_then(|(first, last)| Some(of(first.trim().parse().ok()?, last.trim().parse().ok()?)));
        let prefix = || entry.parse::<IpNet>().ok().map(|net| of(net.network(), net.broadcast()));
        let valid = ends.or_else(prefix).filter(|range| range.first.is_ipv4() == range.last.is_ipv4());
        valid.ok_or_else(|| ManifestError::Range { pool: pool.to_owned(), entry: entry.clone() })
    };
    spec.addresses.iter().map(range).collect()
}

/// Aliases of communities by name.
pub(super) type Aliases = BTreeMap<String, String>;

/// Aliases of all Community objects.
pub(super) fn aliases(specs: &BTreeMap<String, CommunitySpec>) -> Result<Aliases, ManifestError> {
    let mut aliases = Aliases::new();
    for (object, alias) in specs.iter().flat_map(|(name, spec)| spec.communities.iter().map(move |a| (name, a))) {
        let value = community(&alias.value).ok_or_else(|| ManifestError::Community {
            object: format!("Community/{object}"),
            text: alias.value.clone(),
        })?;
        if aliases.insert(alias.name.clone(), value).is_some() {
            return Err(ManifestError::DuplicateAlias { object: object.clone(), alias: alias.name.clone() });
        }
    }
    Ok(aliases)
}

/// `ASN:VALUE`, or `large:ASN:VALUE:VALUE`; well-known names are not supported.
fn community(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split(':').collect();
    let valid = match words.as_slice() {
        ["large", parts @ ..] => parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok()),
        parts => parts.len() == 2 && parts.iter().all(|part| part.parse::<u16>().is_ok()),
    };
    valid.then(|| text.to_owned())
}

/// An announcement and the advertisement that requests it.
struct Requested<'a> {
    advertisement: &'a str,
    announcement: Announcement,
}

/// Announcements by peer; an advertisement that names no pools or no peers applies to all of them.
pub(super) fn announced(
    advertisements: &BTreeMap<String, AdvertisementSpec>,
    peers: &BTreeMap<String, PeerSpec>,
    (pools, aliases): (&Pools, &Aliases),
    services: &BTreeMap<String, Service>,
) -> Result<BTreeMap<String, Vec<Announcement>>, ManifestError> {
    let mut requested: BTreeMap<String, Vec<Requested<'_>>> = BTreeMap::new();
    for (name, spec) in advertisements {
        let found = announcements(name, spec, (pools, aliases), services)?;
        if let Some(missing) = spec.peers.iter().find(|peer| !peers.contains_key(*peer)) {
            return Err(no_such(name, "BGPPeer", missing));
        }
        for (peer, _) in peers.iter().filter(|(peer, _)| spec.peers.is_empty() || spec.peers.contains(peer)) {
            let requested = requested.entry(peer.clone()).or_default();
            for announcement in &found {
                one_preference(name, announcement, requested)?;
                requested.push(Requested { advertisement: name, announcement: announcement.clone() });
            }
        }
    }
    let of_peer = |(peer, requested): (String, Vec<Requested<'_>>)| {
        (peer, requested.into_iter().map(|requested| requested.announcement).collect())
    };
    Ok(requested.into_iter().map(of_peer).collect())
}

/// `MetalLB` rejects two preferences that apply to one node. Here the nodes are not known yet, so any two are rejected.
fn one_preference(name: &str, announcement: &Announcement, requested: &[Requested<'_>]) -> Result<(), ManifestError> {
    let clash = requested.iter().find(|other| {
        let Announcement { prefix, local_pref, .. } = &other.announcement;
        *prefix == announcement.prefix && *local_pref != announcement.local_pref
    });
    let Some(Requested { advertisement, announcement: other }) = clash else { return Ok(()) };
    Err(ManifestError::ConflictingPreferences {
        first: (*advertisement).to_owned(),
        one: other.local_pref,
        second: name.to_owned(),
        other: announcement.local_pref,
        prefix: announcement.prefix,
    })
}

fn no_such(advertisement: &str, kind: &'static str, name: &str) -> ManifestError {
    ManifestError::UnknownReference { advertisement: advertisement.to_owned(), kind, name: name.to_owned() }
}

/// The announcements of one advertisement, for the services that have an address in its pools.
fn announcements(
    name: &str,
    spec: &AdvertisementSpec,
    (pools, aliases): (&Pools, &Aliases),
    services: &BTreeMap<String, Service>,
) -> Result<Vec<Announcement>, ManifestError> {
    let lengths = lengths(name, spec)?;
    if let Some(missing) = spec.ip_address_pools.iter().find(|pool| !pools.contains_key(*pool)) {
        return Err(no_such(name, "IPAddressPool", missing));
    }
    let value = |text: &String| {
        let value = aliases.get(text).cloned().or_else(|| community(text));
        value.ok_or_else(|| ManifestError::Community { object: format!("BGPAdvertisement/{name}"), text: text.clone() })
    };
    let communities = spec.communities.iter().map(value).collect::<Result<BTreeSet<_>, _>>()?;
    let all = spec.ip_address_pools.is_empty();
    let named = pools.iter().filter(|(pool, _)| all || spec.ip_address_pools.contains(pool));
    let mut prefixes = BTreeSet::new();
    for (pool, range) in named.flat_map(|(pool, ranges)| ranges.iter().map(move |range| (pool, range))) {
        let length = if range.first.is_ipv4() { lengths.0 } else { lengths.1 };
        if length < range.shortest() {
            let (advertisement, pool, entry) = (name.to_owned(), pool.clone(), range.entry.clone());
            return Err(ManifestError::ExceedsPool { advertisement, length, pool, entry });
        }
        let addresses = services.values().flat_map(|service| &service.addresses);
        let of_range = addresses.filter(|address| range.contains(**address));
        prefixes.extend(of_range.filter_map(|address| IpNet::new(*address, length).ok()).map(|net| net.trunc()));
    }
    let announcement = |prefix| Announcement {
        prefix,
        local_pref: spec.local_pref,
        communities: communities.clone(),
        nodes: spec.node_selectors.clone(),
    };
    Ok(prefixes.into_iter().map(announcement).collect())
}

fn lengths(name: &str, spec: &AdvertisementSpec) -> Result<(u8, u8), ManifestError> {
    let check = |length: Option<u8>, most: u8, family| match length {
        Some(length) if length > most => Err(ManifestError::Length { advertisement: name.to_owned(), length, family }),
        length => Ok(length.unwrap_or(most)),
    };
    Ok((check(spec.aggregation_length, 32, "IPv4")?, check(spec.aggregation_length_v6, 128, "IPv6")?))
}
