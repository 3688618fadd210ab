//! The client that stays: connected as long as there is a database, with what it has. In: the socket, and what of the database
//! is relevant. Out: that database, transactions, and a signal when what is relevant has changed. Decides on no change.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::{Connection, Message, rejected};
use super::database::Database;
use super::error::OvsError;
use super::socket_watch::SocketWatch;
use super::transaction::{self, Transaction};

/// The time of one answer. A server that takes longer hangs: the connection is closed.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The time in which ovs-vswitchd applies a change, which takes some milliseconds.
const APPLY_LIMIT: Duration = Duration::from_secs(2);
/// The time in which ovsdb-server restarts: until then what it had counts.
const GRACE: Duration = Duration::from_secs(2);
/// The first pause after a socket that nobody listens on, which appears a moment before, or a server that hangs.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Without inotify, or for a socket that appeared where inotify does not see it.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is known of the database.
#[derive(Debug, Clone)]
enum View {
    /// No attempt to connect has ended.
    Starting,
    /// There is none.
    Absent(Arc<OvsError>),
    /// It has this.
    Present(Arc<Database>),
}

/// A transaction and who waits for its results.
type PendingTransaction = (Vec<Value>, ReplySender);
type ReplySender = oneshot::Sender<Result<Value, OvsError>>;

/// The client. Dropped, it disconnects.
#[derive(Debug)]
pub struct OvsClient {
    view: watch::Receiver<View>,
    requests: mpsc::Sender<PendingTransaction>,
    task: JoinHandle<()>,
    /// ovs-vswitchd let a change wait for too long: others are not waited for until it has applied all.
    is_overdue: AtomicBool,
}

impl Drop for OvsClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl OvsClient {
    /// Connects to `socket`, now or when it appears. Where `relevant` has another result than before, `changed` is called.
    /// Must be called within a tokio runtime.
    pub fn start<T: PartialEq + Send + 'static>(
        socket: PathBuf,
        relevant: impl Fn(&Database) -> T + Send + 'static,
        changed: impl Fn() + Send + 'static,
    ) -> Self {
        let (view, known) = watch::channel(View::Starting);
        let (requests, received) = mpsc::channel(16);
        let mut task =
            ClientTask { socket, view, requests: received, relevant, changed, last: None, waiting: BTreeMap::new() };
        let task = tokio::spawn(async move { task.run().await });
        Self { view: known, requests, task, is_overdue: AtomicBool::new(false) }
    }

    /// What the database has, as soon as that is known.
    ///
    /// # Errors
    /// Where there is no database.
    pub async fn database(&self) -> Result<Arc<Database>, OvsError> {
        let mut view = self.view.clone();
        let known = timeout(ANSWER_LIMIT, view.wait_for(|view| !matches!(view, View::Starting))).await;
        match known.map_err(|_| OvsError::NoAnswer)?.map_err(|_| OvsError::Closed)?.clone() {
            View::Starting => Err(OvsError::NoAnswer),
            View::Absent(error) => Err(OvsError::Shared(error)),
            View::Present(database) => Ok(database),
        }
    }

    /// Carries out what `build` makes of the database, and waits until ovs-vswitchd has applied it.
    ///
    /// # Errors
    /// Where the database cannot be read or changed, or a port that is to be attached is not.
    pub async fn transact(&self, build: impl Fn(&Database) -> Result<Transaction, OvsError>) -> Result<(), OvsError> {
        let database = self.database().await?;
        let Transaction { mut operations, attached } = build(&database)?;
        let is_attached =
            |database: &Database, port: &str| database.interface(port).is_some_and(|(_, found)| found.is_attached());
        if operations.is_empty() && attached.as_ref().is_none_or(|port| is_attached(&database, port.as_str())) {
            return Ok(());
        }
        operations.extend(transaction::notify());
        let results = self.send(operations).await?;
        let number = next_cfg(&results)?;
        let applied = self.applied(number).await;
        let Some(port) = attached else { return Ok(()) };
        if !applied {
            return Err(OvsError::NotApplied);
        }
        let database = self.database().await?;
        if is_attached(&database, port.as_str()) {
            return Ok(());
        }
        let reason = database.interface(port.as_str()).and_then(|(_, found)| found.error.clone());
        Err(OvsError::NotAttached { port, reason })
    }

    async fn send(&self, operations: Vec<Value>) -> Result<Value, OvsError> {
        let (reply, replied) = oneshot::channel();
        self.requests.send((operations, reply)).await.map_err(|_| OvsError::Closed)?;
        // The task limits the time.
        replied.await.map_err(|_| OvsError::Closed)?
    }

    /// Whether ovs-vswitchd applies the configuration of this number in time.
    async fn applied(&self, number: i64) -> bool {
        let mut view = self.view.clone();
        let is_current = matches!(&*view.borrow(), View::Present(database) if database.is_current());
        if self.is_overdue.load(Ordering::Relaxed) && !is_current {
            return matches!(&*view.borrow(), View::Present(database) if database.has_applied(number));
        }
        let has_applied = |view: &View| matches!(view, View::Present(database) if database.has_applied(number));
        let in_time = timeout(APPLY_LIMIT, view.wait_for(has_applied)).await.is_ok_and(|found| found.is_ok());
        self.is_overdue.store(!in_time, Ordering::Relaxed);
        in_time
    }
}

/// The number in the last result of a transaction, all operations of which were done.
fn next_cfg(results: &Value) -> Result<i64, OvsError> {
    let results = results.as_array().ok_or(OvsError::Unexpected("result of a transaction"))?;
    if let Some(failed) = results.iter().find(|result| result.get("error").is_some_and(|error| !error.is_null())) {
        return Err(rejected(failed));
    }
    let row = results.last().and_then(|last| last["rows"].get(0));
    row.and_then(|row| row["next_cfg"].as_i64()).ok_or(OvsError::Unexpected("result of a transaction"))
}

struct ClientTask<T, R, F> {
    socket: PathBuf,
    view: watch::Sender<View>,
    requests: mpsc::Receiver<PendingTransaction>,
    relevant: R,
    changed: F,
    /// What was relevant last.
    last: Option<T>,
    /// Requests that were sent, by their numbers, and when the answer is overdue. That for the monitor has nobody who waits.
    waiting: BTreeMap<u64, (Instant, Option<ReplySender>)>,
}

impl<T: PartialEq, R: Fn(&Database) -> T, F: Fn()> ClientTask<T, R, F> {
    async fn run(&mut self) {
        let mut pause = FIRST_PAUSE;
        let mut lost: Option<Instant> = None;
        loop {
            let mut watch = SocketWatch::start(&self.socket);
            let Err(error) = self.session(&mut lost).await else { return };
            let since = *lost.get_or_insert_with(Instant::now);
            let has_hung = matches!(error, OvsError::NoAnswer);
            let grace = if has_hung { Duration::ZERO } else { GRACE.saturating_sub(since.elapsed()) };
            let is_present = matches!(*self.view.borrow(), View::Present(_));
            let mut limit = if error.may_pass() { pause } else { LONGEST_PAUSE };
            if is_present && !grace.is_zero() {
                limit = limit.min(grace);
            } else {
                self.absent(error);
            }
            for reply in std::mem::take(&mut self.waiting).into_values().filter_map(|(_, reply)| reply) {
                let failed = if has_hung { OvsError::NoAnswer } else { OvsError::Closed };
                // The caller may have given up.
                drop(reply.send(Err(failed)));
            }
            pause = if self.pause(&mut watch, limit).await { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        }
    }

    /// Waits for an event or the limit. Requests meanwhile are answered by nobody.
    async fn pause(&mut self, watch: &mut SocketWatch, limit: Duration) -> bool {
        let changed = watch.changed(limit);
        tokio::pin!(changed);
        loop {
            tokio::select! {
                was_event = &mut changed => return was_event,
                request = self.requests.recv() => drop(request),
            }
        }
    }

    fn absent(&mut self, error: OvsError) {
        let was_present = matches!(*self.view.borrow(), View::Present(_));
        self.view.send_replace(View::Absent(Arc::new(error)));
        self.last = None;
        if was_present {
            (self.changed)();
        }
    }

    fn present(&mut self, database: &Arc<Database>) {
        self.view.send_replace(View::Present(Arc::clone(database)));
        let relevant = Some((self.relevant)(database));
        if self.last != relevant {
            self.last = relevant;
            (self.changed)();
        }
    }

    /// A connection until its end.
    async fn session(&mut self, lost: &mut Option<Instant>) -> Result<(), OvsError> {
        let mut connection = Connection::open(&self.socket).await?;
        let params = json!(["Open_vSwitch", "perouter", Database::monitored()]);
        let monitor = connection.request("monitor", &params).await?;
        let mut database = Arc::new(Database::default());
        self.waiting.insert(monitor, (Instant::now() + ANSWER_LIMIT, None));
        loop {
            let due = self.waiting.values().next().map(|(due, _)| *due);
            let message = tokio::select! {
                message = connection.next_message() => message?,
                request = self.requests.recv() => {
                    let Some((operations, reply)) = request else { return Ok(()) };
                    let params: Value = std::iter::once(json!("Open_vSwitch")).chain(operations).collect();
                    let due = Instant::now() + ANSWER_LIMIT;
                    self.waiting.insert(connection.request("transact", &params).await?, (due, Some(reply)));
                    continue;
                }
                () = reached(due) => return Err(OvsError::NoAnswer),
            };
            match message {
                Message::Echo(echo) => connection.answer(&echo).await?,
                Message::Update(tables) => {
                    Arc::make_mut(&mut database).update(&tables)?;
                    self.present(&database);
                }
                Message::Reply(id, tables) if id == monitor => {
                    self.waiting.remove(&id);
                    Arc::make_mut(&mut database).update(&tables?)?;
                    *lost = None;
                    self.present(&database);
                }
                Message::Reply(id, results) => {
                    let reply = self.waiting.remove(&id).and_then(|(_, reply)| reply);
                    // The caller may have given up.
                    drop(reply.map(|reply| reply.send(results)));
                }
            }
        }
    }
}

/// Waits for a moment, for ever where there is none.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::AtomicUsize;

    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;
    use tokio::time::sleep;

    use super::*;

    const NO_ANSWER: &str = "the database of Open vSwitch does not answer";
    const SECOND: Duration = Duration::from_secs(1);

    fn socket() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("db.sock");
        (folder, socket)
    }

    /// The error of an observation, and how long it took.
    async fn observe(client: &OvsClient) -> (Option<String>, Duration) {
        let start = Instant::now();
        let error = client.database().await.err().map(|error| error.to_string());
        (error, start.elapsed())
    }

    /// The error of a transaction, and how long it took.
    async fn change(client: &OvsClient) -> (Option<String>, Duration) {
        let start = Instant::now();
        let transaction = Transaction { operations: vec![json!({"op": "comment", "comment": ""})], attached: None };
        let error = client.transact(|_| Ok(transaction.clone())).await.err().map(|error| error.to_string());
        (error, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_delays_one_observation_only() {
        let (_folder, socket) = socket();
        // The kernel accepts for it.
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let client = OvsClient::start(socket, |_| (), || ());
        assert_eq!(observe(&client).await, (Some(NO_ANSWER.to_owned()), ANSWER_LIMIT));
        for _ in 0..60 {
            sleep(SECOND).await;
            assert_eq!(observe(&client).await, (Some(NO_ANSWER.to_owned()), Duration::ZERO));
            assert_eq!(change(&client).await, (Some(NO_ANSWER.to_owned()), Duration::ZERO));
        }
    }

    /// Answers the monitor of each connection that it accepts while `answers`, and nothing else.
    fn serve(socket: &Path, answers: &Arc<AtomicBool>) {
        let (listener, answers) = (UnixListener::bind(socket).unwrap(), answers.clone());
        tokio::spawn(async move {
            let mut connections = vec![];
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                if answers.load(Ordering::Relaxed) {
                    let mut request = [0; 4096];
                    assert!(stream.read(&mut request).await.unwrap() > 0);
                    stream.write_all(br#"{"id": 1, "error": null, "result": {}}"#).await.unwrap();
                }
                connections.push(stream);
            }
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stops_answering_is_absent_until_it_answers_again() {
        let (_folder, socket) = socket();
        let (answers, changes) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        serve(&socket, &answers);
        let counted = changes.clone();
        let count = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let client = OvsClient::start(socket, |_| (), count);
        assert_eq!(observe(&client).await.0, None);
        answers.store(false, Ordering::Relaxed);
        let (first, second) = tokio::join!(change(&client), change(&client));
        assert_eq!(first, (Some(NO_ANSWER.to_owned()), ANSWER_LIMIT));
        assert_eq!(second, first);
        for _ in 0..60 {
            assert_eq!(observe(&client).await, (Some(NO_ANSWER.to_owned()), Duration::ZERO));
            assert_eq!(change(&client).await, (Some(NO_ANSWER.to_owned()), Duration::ZERO));
            sleep(SECOND).await;
        }
        assert_eq!(changes.load(Ordering::Relaxed), 2);
        answers.store(true, Ordering::Relaxed);
        sleep(ANSWER_LIMIT + LONGEST_PAUSE).await;
        assert_eq!(observe(&client).await, (None, Duration::ZERO));
        assert_eq!(changes.load(Ordering::Relaxed), 3);
    }
}
