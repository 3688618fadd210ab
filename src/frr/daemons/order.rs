//! How the daemons depend on each other. Pure.

use crate::runtime::Daemon;

/// In the order of their start.
pub(crate) const ALL: [Daemon; 5] = [Daemon::Mgmtd, Daemon::Zebra, Daemon::Bgpd, Daemon::Bfdd, Daemon::Staticd];

/// What must run before a daemon. Zebra of FRR 10 does not take up an L3VNI without mgmtd.
pub(crate) fn needs(daemon: Daemon) -> Option<Daemon> {
    match daemon {
        Daemon::Mgmtd => None,
        Daemon::Zebra => Some(Daemon::Mgmtd),
        Daemon::Bgpd | Daemon::Bfdd | Daemon::Staticd => Some(Daemon::Zebra),
    }
}

/// What is started anew when a daemon has died, so that forwarding goes on: a new zebra adopts the routes that it finds
/// in the kernel, and nobody else keeps them there.
///
/// * bgpd outlives zebra where it can (`bgpd_lives`): its end is what peers notice. The others would connect to a new
///   zebra only after 10 s, and zebra would then remove routes of theirs.
/// * Without bgpd, zebra removes bgpd's routes: at once, or with graceful restart when the new bgpd is up and has not
///   yet learnt them again. A zebra that died with bgpd removes nothing.
/// * mgmtd would tell a new zebra of the L3VNIs before their links are known to it.
pub(crate) fn taken_along(daemon: Daemon, bgpd_lives: bool) -> &'static [Daemon] {
    match daemon {
        Daemon::Zebra if bgpd_lives => &[Daemon::Bfdd, Daemon::Staticd, Daemon::Mgmtd],
        Daemon::Zebra => &[Daemon::Bgpd, Daemon::Bfdd, Daemon::Staticd, Daemon::Mgmtd],
        Daemon::Bgpd => &[Daemon::Zebra, Daemon::Bfdd, Daemon::Staticd, Daemon::Mgmtd],
        Daemon::Mgmtd | Daemon::Bfdd | Daemon::Staticd => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_daemon_starts_after_what_it_needs() {
        for (index, daemon) in ALL.into_iter().enumerate() {
            assert!(needs(daemon).is_none_or(|needed| ALL[..index].contains(&needed)), "{daemon}");
        }
    }
}
