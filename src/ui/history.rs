//! What changed while the page was served. In: the states of each read. Out: points in time, each with the states that changed. Pure.
//! It keeps a bounded number of changes, the latest ones, and no state of before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use super::report::ListDocument;
use super::states::{PartState, StateKey, States, Subject};
use crate::diagnose::check::AreaState;
use crate::diagnose::finding::{Place, rfc3339};

/// Changes that are kept, of all points together; the last point is kept with as many at most.
const MOST: usize = 2000;

/// A read with changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangePoint {
    /// Counted from 0, the first read.
    pub number: u64,
    /// When it was read.
    pub time: String,
    /// When it was read before: the changes are from in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The changes; none of the first read.
    pub changes: Vec<StateChange>,
    /// Further changes.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is that of serde")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A change of a state. A side that is absent was not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StateChange {
    /// Of what.
    #[serde(flatten)]
    pub key: StateKey,
    /// The state before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<PartState>,
    /// The state after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<PartState>,
}

/// All changes.
#[derive(Debug, Default)]
pub struct History {
    points: VecDeque<ChangePoint>,
    /// Seconds since the epoch and states of the last read.
    last: Option<(u64, BTreeMap<StateKey, PartState>)>,
    next: u64,
}

impl History {
    /// The number of the last point, for whoever has those before.
    pub fn number(&self) -> u64 {
        self.next
    }

    /// Takes note of a read, or why nothing could be read.
    pub fn note(&mut self, time: u64, read: Result<States, &str>) {
        let (mut read, router) = match read {
            Ok(states) => (states, PartState::new(AreaState::Ok, "can be read")),
            Err(problem) => {
                (States { unread: ALL.into(), ..States::default() }, PartState::new(AreaState::Fail, problem))
            }
        };
        read.known.insert(StateKey::new(Subject::Router, Place::default()), router);
        if let Some((_, before)) = &self.last {
            keep_unread(&mut read, before);
        }
        let states = read.known;
        let before = self.last.take();
        let changes = before.as_ref().map(|(_, before)| changes(before, &states)).unwrap_or_default();
        if before.is_none() || !changes.is_empty() {
            self.add(time, before.map(|(time, _)| time), changes);
        }
        self.last = Some((time, states));
    }

    fn add(&mut self, time: u64, after: Option<u64>, mut changes: Vec<StateChange>) {
        let left_out = changes.len().saturating_sub(MOST);
        changes.truncate(MOST);
        let (time, after) = (rfc3339(time), after.map(rfc3339));
        self.points.push_back(ChangePoint { number: self.next, time, after, changes, left_out });
        self.next += 1;
        // A point without changes, the first one, counts as one.
        while self.points.iter().map(|point| point.changes.len().max(1)).sum::<usize>() > MOST && self.points.len() > 1
        {
            self.points.pop_front();
        }
    }

    /// As a list, the oldest first.
    pub fn list(&self) -> ListDocument<ChangePoint> {
        ListDocument::new("ChangeList", self.points.iter().cloned().collect(), usize::MAX)
    }
}

/// What a read has that could not read the router.
const ALL: [Subject; 8] = [
    Subject::Node,
    Subject::Finding,
    Subject::Object,
    Subject::Link,
    Subject::Session,
    Subject::Vni,
    Subject::Vtep,
    Subject::Prefix,
];

/// What was there and was not read is not gone.
fn keep_unread(read: &mut States, before: &BTreeMap<StateKey, PartState>) {
    let States { known, unread, unread_nodes } = read;
    let is_unread = |key: &&StateKey| {
        unread.contains(&key.subject) || key.node.as_ref().is_some_and(|node| unread_nodes.contains(node))
    };
    for key in before.keys().filter(is_unread) {
        known.entry(key.clone()).or_insert_with(|| PartState::new(AreaState::Unknown, "not read"));
    }
}

fn changes(before: &BTreeMap<StateKey, PartState>, after: &BTreeMap<StateKey, PartState>) -> Vec<StateChange> {
    let keys: BTreeSet<&StateKey> = before.keys().chain(after.keys()).collect();
    let change = |key: &StateKey| {
        let (before, after) = (before.get(key).cloned(), after.get(key).cloned());
        (before != after).then(|| StateChange { key: key.clone(), before, after })
    };
    keys.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_876_674;

    fn key(peer: &str) -> StateKey {
        StateKey::new(Subject::Session, Place::session(None, peer))
    }

    fn states(entries: &[(&str, &str)]) -> States {
        let known = entries.iter().map(|(peer, text)| (key(peer), PartState::new(AreaState::Ok, *text))).collect();
        States { known, ..States::default() }
    }

    fn texts(history: &History) -> Vec<String> {
        let text = |state: &Option<PartState>| state.as_ref().map_or("-", |state| state.text.as_str()).to_owned();
        let of_point = |point: &ChangePoint| {
            let changes = point.changes.iter().map(|change| {
                format!(
                    "{} {}>{}",
                    change.key.place.peer.as_deref().unwrap_or("router"),
                    text(&change.before),
                    text(&change.after)
                )
            });
            format!("{}: {}", point.number, changes.collect::<Vec<_>>().join(", "))
        };
        history.points.iter().map(of_point).collect()
    }

    #[test]
    fn a_point_has_what_changed_since_the_read_before() {
        let mut history = History::default();
        for (time, read) in [
            (NOW, states(&[("a", "up"), ("b", "up")])),
            (NOW + 3, states(&[("a", "up"), ("b", "up")])),
            (NOW + 6, states(&[("a", "down"), ("c", "up")])),
        ] {
            history.note(time, Ok(read));
        }
        assert_eq!(texts(&history), ["0: ", "1: a up>down, b up>-, c ->up"]);
        let list = serde_json::to_value(history.list()).unwrap();
        assert_eq!((&list["kind"], &list["items"][0]["after"]), (&"ChangeList".into(), &serde_json::Value::Null));
        let point = &list["items"][1];
        assert_eq!((&point["time"], &point["after"]), (&"2026-11-28T14:38:00Z".into(), &"2026-11-28T14:37:57Z".into()));
        let expected = serde_json::json!({"subject": "session", "where": {"peer": "a"}, "before": {"state": "ok", "text": "up"},
            "after": {"state": "ok", "text": "down"}});
        assert_eq!(point["changes"][0], expected);
    }

    #[test]
    fn what_is_not_read_is_not_gone() {
        let mut history = History::default();
        history.note(NOW, Ok(states(&[("a", "up")])));
        history.note(NOW + 3, Err("no answer"));
        history.note(NOW + 6, Err("no answer"));
        history.note(NOW + 9, Ok(states(&[("a", "up")])));
        let unread = States { unread: [Subject::Session].into(), ..States::default() };
        history.note(NOW + 12, Ok(unread));
        let expected = [
            "0: ",
            "1: router can be read>no answer, a up>not read",
            "2: router no answer>can be read, a not read>up",
            "3: a up>not read",
        ];
        assert_eq!(texts(&history), expected);
    }

    #[test]
    fn what_a_stale_node_had_is_not_gone() {
        let on = |node: &str, states: States| States {
            known: states.known.into_iter().map(|(key, s)| (StateKey { node: Some(node.into()), ..key }, s)).collect(),
            ..states
        };
        let mut history = History::default();
        history.note(NOW, Ok(on("n", states(&[("a", "up")]))));
        let stale = States { unread_nodes: ["n".to_owned()].into(), ..States::default() };
        history.note(NOW + 3, Ok(stale.clone()));
        history.note(NOW + 6, Ok(stale));
        history.note(NOW + 9, Ok(States { unread_nodes: ["m".to_owned()].into(), ..States::default() }));
        assert_eq!(texts(&history), ["0: ", "1: a up>not read", "2: a not read>-"]);
    }

    #[test]
    fn the_latest_changes_are_kept() {
        let mut history = History::default();
        let peers: Vec<String> = (0..MOST + 7).map(|n| format!("p{n}")).collect();
        let all = |text: &'static str, count: usize| {
            states(&peers.iter().take(count).map(|peer| (peer.as_str(), text)).collect::<Vec<_>>())
        };
        history.note(NOW, Ok(all("up", MOST + 7)));
        history.note(NOW + 3, Ok(all("down", MOST + 7)));
        let point = &history.points[0];
        assert_eq!((point.number, point.changes.len(), point.left_out), (1, MOST, 7));
        for time in 2..5 {
            history.note(NOW + time * 3, Ok(all(if time % 2 == 0 { "up" } else { "down" }, MOST / 2)));
        }
        let numbers: Vec<u64> = history.points.iter().map(|point| point.number).collect();
        assert_eq!(numbers, [3, 4]);
    }
}
