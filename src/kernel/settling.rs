//! NICs that the host is configuring: a network manager sets addresses first and routes a moment later, and would find the NIC
//! gone. In: what is observed of the NICs, and when. Out: which of them got another address a moment ago. A NIC that had its
//! addresses when it was first observed is settled. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::model::ObservedNics;
use super::netlink::contents::is_link_local;
use crate::types::IfName;

/// How long a NIC keeps its addresses before it counts as configured. Network managers need less than a second between the
/// addresses and the routes of a NIC.
pub const SETTLED: Duration = Duration::from_secs(5);

/// The addresses of the NICs at the last observation, and when they changed.
#[derive(Debug, Default)]
pub struct Settling(BTreeMap<IfName, (BTreeSet<IpNet>, Option<Instant>)>);

impl Settling {
    /// Marks those of the NICs on the host that are not settled. Returns when the next of them will be.
    pub fn mark(&mut self, asked: &BTreeSet<IfName>, nics: &mut ObservedNics, now: Instant) -> Option<Duration> {
        self.0.retain(|name, _| asked.contains(name));
        let mut next = None;
        for name in asked {
            let nic = nics.get_mut(name).filter(|nic| !nic.taken);
            let addresses = nic.as_ref().map(|nic| &nic.addresses).into_iter().flatten();
            let addresses: BTreeSet<IpNet> = addresses.filter(|net| !is_link_local(net)).copied().collect();
            let changed = match self.0.get(name) {
                None => None,
                Some((last, changed)) if *last == addresses => *changed,
                Some(_) => Some(now),
            };
            self.0.insert(name.clone(), (addresses, changed));
            let left = changed.and_then(|changed| SETTLED.checked_sub(now.duration_since(changed)));
            if let (Some(nic), Some(left)) = (nic, left.filter(|left| !left.is_zero())) {
                nic.settling = true;
                next = Some(next.map_or(left, |next: Duration| next.min(left)));
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::model::NicFacts;

    #[test]
    fn a_nic_settles_after_its_last_new_address() {
        let name: IfName = "eth1".parse().unwrap();
        let asked = BTreeSet::from([name.clone()]);
        let (mut settling, start) = (Settling::default(), Instant::now());
        let mut at = |seconds: u64, addresses: &[&str]| {
            let addresses = addresses.iter().map(|net| net.parse().unwrap()).collect();
            let nic = NicFacts { addresses, ..NicFacts::unused(name.clone(), 1500) };
            let mut nics = ObservedNics::from([(name.clone(), nic)]);
            let next = settling.mark(&asked, &mut nics, start + Duration::from_secs(seconds));
            (nics[&name].settling, next.map(|next| next.as_secs()))
        };
        assert_eq!(at(0, &["10.0.0.1/24"]), (false, None), "configured before");
        assert_eq!(at(1, &["10.0.0.1/24", "fe80::1/64"]), (false, None));
        assert_eq!(at(2, &["10.0.0.1/24", "10.0.0.2/24"]), (true, Some(5)));
        assert_eq!(at(5, &["10.0.0.1/24", "10.0.0.2/24"]), (true, Some(2)));
        assert_eq!(at(7, &["10.0.0.1/24", "10.0.0.2/24"]), (false, None));
    }

    #[test]
    fn a_nic_that_appears_settles_first() {
        let name: IfName = "eth1".parse().unwrap();
        let asked = BTreeSet::from([name.clone()]);
        let (mut settling, now) = (Settling::default(), Instant::now());
        assert_eq!(settling.mark(&asked, &mut ObservedNics::new(), now), None);
        let nic =
            NicFacts { addresses: ["10.0.0.1/24".parse().unwrap()].into(), ..NicFacts::unused(name.clone(), 1500) };
        let mut nics = ObservedNics::from([(name.clone(), nic)]);
        assert_eq!(settling.mark(&asked, &mut nics, now), Some(SETTLED));
        assert!(nics[&name].settling);
    }
}
