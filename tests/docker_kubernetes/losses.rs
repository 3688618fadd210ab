//! What an event loses of requests that are sent every millisecond, to each node and to a service that both advertise. In: a lab and
//! the event. Out: [`EventLosses`], and a line of each in [`LossTable::lines`].

use std::net::SocketAddr;
use std::time::Duration;

use crate::cluster_fixture::{ClusterFixture, step};
use crate::lab::fixture::RED;
use crate::lab::router::Router;
use crate::lab::traffic::{Echo, LossStats, Stream};

const PROBE: Duration = Duration::from_millis(1);
/// The port of the echo service.
const ECHO: u16 = 7;
/// Replies after an event, so that it is over.
const SETTLED: usize = 300;

/// Requests lost by destination and event.
#[derive(Default)]
pub struct LossTable {
    pub lines: Vec<String>,
}

/// Loss of one event.
#[derive(Debug)]
pub struct EventLosses {
    event: &'static str,
    by_node: Vec<LossStats>,
    of_service: LossStats,
}

impl EventLosses {
    #[track_caller]
    pub fn assert_none(&self) {
        self.by_node.iter().chain([&self.of_service]).for_each(|losses| losses.assert_lossless(self.event));
    }

    /// No destination is away for longer than this.
    #[track_caller]
    pub fn assert_outage_of_at_most(&self, limit: Duration) {
        let longest = self.by_node.iter().chain([&self.of_service]).map(|losses| losses.longest_outage).max().unwrap();
        assert!(longest <= limit, "longer than {limit:?}: {self:?}");
    }

    /// One node is affected, the other is not.
    #[track_caller]
    pub fn assert_one_node(&self) {
        let affected = self.by_node.iter().filter(|losses| losses.lost > 0).count();
        assert!(affected <= 1, "{self:?}");
    }

    /// Each node is affected while the other serves.
    #[track_caller]
    pub fn assert_one_node_at_a_time(&self) {
        let shortest = self.by_node.iter().map(|losses| losses.longest_outage).min().unwrap();
        assert!(self.of_service.longest_outage < shortest / 2, "{self:?}");
    }
}

impl LossTable {
    /// Sends requests while `work` is done.
    pub fn measure(
        &mut self,
        lab: &mut ClusterFixture,
        event: &'static str,
        work: impl FnOnce(&mut ClusterFixture),
    ) -> EventLosses {
        let host = lab.fixture.node("hostA_red").clone();
        let address =
            |router: &Router| SocketAddr::new([192, 169, 10, 2 + u8::try_from(router.index).unwrap()].into(), ECHO);
        let addresses: Vec<SocketAddr> = lab.fixture.routers.iter().map(address).collect();
        let nodes = lab.fixture.routers.iter().map(|router| &router.node);
        let echoes: Vec<Echo> = nodes.zip(&addresses).map(|(node, at)| Echo::start(node, *at)).collect();
        let probe = |at: &SocketAddr| Stream::probe(&host, *at, PROBE);
        let streams: Vec<Stream> = addresses.iter().map(probe).collect();
        let of_service = probe(&SocketAddr::new(RED.parse().unwrap(), ECHO));
        step(event, || work(lab));
        streams.iter().chain([&of_service]).for_each(|stream| stream.await_replies(SETTLED));
        let by_node: Vec<LossStats> = streams.into_iter().map(Stream::finish).collect();
        let of_service = of_service.finish();
        drop(echoes);
        let names =
            lab.fixture.routers.iter().map(|router| router.node.name().to_string()).chain(["service".to_owned()]);
        for (name, losses) in names.zip(by_node.iter().chain([&of_service])) {
            self.lines.push(format!("{event:<55} {name:<22} {losses}"));
        }
        EventLosses { event, by_node, of_service }
    }
}
