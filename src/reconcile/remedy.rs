//! The text of a failure as users see it: the error with all its causes, and what they can do about it in which field of the
//! object. The one place that knows both the facts of the kernel and the fields. Pure.

use std::error::Error;
use std::iter::successors;

use crate::kernel::OpError;
use crate::ovs::OvsError;

/// The failures of a scope, each text once.
pub fn texts<'a, E: Error + 'static>(failures: impl IntoIterator<Item = &'a E>) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for text in failures.into_iter().map(|failure| text(failure)) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

/// An error with its causes and remedies in one line. Where Open vSwitch is absent, the operation is omitted.
pub fn text(error: &(dyn Error + 'static)) -> String {
    let of_absent =
        |error: &&(dyn Error + 'static)| matches!(error.downcast_ref(), Some(OpError::Ovs(ovs)) if ovs.is_absent());
    let error = successors(Some(error), |error| (*error).source()).find(of_absent).unwrap_or(error);
    let with_remedy = |error: &(dyn Error + 'static)| match error.downcast_ref().and_then(remedy) {
        Some(remedy) => format!("{error}: {remedy}"),
        None => error.to_string(),
    };
    successors(Some(error), |error| (*error).source()).map(with_remedy).collect::<Vec<_>>().join(": ")
}

/// What a user can do about a failed op.
fn remedy(error: &OpError) -> Option<String> {
    match error {
        OpError::NoHostVrf(vrf) => {
            Some(format!("create it (ip link add {vrf} type vrf table N), or remove spec.hostSession.vrf"))
        }
        OpError::NoHostBridge(bridge) => Some(format!(
            "create it (ip link add {bridge} type bridge), or name another one in spec.hostMaster.linuxBridge.name; the rest of \
             the segment is in place, and the bridge gets its port when it appears"
        )),
        OpError::NotHostBridge(_) => Some("name a bridge of the host in spec.hostMaster.linuxBridge.name".to_owned()),
        OpError::Ovs(error) => ovs_remedy(error),
        OpError::NotHostVrf(_) => Some("name one of the host, or remove spec.hostSession.vrf".to_owned()),
        OpError::NicBound(_) => {
            // No macvlan: zebra before 10.0 crashes (frr#15370).
            Some(
                "name a physical, virtual function, VLAN or veth interface in spec.nics; of a bond its members, or a VLAN \
                 interface on top of it"
                    .to_owned(),
            )
        }
        OpError::NoNftables(_) => Some(
            "load nf_tables (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET), or have the host connect to 179 and remove \
             hostSession.listenPort"
                .to_owned(),
        ),
        // What perouter created is not in the way: it replaces that.
        OpError::LinkExists(_) => Some("rename or delete it".to_owned()),
        OpError::ForeignLink { name, .. } => Some(format!("delete it (ip link delete {name} in that namespace)")),
        OpError::Netlink(_)
        | OpError::NoLink { .. }
        | OpError::NoNic(_)
        | OpError::Record(_)
        | OpError::Settings { .. }
        | OpError::NicNotOurs(_)
        | OpError::Netns(_)
        | OpError::NoSetting
        | OpError::Note { .. }
        | OpError::NoKind => None,
    }
}

/// What a user can do about a failure of Open vSwitch.
fn ovs_remedy(error: &OvsError) -> Option<String> {
    let rest = "the rest of the segment is in place";
    match error {
        OvsError::Shared(error) => ovs_remedy(error),
        OvsError::Unreachable { .. } if error.is_denied() => {
            Some(format!("run perouter as a user that may open it, as root; {rest}"))
        }
        OvsError::DeletedDirectory { .. } => Some(format!(
            "restart the Pod of the controller, whose mount shows the deleted directory instead of the new one; {rest}"
        )),
        // The socket is there.
        OvsError::Unreachable { .. } if error.may_pass() => {
            Some(format!("start Open vSwitch (openvswitch-switch); {rest}"))
        }
        OvsError::Unreachable { path, .. } => {
            let dir = path.parent().unwrap_or(path).display();
            Some(format!(
                "install or start Open vSwitch (openvswitch-switch), mount {dir} of the node into the Pod of the controller, or set \
                 --ovs-socket; {rest}"
            ))
        }
        OvsError::NoBridge(bridge) => Some(format!(
            "create it (ovs-vsctl add-br {bridge}), or name another one in spec.hostMaster.ovsBridge.name; {rest}, and the bridge \
             gets its port when it appears"
        )),
        OvsError::ForeignBridge(bridge) => Some(format!(
            "remove it (ovs-vsctl del-br {bridge}), or set spec.hostMaster.ovsBridge.lifecycle to External with the name of a bridge"
        )),
        OvsError::ForeignPort { port, bridge } => {
            Some(format!("remove it (ovs-vsctl del-port {bridge} {port}), or change spec.hostMaster; {rest}"))
        }
        OvsError::PortElsewhere { port, bridge } => {
            Some(format!("remove it if it remains (ovs-vsctl del-port {bridge} {port}); {rest}"))
        }
        OvsError::NotApplied => Some(format!("start ovs-vswitchd, or see its log; {rest}")),
        OvsError::NotAttached { .. } => Some("see the log of ovs-vswitchd".to_owned()),
        OvsError::NoAnswer => Some("see the log of ovsdb-server".to_owned()),
        OvsError::Connection(_)
        | OvsError::Closed
        | OvsError::Json(_)
        | OvsError::Unexpected(_)
        | OvsError::Rejected { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;
    use rstest::rstest;
    use std::sync::Arc;

    use super::*;
    use crate::kernel::model::{LinkKey, Netns};
    use crate::kernel::{KernelError, KernelOp, NetlinkError};
    use crate::names::{OwnedName, Role};
    use crate::reconcile::execute::Failure;
    use crate::types::Vni;

    #[rstest]
    #[case::no_vrf(
        OpError::NoHostVrf("v".parse().unwrap()),
        "the host has no VRF device v: create it (ip link add v type vrf table N), or remove spec.hostSession.vrf"
    )]
    #[case::other_kind(
        OpError::NotHostVrf("v".parse().unwrap()),
        "v is no VRF device: name one of the host, or remove spec.hostSession.vrf"
    )]
    #[case::before_the_cause(
        OpError::NoNftables(NetlinkError::Rejected { errno: Errno::EOPNOTSUPP, text: None }),
        "this kernel has no nftables, which a second BGP port needs: load nf_tables (CONFIG_NF_TABLES, \
         CONFIG_NF_TABLES_INET), or have the host connect to 179 and remove hostSession.listenPort: EOPNOTSUPP: Operation not \
         supported on transport endpoint"
    )]
    #[case::link_exists(
        OpError::LinkExists(NetlinkError::Rejected { errno: Errno::EEXIST, text: None }),
        "a link of somebody else has this name or VNI: rename or delete it: EEXIST: File exists"
    )]
    #[case::no_open_vswitch(
        OpError::Ovs(OvsError::Shared(Arc::new(OvsError::Unreachable {
            path: "/run/openvswitch/db.sock".into(),
            source: std::io::Error::from_raw_os_error(2),
        }))),
        "the database of Open vSwitch is not reachable at /run/openvswitch/db.sock: install or start Open vSwitch \
         (openvswitch-switch), mount /run/openvswitch of the node into the Pod of the controller, or set --ovs-socket; the rest of \
         the segment is in place: No such file or directory (os error 2)"
    )]
    #[case::nobody_listens(
        OpError::Ovs(OvsError::Unreachable {
            path: "/run/openvswitch/db.sock".into(),
            source: std::io::Error::from_raw_os_error(111),
        }),
        "the database of Open vSwitch is not reachable at /run/openvswitch/db.sock: start Open vSwitch (openvswitch-switch); the \
         rest of the segment is in place: Connection refused (os error 111)"
    )]
    #[case::no_permission(
        OpError::Ovs(OvsError::Unreachable {
            path: "/run/openvswitch/db.sock".into(),
            source: std::io::Error::from_raw_os_error(13),
        }),
        "the database of Open vSwitch is not reachable at /run/openvswitch/db.sock: run perouter as a user that may open it, as \
         root; the rest of the segment is in place: Permission denied (os error 13)"
    )]
    #[case::deleted_directory(
        OpError::Ovs(OvsError::DeletedDirectory {
            path: "/run/openvswitch".into(),
            source: std::io::Error::from_raw_os_error(2),
        }),
        "the directory /run/openvswitch of the database of Open vSwitch was deleted on the node: restart the Pod of the \
         controller, whose mount shows the deleted directory instead of the new one; the rest of the segment is in place: No such \
         file or directory (os error 2)"
    )]
    #[case::port_elsewhere(
        OpError::Ovs(OvsError::PortElsewhere { port: "host-100".parse().unwrap(), bridge: "pods".to_owned() }),
        "Open vSwitch still has the port host-100 of perouter in bridge pods: remove it if it remains (ovs-vsctl del-port pods \
         host-100); the rest of the segment is in place"
    )]
    #[case::foreign_port(
        OpError::Ovs(OvsError::ForeignPort { port: "host-100".parse().unwrap(), bridge: "others".to_owned() }),
        "Open vSwitch has a port host-100 in bridge others that is not from perouter: remove it (ovs-vsctl del-port others \
         host-100), or change spec.hostMaster; the rest of the segment is in place"
    )]
    #[case::without_remedy(
        OpError::Netlink(NetlinkError::Rejected { errno: Errno::EBUSY, text: Some("in use".to_owned()) }),
        "EBUSY: Device or resource busy: in use"
    )]
    fn a_failure_names_its_remedy(#[case] source: OpError, #[case] expected: &str) {
        let op = if matches!(&source, OpError::Ovs(error) if error.is_absent()) {
            ""
        } else {
            "host: link set host-100 up: "
        };
        assert_eq!(text(&failure(100, source)), format!("{op}{expected}"));
    }

    fn failure(vni: u32, source: OpError) -> Failure {
        let name = OwnedName::Vni(Role::HostVeth, Vni::try_from(vni).unwrap());
        let op = Box::new(KernelOp::SetUp(LinkKey { netns: Netns::Host, name }));
        Failure::Kernel(KernelError::Op { op, source })
    }

    #[test]
    fn the_absence_of_open_vswitch_is_reported_once() {
        let absent = || {
            let error =
                OvsError::Unreachable { path: "/run/db.sock".into(), source: std::io::Error::from_raw_os_error(2) };
            OpError::Ovs(OvsError::Shared(Arc::new(error)))
        };
        let no_bridge = OpError::Ovs(OvsError::NoBridge("pods".parse().unwrap()));
        let found = texts(&[failure(100, absent()), failure(101, absent()), failure(101, no_bridge)]);
        let begins = [
            "the database of Open vSwitch is not reachable at /run/db.sock: ",
            "host: link set host-101 up: Open vSwitch has",
        ];
        assert!(found.len() == 2 && found.iter().zip(begins).all(|(text, begin)| text.starts_with(begin)), "{found:?}");
    }
}
