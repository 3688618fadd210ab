//! Which daemons are restarted together. What each needs before it starts is in [`crate::frr::release`]. Pure.

use crate::runtime::Daemon;

/// The daemons that are restarted along with one that exited, so that forwarding goes on: a new zebra adopts the routes that
/// it finds in the kernel, and nothing else keeps them there.
///
/// * bgpd stays without zebra where it can (`bgpd_stays`), since peers notice when it exits. The others would connect to a
///   new zebra only after 10 s, and zebra would then remove routes of theirs.
/// * Without bgpd, zebra removes bgpd's routes: at once, or with graceful restart when the new bgpd is up and has not
///   received them again yet. A zebra that is killed along with bgpd removes nothing.
/// * mgmtd would send a new zebra the L3VNIs before zebra has their links.
pub(crate) fn restarted_with(daemon: Daemon, bgpd_stays: bool) -> &'static [Daemon] {
    match daemon {
        Daemon::Zebra if bgpd_stays => &[Daemon::Bfdd, Daemon::Staticd, Daemon::Mgmtd],
        Daemon::Zebra => &[Daemon::Bgpd, Daemon::Bfdd, Daemon::Staticd, Daemon::Mgmtd],
        Daemon::Bgpd => &[Daemon::Zebra, Daemon::Bfdd, Daemon::Staticd, Daemon::Mgmtd],
        Daemon::Mgmtd | Daemon::Bfdd | Daemon::Staticd => &[],
    }
}
