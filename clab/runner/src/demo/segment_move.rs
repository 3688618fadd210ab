//! A Pod of the demo moves to the other node while a host of the fabric sends requests to it.
//!
//! In: the Pods on a segment. Out: how long it was away, and for what reason. It must not know the other steps.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::context::{DemoContext, NODES, await_state};
use super::error::StepError;
use super::segment::{DemoPod, PODS, attach};
use super::settings::Demo;
use crate::traffic::{self, Echo, LossStats, Outage, Stream, Timing};
use crate::wait;
use crate::workload::Workload;

const HOST: &str = "hostA_red";
const PORT: u16 = 7;
const TIMING: Timing = Timing { interval: Duration::from_millis(1), reply_timeout: Duration::from_millis(500) };
/// How long the Pod may be away.
const TIMEOUT: Duration = Duration::from_secs(40);
/// Requests go on for so long before the move, and after the first reply.
const STEADY: Duration = Duration::from_secs(1);

/// Moves the first Pod from the first node to the second one.
pub(super) fn move_first(_: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    let old = context.pods[0].clone();
    let [from, to] = [old.node().clone(), context.lab.node(NODES[1])?.clone()];
    // Until the end: an echo takes a while to stop.
    let _old_echo = echo(&old)?;
    let stream = probe(context)?;
    let sending = Instant::now();
    std::thread::sleep(STEADY);
    let start = Instant::now();
    old.remove()?;
    let removed = start.elapsed();
    let new = attach(&to, &PODS[0])?;
    // Later ones are of its new node: nothing replies there yet.
    let before = stream.replies();
    let _new_echo = echo(&new)?;
    let attached = start.elapsed();
    context.pods[0] = new;
    let reply = wait::until("the first reply of the Pod on its new node", TIMEOUT, TIMING.interval, || {
        (stream.replies() > before).then(|| start.elapsed())
    });
    let reply = reply.map_err(|waited| StepError::NotReached { waited, last: "no reply".to_owned() })?;
    std::thread::sleep(STEADY);
    let took = sending.elapsed();
    let stats = stream.finish();
    let (sent, lost) = (stats.sent, stats.lost);
    let interval = took / u32::try_from(sent).unwrap_or(u32::MAX).max(1);
    let DemoPod { name, address, mac } = PODS[0];
    Ok(format!(
        "{HOST} sends UDP requests to {name}, one every {interval:.1?}:\n\
         {}  {name} is removed from {}\n\
         {}  {name} is on {}, with {address} and {mac} as before\n\
         {}  the first reply from there, {} ms after it was attached\n\
         {lost} of {sent} requests without a reply: {}\n",
        milliseconds(removed),
        from.name(),
        milliseconds(attached),
        to.name(),
        milliseconds(reply),
        reply.saturating_sub(attached).as_millis(),
        outages(&stats, start.duration_since(sending)),
    ))
}

/// When there was no reply, with the time from the beginning of the move.
fn outages(stats: &LossStats, move_begins: Duration) -> String {
    let text = |outage: &Outage| {
        let begins = outage.begins.saturating_sub(move_begins).as_millis();
        format!("{} ms from {begins} ms on", outage.lasts.as_millis())
    };
    match &stats.outages[..] {
        [] => "none".to_owned(),
        few if few.len() <= 4 => few.iter().map(text).collect::<Vec<_>>().join(", "),
        many => format!("{} outages, the longest {} ms", many.len(), stats.longest_outage.as_millis()),
    }
}

/// Sends the requests of the probe back.
fn echo(pod: &Workload) -> Result<Echo, StepError> {
    let socket = pod.socket(SocketAddr::from(([0, 0, 0, 0], PORT)))?;
    Echo::on(socket).map_err(failed)
}

/// Requests of the host, from the first reply on.
fn probe(context: &mut DemoContext) -> Result<Stream, StepError> {
    let socket = context.lab.node(HOST)?.within_netns(|| UdpSocket::bind("0.0.0.0:0"))?.map_err(failed)?;
    let address = PODS[0].address.parse().map_err(|_| failed(std::io::ErrorKind::InvalidInput.into()))?;
    let to = SocketAddr::new(address, PORT);
    await_state(context, &format!("a reply of {to} to {HOST}"), |_| match traffic::replies_to(&socket, to) {
        Ok(true) => Ok(()),
        Ok(false) => Err("no reply".to_owned()),
        Err(error) => Err(error.to_string()),
    })?;
    Stream::on(socket, to, TIMING).map_err(failed)
}

/// As a column.
fn milliseconds(time: Duration) -> String {
    format!("{:5} ms", time.as_millis())
}

fn failed(source: std::io::Error) -> StepError {
    StepError::Probe { host: HOST, source }
}
