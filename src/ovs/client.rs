//! The client that stays: connected as long as there is a database, with what it has. In: the socket, and what of the database
//! counts. Out: that database, transactions, and a signal when what counts has changed. Decides on no change.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::connection::{Connection, Message, rejected};
use super::database::Database;
use super::error::OvsError;
use super::socket_watch::SocketWatch;
use super::transaction::{self, Transaction};

/// The time of one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The time in which ovs-vswitchd applies a change, which takes some milliseconds.
const APPLY_LIMIT: Duration = Duration::from_secs(2);
/// The time in which ovsdb-server restarts: until then what it had counts.
const GRACE: Duration = Duration::from_secs(2);
/// The first pause after a socket that nobody listens on: it appears a moment before.
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
type PendingTransaction = (Vec<Value>, oneshot::Sender<Result<Value, OvsError>>);

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
    /// Connects to `socket`, now or when it appears. Where `counts` has another result than before, `changed` is called. Must be
    /// called within a tokio runtime.
    pub fn start<T: PartialEq + Send + 'static>(
        socket: PathBuf,
        counts: impl Fn(&Database) -> T + Send + 'static,
        changed: impl Fn() + Send + 'static,
    ) -> Self {
        let (view, known) = watch::channel(View::Starting);
        let (requests, received) = mpsc::channel(16);
        let mut task = ClientTask { socket, view, requests: received, counts, changed, counted: None };
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
        timeout(ANSWER_LIMIT, replied).await.map_err(|_| OvsError::NoAnswer)?.map_err(|_| OvsError::Closed)?
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

struct ClientTask<T, C, F> {
    socket: PathBuf,
    view: watch::Sender<View>,
    requests: mpsc::Receiver<PendingTransaction>,
    counts: C,
    changed: F,
    /// What counted last.
    counted: Option<T>,
}

impl<T: PartialEq, C: Fn(&Database) -> T, F: Fn()> ClientTask<T, C, F> {
    async fn run(&mut self) {
        let mut pause = FIRST_PAUSE;
        let mut lost: Option<Instant> = None;
        loop {
            let mut watch = SocketWatch::start(&self.socket);
            let Err(error) = self.session(&mut lost).await else { return };
            let since = *lost.get_or_insert_with(Instant::now);
            let (grace, is_stale) = (GRACE.saturating_sub(since.elapsed()), error.is_stale_socket());
            let is_present = matches!(*self.view.borrow(), View::Present(_));
            if !is_present || grace.is_zero() {
                self.absent(error);
            }
            let mut limit = if is_stale { pause } else { LONGEST_PAUSE };
            if is_present && !grace.is_zero() {
                limit = limit.min(grace);
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
        self.counted = None;
        if was_present {
            (self.changed)();
        }
    }

    fn present(&mut self, database: &Arc<Database>) {
        self.view.send_replace(View::Present(Arc::clone(database)));
        let counted = Some((self.counts)(database));
        if self.counted != counted {
            self.counted = counted;
            (self.changed)();
        }
    }

    /// A connection until its end.
    async fn session(&mut self, lost: &mut Option<Instant>) -> Result<(), OvsError> {
        let mut connection = Connection::open(&self.socket).await?;
        let params = json!(["Open_vSwitch", "perouter", Database::monitored()]);
        let monitor = connection.request("monitor", &params).await?;
        let mut database = Arc::new(Database::default());
        let mut waiting: BTreeMap<u64, oneshot::Sender<Result<Value, OvsError>>> = BTreeMap::new();
        loop {
            let message = tokio::select! {
                message = connection.next_message() => message?,
                request = self.requests.recv() => {
                    let Some((operations, reply)) = request else { return Ok(()) };
                    let params: Value = std::iter::once(json!("Open_vSwitch")).chain(operations).collect();
                    waiting.insert(connection.request("transact", &params).await?, reply);
                    continue;
                }
            };
            match message {
                Message::Echo(echo) => connection.answer(&echo).await?,
                Message::Update(tables) => {
                    Arc::make_mut(&mut database).update(&tables)?;
                    self.present(&database);
                }
                Message::Reply(id, tables) if id == monitor => {
                    Arc::make_mut(&mut database).update(&tables?)?;
                    *lost = None;
                    self.present(&database);
                }
                // The caller may have given up.
                Message::Reply(id, results) => drop(waiting.remove(&id).map(|reply| reply.send(results))),
            }
        }
    }
}
