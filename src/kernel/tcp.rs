//! TCP counters of network namespaces. In: the texts of `/proc`. Out: [`TcpCounts`]. Changes nothing.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::netns::{self, NetnsError};

/// Counted since the namespace was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpCounts {
    /// Segments dropped because of a missing, wrong or unexpected TCP MD5 signature (RFC 2385).
    pub md5_failures: u64,
    /// Those of them that have a signature where none is expected: the peer has a password, and this side has none.
    pub md5_unexpected: u64,
    /// Connections that peers opened.
    pub passive_opens: u64,
}

/// Reads the counters of each of the namespaces.
pub(crate) fn read(namespaces: &[Arc<File>]) -> Result<Vec<TcpCounts>, NetnsError> {
    // `/proc/net` is that of the process, not of the thread.
    let path = |name| ((), PathBuf::from("/proc/thread-self/net").join(name));
    let found = netns::read_files_of_each(namespaces, &[path("netstat"), path("snmp")])?;
    let text = |texts: Vec<((), String)>| texts.into_iter().map(|((), text)| text).collect::<String>();
    Ok(found.into_iter().map(|texts| counts(&text(texts))).collect())
}

fn counts(text: &str) -> TcpCounts {
    let md5 = ["TCPMD5NotFound", "TCPMD5Unexpected", "TCPMD5Failure"];
    TcpCounts {
        md5_failures: md5.iter().map(|name| counter(text, "TcpExt:", name)).sum(),
        md5_unexpected: counter(text, "TcpExt:", "TCPMD5Unexpected"),
        passive_opens: counter(text, "Tcp:", "PassiveOpens"),
    }
}

/// A counter of a group: one line has the names, the next one the values. 0 where the kernel does not have it.
fn counter(text: &str, group: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter(|line| line.split(' ').next() == Some(group));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    let found = names.split(' ').zip(values.split(' ')).find(|(other, _)| *other == name);
    found.and_then(|(_, value)| value.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_group_and_name() {
        let text = "Tcp: RtoMin PassiveOpens\nTcp: 200 7\nTcpExt: SyncookiesSent TCPMD5Failure\nTcpExt: 1 3\n";
        assert_eq!(counter(text, "Tcp:", "PassiveOpens"), 7);
        assert_eq!(counter(text, "TcpExt:", "TCPMD5Failure"), 3);
        assert_eq!(counter(text, "TcpExt:", "PassiveOpens"), 0);
        assert_eq!(counter("", "Tcp:", "PassiveOpens"), 0);
    }
}
