//! A private Redis, a private MariaDB, the tasks that were sent to them, and the invariant.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use celery_protocol::message::{EncodeOptions, Task};
use celery_protocol::redis_keys::Keys;
use celery_protocol::time::Timestamp;
use celery_testkit::{MariaDb, RabbitMq, Redis, RedisCluster, RedisOptions, wait_for};
use regex::Regex;
use serde_json::value::RawValue;
use tempfile::TempDir;

use crate::programs::{Worker, seconds};

mod chords;
mod rabbitmq;

pub use self::rabbitmq::Rabbit;

/// The longest wait for anything in these tests. It is generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_mins(2);
/// The bytes at the end of a message that have its headers.
const HEADERS: usize = 8 * 1024;
/// The longest time without a result while tasks wait, beyond the fault itself. A lease, a sweep
/// and the start of a worker take two seconds, and the report says how long it took; a busy machine
/// gets this.
const STALL: Duration = PATIENCE;
/// The most that the time between two looks for results counts as waiting. A test that looks less
/// often does something else meanwhile, such as starting a server, which takes its time on a busy
/// machine.
const LOOK: Duration = Duration::from_secs(1);
/// The number of rows to complete.
pub const ROWS: u32 = 50_000;
const TABLES: &str = "CREATE TABLE tasks (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, \
    name VARCHAR(255) NOT NULL, status VARCHAR(255) NOT NULL DEFAULT 'pending', \
    message VARCHAR(255) NULL, created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL, \
    n INT UNSIGNED NOT NULL DEFAULT 0); \
    CREATE TRIGGER completions BEFORE UPDATE ON tasks \
    FOR EACH ROW SET NEW.n = OLD.n + (NEW.status = 'completed'); \
    CREATE TABLE effects (task INT UNSIGNED NOT NULL, KEY (task)); \
    CREATE TABLE effects_once (task INT UNSIGNED NOT NULL, KEY (task)); \
    CREATE TABLE effects_early (task INT UNSIGNED NOT NULL, KEY (task)); \
    CREATE TABLE celery_inbox (task_id VARBINARY(255) NOT NULL PRIMARY KEY, \
    result LONGTEXT CHARACTER SET utf8mb4 NULL, \
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
    INDEX celery_inbox_created_at (created_at)) ENGINE = InnoDB";
/// The tasks on these tables besides `task_created`.
const TASKS: &str = "\
[tasks.effect]
sql = 'INSERT INTO effects (task) VALUES (:task)'
[tasks.effect_once]
sql = 'INSERT INTO effects_once (task) VALUES (:task)'
once = true
[tasks.text]
sql = 'DO NULL IN (:text)'
batch = { size = 500, linger = '100ms' }
";
/// The task whose code begins at most once. Workers older than the setting refuse it.
const EARLY: &str = "\
[tasks.effect_early]
sql = 'INSERT INTO effects_early (task) VALUES (:task)'
[annotations.effect_early]
acks_late = false
";
/// MySQL's `max_allowed_packet` in the scenario of texts.
pub const LARGEST: u32 = 1 << 20;
/// Returns which of KEYS in the database ARGV[1] are final results: their positions, negative for
/// failures.
const DONE: &str = r#"
redis.call('SELECT', ARGV[1])
local done = {}
for i, key in ipairs(KEYS) do
  local result = redis.call('GET', key)
  if result and string.find(result, '"status": ?"SUCCESS"') then done[#done + 1] = i end
  if result and string.find(result, '"status": ?"FAILURE"') then done[#done + 1] = -i end
end
return done"#;

/// The size of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scale {
    Short,
    Middle,
    Long,
}

/// Returns the scale of this run.
pub fn scale() -> Scale {
    match std::env::var("CHAOS_SCALE").as_deref() {
        Ok("long") => Scale::Long,
        Ok("middle") => Scale::Middle,
        Ok("short") | Err(_) => Scale::Short,
        Ok(other) => panic!("CHAOS_SCALE={other} is not short, middle or long"),
    }
}

/// Returns one of three values, by the scale of this run.
pub fn by_scale<T>(short: T, middle: T, long: T) -> T {
    match scale() {
        Scale::Short => short,
        Scale::Middle => middle,
        Scale::Long => long,
    }
}

/// Returns the time this long from now, by this machine's clock.
pub fn from_now(wait: Duration) -> Timestamp {
    let then = (SystemTime::now() + wait)
        .duration_since(UNIX_EPOCH)
        .unwrap();
    Timestamp::from_unix_micros(i64::try_from(then.as_micros()).unwrap())
}

/// The kind of a task: what it does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Completes the row of its number. A second run changes nothing.
    Created,
    /// Adds a row to `effects`, which shows how often it was run.
    Effect,
    /// Adds a row to `effects_once`, and asks that this happens once.
    Once,
    /// Adds a row to `effects_early`. Its code begins at most once, so it fails if its worker dies
    /// after that.
    Early,
    /// Sends a text of this many bytes to the database, in a batch with others. The database
    /// refuses more than [`LARGEST`] bytes; the task must then fail.
    Text(u32),
    /// Does nothing.
    Noop,
    /// Sleeps for this many seconds.
    Sleep(f64),
    /// Does nothing, with an argument of this many bytes.
    Large(u32),
    /// Does nothing, with an argument of 64 MiB.
    Huge,
    /// Asks for a retry twice, and must then fail.
    Retrying,
    /// Panics, and must fail.
    Panic,
    /// Keeps its thread for this many seconds with a time limit of one, and must fail.
    Spin(u32),
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Kind::Created => 'c',
            Kind::Effect => 'e',
            Kind::Once => 'o',
            Kind::Early => 'a',
            Kind::Text(_) => 't',
            Kind::Noop => 'n',
            Kind::Huge => 'h',
            Kind::Large(_) => 'b',
            Kind::Retrying => 'r',
            Kind::Sleep(_) => 's',
            Kind::Panic => 'p',
            Kind::Spin(_) => 'l',
        }
    }

    fn queue(self) -> &'static str {
        match self {
            Kind::Created | Kind::Effect | Kind::Once | Kind::Early | Kind::Text(_) => "celery",
            Kind::Noop
            | Kind::Huge
            | Kind::Large(_)
            | Kind::Retrying
            | Kind::Sleep(_)
            | Kind::Panic
            | Kind::Spin(_) => "play",
        }
    }

    fn fails(self) -> bool {
        match self {
            Kind::Text(bytes) => bytes > LARGEST,
            _ => matches!(self, Kind::Panic | Kind::Spin(_) | Kind::Retrying),
        }
    }

    /// Returns `true` if a task of this kind may fail, or may succeed.
    fn may_end(self, failed: bool) -> bool {
        self == Kind::Early || self.fails() == failed
    }

    fn to_task(self, id: &str, number: u32) -> Task {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        let (name, args) = self.name_and_args(number);
        let mut task = Task::new(id, name, raw(&args), raw("{}"));
        if matches!(self, Kind::Spin(_)) {
            task.time_limit.hard = Some(1.0);
        }
        task
    }

    fn name_and_args(self, number: u32) -> (&'static str, String) {
        match self {
            Kind::Created => ("task_created", format!("[{number}]")),
            Kind::Effect => ("effect", format!("[{number}]")),
            Kind::Once => ("effect_once", format!("[{number}]")),
            Kind::Early => ("effect_early", format!("[{number}]")),
            Kind::Text(bytes) => ("text", format!("[\"{}\"]", "x".repeat(bytes as usize))),
            Kind::Noop => ("noop", "[]".to_owned()),
            Kind::Large(bytes) => ("noop", format!("[\"{}\"]", "x".repeat(bytes as usize))),
            Kind::Huge => ("noop", format!("[\"{}\"]", "x".repeat(64 << 20))),
            Kind::Sleep(seconds) => ("proj.sleep", format!("[{seconds}]")),
            Kind::Retrying => ("proj.retrying", "[]".to_owned()),
            Kind::Panic => ("proj.panic", "[]".to_owned()),
            Kind::Spin(seconds) => ("proj.spin", format!("[{seconds}]")),
        }
    }
}

/// The servers, the tasks that were sent, and the counts for the report.
pub struct World {
    /// The broker, or the result backend of a world whose broker is RabbitMQ.
    pub redis: Redis,
    /// The broker, if it is RabbitMQ.
    pub rabbit: Option<Rabbit>,
    /// The broker, if it is a Redis Cluster.
    pub cluster: Option<RedisCluster>,
    /// The node of the cluster that owns the slot of the keys.
    pub owner: usize,
    pub database: Option<MariaDb>,
    /// The broker's address for the workers; a scenario may put a proxy there.
    pub broker: String,
    /// The prefix of all keys of workers for tasks without a table.
    pub prefix: &'static str,
    /// The database's address for the workers.
    pub database_url: String,
    pub random: fastrand::Rng,
    scenario: &'static str,
    folder: TempDir,
    link: Option<redis::Connection>,
    /// `true` if the workers apply each call of `task_created` once.
    pub exactly_once: bool,
    /// The longest time in which no task can be done, because of a fault of this scenario or
    /// because of how long a task takes.
    pub fault: Duration,
    /// The number of the Redis database that has the results.
    pub results_db: u8,
    ids: Regex,
    /// The tasks that were sent, and not yet seen done.
    open: BTreeMap<String, Kind>,
    /// The rows of tasks that were done since the last check of the table.
    unchecked: Vec<u32>,
    created: BTreeSet<u32>,
    /// The created rows that are to be completed once.
    created_once: BTreeSet<u32>,
    effects: BTreeSet<u32>,
    once: BTreeSet<u32>,
    early: BTreeSet<u32>,
    /// The tasks among `early` that failed because their workers died.
    early_failed: BTreeSet<u32>,
    /// The bodies of chords, each with the members of its header.
    bodies: BTreeMap<String, Vec<String>>,
    sent: u32,
    /// The last number given, by the letter of the kind.
    numbers: BTreeMap<char, u32>,
    done: usize,
    lost: usize,
    /// The ids of dead letters that were put back. The stored failure of each stays until its task
    /// has succeeded.
    replayed: BTreeSet<String>,
    progress: Instant,
    stall: Duration,
    /// When the test last looked for results.
    looked: Instant,
    /// How long it has waited for the next result, and the longest such wait.
    waited: Duration,
    longest: Duration,
    /// The longest time from the end of a fault to the end of a task sent then.
    recovery: Option<Duration>,
    /// The number of faults that came during the work, and the sum of the tasks that were open
    /// then.
    moments: (usize, usize),
    notes: Vec<String>,
}

/// What is left of a world.
pub struct Finished {
    /// How many effects happened more than once.
    pub twice: usize,
    /// The nodes of RabbitMQ, which another world may use.
    pub nodes: Vec<RabbitMq>,
}

impl World {
    /// Makes a world with a Redis that keeps everything on disk, and without a database.
    pub fn new(scenario: &'static str) -> World {
        World::on(scenario, RedisOptions::new().aof())
    }

    /// Makes a world with a Redis with these options, and without a database.
    pub fn on(scenario: &'static str, options: RedisOptions) -> World {
        let redis = Redis::start(options).unwrap();
        let seed = std::env::var("CHAOS_SEED")
            .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        println!("{scenario}: CHAOS_SEED={seed}");
        World {
            broker: redis.url(),
            prefix: "",
            redis,
            rabbit: None,
            cluster: None,
            owner: 0,
            database: None,
            database_url: "sqlite::memory:".to_owned(),
            random: fastrand::Rng::with_seed(seed),
            scenario,
            folder: tempfile::tempdir().unwrap(),
            link: None,
            exactly_once: false,
            fault: Duration::ZERO,
            results_db: 0,
            ids: Regex::new(r#""id": ?"([a-z]\d+)""#).unwrap(),
            open: BTreeMap::new(),
            unchecked: Vec::new(),
            created: BTreeSet::new(),
            created_once: BTreeSet::new(),
            effects: BTreeSet::new(),
            once: BTreeSet::new(),
            early: BTreeSet::new(),
            early_failed: BTreeSet::new(),
            bodies: BTreeMap::new(),
            sent: 0,
            numbers: BTreeMap::new(),
            done: 0,
            lost: 0,
            replayed: BTreeSet::new(),
            progress: Instant::now(),
            stall: Duration::ZERO,
            looked: Instant::now(),
            waited: Duration::ZERO,
            longest: Duration::ZERO,
            recovery: None,
            moments: (0, 0),
            notes: Vec::new(),
        }
    }

    /// Makes a world whose broker is a Redis Cluster. The owner of the slot has a number of replicas.
    pub fn in_cluster(scenario: &'static str, replicas: usize) -> World {
        const PREFIX: &str = "{celery}:";
        let mut world = World::on(scenario, RedisOptions::new());
        let cluster = RedisCluster::start(&RedisOptions::new().aof(), PREFIX, replicas).unwrap();
        world.broker = cluster.url();
        world.prefix = PREFIX;
        world.cluster = Some(cluster);
        world
    }

    /// Adds a database that is started with these options, with rows to complete.
    pub fn with_database(self, options: &[&str]) -> World {
        self.with(MariaDb::start_with(options).unwrap())
    }

    /// Adds this database, and fills it with rows to complete.
    pub fn with(mut self, database: MariaDb) -> World {
        let rows = format!(
            "INSERT INTO tasks (id, name) SELECT seq, CONCAT('task ', seq) FROM seq_1_to_{ROWS}"
        );
        database.sql(&format!("{TABLES}; {rows}")).unwrap();
        self.database_url = database.url();
        self.database = Some(database);
        self
    }

    /// Writes the workers' file of settings, and returns its path.
    pub fn settings(&self) -> PathBuf {
        self.settings_with("worker.toml", EARLY)
    }

    /// Writes a file of settings that workers of older versions can read, and returns its path.
    pub fn older_settings(&self) -> PathBuf {
        self.settings_with("older.toml", "")
    }

    fn settings_with(&self, name: &str, more: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        let text = format!("database = '{}'\n{TASKS}{more}", self.database_url);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Writes settings for the example worker on a broker that has no unique tasks, and returns
    /// their path.
    pub fn without_unique_tasks(&self) -> PathBuf {
        let file = self.folder.path().join("playground.toml");
        std::fs::write(&file, "[annotations.'proj.alone']\nunique = 0\n").unwrap();
        file
    }

    pub fn sql(&self, statements: &str) -> String {
        self.database.as_ref().unwrap().sql(statements).unwrap()
    }

    /// Returns the Redis that has the queues and the results.
    fn server(&self) -> &Redis {
        match &self.cluster {
            Some(cluster) => &cluster.nodes()[self.owner],
            None => &self.redis,
        }
    }

    /// Notes that another node of the cluster owns the slot.
    pub fn is_owned_by(&mut self, node: usize) {
        self.owner = node;
        self.link = None;
    }

    pub fn keys(&self) -> Keys {
        Keys::new(self.prefix)
    }

    /// Returns the test's own connection, which the faults do not touch.
    fn link(&mut self) -> redis::RedisResult<&mut redis::Connection> {
        if self.link.is_none() {
            let url = format!("unix://{}", self.server().socket().display());
            self.link = Some(redis::Client::open(url)?.get_connection()?);
        }
        Ok(self.link.as_mut().unwrap())
    }

    /// Runs a command on the test's connection.
    pub fn try_ask<T: redis::FromRedisValue>(
        &mut self,
        command: &redis::Cmd,
    ) -> redis::RedisResult<T> {
        let answer = self.link().and_then(|link| command.query(link));
        if answer
            .as_ref()
            .is_err_and(redis::RedisError::is_unrecoverable_error)
        {
            self.link = None;
        }
        answer
    }

    pub fn ask<T: redis::FromRedisValue>(&mut self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        self.try_ask(&command)
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Returns how many rows have a task that completes them. They are the first ones.
    pub fn rows(&self) -> u32 {
        u32::try_from(self.created.len()).unwrap()
    }

    /// Sends some tasks and returns their ids.
    pub fn post(&mut self, kind: Kind, count: u32) -> Vec<String> {
        self.post_at(kind, count, None)
    }

    /// Like [`post`](Self::post), for tasks that must not run before `eta`.
    pub fn post_at(&mut self, kind: Kind, count: u32, eta: Option<Timestamp>) -> Vec<String> {
        self.post_each_at(kind, std::iter::repeat_n(eta, count as usize))
    }

    /// Sends one task for each of these times, before which it must not run.
    pub fn post_each_at(
        &mut self,
        kind: Kind,
        etas: impl IntoIterator<Item = Option<Timestamp>>,
    ) -> Vec<String> {
        let mut tasks = Vec::new();
        for eta in etas {
            let (id, number) = self.next_id(kind);
            let mut task = kind.to_task(&id, number);
            task.eta = eta;
            tasks.push(task);
        }
        let ids: Vec<String> = tasks.iter().map(|task| task.id.clone()).collect();
        self.sends(kind, &ids);
        if let Some(rabbit) = &self.rabbit {
            rabbit.publish(kind.queue(), &tasks);
            return ids;
        }
        let mut push = redis::cmd("LPUSH");
        push.arg(self.keys().queue(kind.queue(), 0));
        for task in &tasks {
            let tag = format!("tag-{}", task.id);
            let options = EncodeOptions::new(kind.queue(), &tag);
            push.arg(task.encode_redis(&options).unwrap());
        }
        let _length: u64 = self.try_ask(&push).unwrap();
        ids
    }

    /// Notes that another program is about to send tasks of a kind. Returns the number of the first and
    /// how many they are; the ids are the letter of the kind and these numbers.
    pub fn expect_posts(&mut self, kind: Kind, count: u32) -> (u32, u32) {
        let (ids, numbers): (Vec<_>, Vec<_>) = (0..count).map(|_| self.next_id(kind)).unzip();
        self.sends(kind, &ids);
        (numbers[0], count)
    }

    /// Notes that tasks are about to be sent.
    fn sends(&mut self, kind: Kind, ids: &[String]) {
        if self.open.is_empty() {
            self.progress = Instant::now();
            self.waited = Duration::ZERO;
        }
        let number = |id: &String| id[1..].parse::<u32>().unwrap();
        match kind {
            Kind::Created => self.created.extend(ids.iter().map(number)),
            Kind::Effect => self.effects.extend(ids.iter().map(number)),
            Kind::Once => self.once.extend(ids.iter().map(number)),
            Kind::Early => self.early.extend(ids.iter().map(number)),
            _ => {}
        }
        if kind == Kind::Created && self.exactly_once {
            self.created_once.extend(ids.iter().map(number));
        }
        self.open.extend(ids.iter().map(|id| (id.clone(), kind)));
    }

    fn next_id(&mut self, kind: Kind) -> (String, u32) {
        self.sent += 1;
        let counter = self.numbers.entry(kind.letter()).or_default();
        *counter += 1;
        (format!("{}{counter}", kind.letter()), *counter)
    }

    /// Returns the number of tasks that were not yet seen done.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Returns `true` if a task was not yet seen done.
    pub fn is_open(&self, id: &str) -> bool {
        self.open.contains_key(id)
    }

    /// Looks for results. While Redis is away it finds none.
    pub fn observe(&mut self) {
        let ids: Vec<String> = self.open.keys().cloned().collect();
        let keys = self.keys();
        let mut done = Vec::new();
        for some in ids.chunks(1000) {
            let mut script = redis::cmd("EVAL");
            script.arg(DONE).arg(some.len());
            for id in some {
                script.arg(keys.result(id));
            }
            script.arg(self.results_db);
            let Ok(positions) = self.try_ask::<Vec<isize>>(&script) else {
                break;
            };
            done.extend(positions.into_iter().map(|position| {
                let id = &some[position.unsigned_abs() - 1];
                (id, position < 0)
            }));
        }
        self.pass_over_poison(&mut done);
        let now = Instant::now();
        if !self.open.is_empty() {
            self.stall = self.stall.max(now - self.progress);
            self.waited += (now - self.looked).min(LOOK);
            self.longest = self.longest.max(self.waited);
        }
        self.looked = now;
        if !done.is_empty() {
            self.progress = now;
            self.waited = Duration::ZERO;
        }
        for (id, failed) in done {
            let kind = self.open.remove(id).unwrap();
            assert!(
                kind.may_end(failed),
                "{id} has ended otherwise than it should"
            );
            if kind == Kind::Early && failed {
                self.early_failed.insert(id[1..].parse().unwrap());
            }
            if kind == Kind::Created {
                self.unchecked.push(id[1..].parse().unwrap());
            }
            self.done += 1;
        }
    }

    /// Ignores the failures of poison messages: they last only until the message is put back.
    fn pass_over_poison(&mut self, done: &mut Vec<(&String, bool)>) {
        let may_end = |world: &World, id: &String, failed| world.open[id].may_end(failed);
        if done.iter().all(|(id, failed)| may_end(self, id, *failed)) {
            return;
        }
        if self.rabbit.is_some() {
            // The letter may come after the failure.
            return done.retain(|(id, failed)| may_end(self, id, *failed));
        }
        let dead = self.poison();
        done.retain(|(id, failed)| {
            may_end(self, id, *failed) || !(dead.contains_key(*id) || self.replayed.contains(*id))
        });
    }

    /// Returns the number of messages that workers hold.
    pub fn held(&mut self) -> usize {
        match &self.rabbit {
            Some(rabbit) => rabbit.held(),
            None => self.ask(&["HLEN", "unacked"]),
        }
    }

    /// Returns the number of dead letters.
    pub fn dead(&mut self) -> usize {
        match &self.rabbit {
            Some(rabbit) => rabbit.dead(),
            None => self.ask(&["XLEN", &self.keys().dead()]),
        }
    }

    /// Returns the dead letters: the id of each, and its place in the stream. Their only cause here
    /// is `poison`.
    fn poison(&mut self) -> BTreeMap<String, String> {
        let letters: Vec<(String, BTreeMap<String, Vec<u8>>)> = self
            .try_ask(
                redis::cmd("XRANGE")
                    .arg(self.keys().dead())
                    .arg("-")
                    .arg("+"),
            )
            .unwrap_or_default();
        letters
            .into_iter()
            .map(|(place, fields)| {
                let field = |name: &str| String::from_utf8_lossy(&fields[name]).into_owned();
                assert_eq!(field("cause"), "poison", "{} is a dead letter", field("id"));
                (field("id"), place)
            })
            .collect()
    }

    /// Waits until at most `count` tasks are open. Returns `true` if that happened in time.
    pub fn wait_until_open(&mut self, count: usize, patience: Duration) -> bool {
        let waited = wait_for(patience, "", || {
            self.observe();
            self.open.len() <= count
        });
        waited.is_ok()
    }

    /// Lets the workers do some of the open tasks, for at most `patience`: the fault then comes
    /// during the work.
    pub fn work_a_little(&mut self, patience: Duration) {
        let left = self.random.usize(0..=self.open.len());
        self.wait_until_open(left, patience);
        self.moments.0 += 1;
        self.moments.1 += self.open.len();
    }

    /// Asserts the invariant. No worker may be running.
    pub fn invariant(&mut self, when: &str) {
        self.observe();
        if let Some(rabbit) = &self.rabbit {
            rabbit.assert_has(self.open.len(), when);
            return self.check_rows();
        }
        let seen = self.places();
        // The body of a chord is called by the member that ends last.
        let is_to_be_called = |id: &String| {
            let members = self.bodies.get(id);
            members.is_some_and(|members| members.iter().any(|id| seen.contains_key(id)))
        };
        let missing: Vec<&String> = self
            .open
            .keys()
            .filter(|id| !seen.contains_key(*id) && !is_to_be_called(id))
            .collect();
        assert!(
            missing.is_empty(),
            "{when}: {} lost: {missing:?}",
            missing.len()
        );
        self.check_rows();
    }

    /// Returns the id in a message. The headers follow the body: without optimisation, looking
    /// through thousands of large bodies takes minutes.
    fn id_of(&self, message: &[u8]) -> Option<String> {
        let end = &message[message.len().saturating_sub(HEADERS)..];
        [end, message].into_iter().find_map(|part| {
            let text = String::from_utf8_lossy(part);
            Some(self.ids.captures(&text)?[1].to_owned())
        })
    }

    /// Returns the ids that are in Redis other than as a result, and where each is.
    pub fn places(&mut self) -> BTreeMap<String, &'static str> {
        let mut places = BTreeMap::new();
        let keys = self.keys();
        let lists: Vec<String> = self.ask(&["KEYS", &keys.held("*")]);
        let mut moved: Vec<Vec<u8>> = Vec::new();
        for list in lists.iter().filter(|list| **list != keys.held_owners()) {
            moved.extend(self.ask::<Vec<_>>(&["LRANGE", list, "0", "-1"]));
        }
        let mut lists = vec![keys.queue("celery", 0), keys.queue("play", 0)];
        for queue in ["celery", "play"] {
            let groups = format!("{}*", keys.fair_lists(queue));
            lists.extend(self.ask::<Vec<_>>(&["KEYS", &groups]));
        }
        let mut queued: Vec<Vec<u8>> = Vec::new();
        for list in lists {
            queued.extend(self.ask::<Vec<_>>(&["LRANGE", &list, "0", "-1"]));
        }
        let texts: [(&str, Vec<Vec<u8>>); 4] = [
            ("queued", queued),
            ("moved", moved),
            ("held", self.ask(&["HVALS", &keys.unacked()])),
            ("dead", self.dead_letters()),
        ];
        for (place, messages) in texts {
            for message in messages {
                if let Some(id) = self.id_of(&message) {
                    places.insert(id, place);
                }
            }
        }
        places
    }

    fn dead_letters(&mut self) -> Vec<Vec<u8>> {
        let letters: Vec<(String, BTreeMap<String, Vec<u8>>)> =
            self.ask(&["XRANGE", &self.keys().dead(), "-", "+"]);
        letters
            .into_iter()
            .flat_map(|(_, fields)| fields.into_values())
            .collect()
    }

    /// Asserts that each stored success of `task_created` belongs to a committed row.
    fn check_rows(&mut self) {
        let done = std::mem::take(&mut self.unchecked);
        if done.is_empty() {
            return;
        }
        let ids: Vec<String> = done.iter().map(u32::to_string).collect();
        let pending = self.sql(&format!(
            "SELECT id FROM tasks WHERE status <> 'completed' AND id IN ({})",
            ids.join(",")
        ));
        assert_eq!(
            pending, "",
            "results were stored for rows that are not completed"
        );
    }

    /// Waits until everything is done and nothing is left in Redis. Puts back poison messages
    /// meanwhile.
    pub fn drain(&mut self, workers: &[&Worker]) {
        let clean = wait_for(PATIENCE, "", || {
            self.observe();
            self.replay();
            self.open.is_empty() && self.is_idle()
        });
        if clean.is_err() {
            if let Some(rabbit) = &self.rabbit {
                println!("{}", rabbit.describe());
            }
            let places = self.places();
            let keys = self.keys();
            let tags: Vec<String> = self.ask(&["HKEYS", &keys.unacked()]);
            let leases: Vec<String> =
                self.ask(&["ZRANGE", &keys.unacked_index(), "0", "-1", "WITHSCORES"]);
            let stuck: Vec<_> = self
                .open
                .keys()
                .map(|id| (id, places.get(id)))
                .take(50)
                .collect();
            for worker in workers {
                println!("a worker said:\n{}", worker.process.log());
            }
            panic!("not done: {stuck:?}; in Redis: {places:?}; held: {tags:?}; leases: {leases:?}");
        }
        self.check_rows();
    }

    /// Has two new workers with these options do what is left.
    pub fn finish_episode(&mut self, options: &[&str]) {
        let workers = [self.worker(options), self.playground(options)];
        self.drain(&workers.each_ref());
        workers.into_iter().for_each(Worker::stop);
    }

    fn is_idle(&mut self) -> bool {
        if let Some(rabbit) = &self.rabbit {
            return rabbit.messages() == Some(0);
        }
        let keys = self.keys();
        [
            ("LLEN", keys.queue("celery", 0)),
            ("LLEN", keys.queue("play", 0)),
            ("HLEN", keys.fair("celery")),
            ("HLEN", keys.fair("play")),
            ("HLEN", keys.unacked()),
            ("ZCARD", keys.unacked_index()),
            ("SCARD", keys.held_owners()),
        ]
        .iter()
        .all(|(name, key)| {
            self.try_ask::<u64>(redis::cmd(name).arg(key))
                .is_ok_and(|length| length == 0)
        })
    }

    /// Puts back poison messages, as an operator would: they are poison only because their workers
    /// were killed.
    pub fn replay(&mut self) {
        if self.rabbit.is_some() {
            return self.replay_on_rabbitmq();
        }
        let dead = self.poison();
        if dead.is_empty() {
            return;
        }
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_celery-worker"));
        let url = match &self.cluster {
            Some(cluster) => cluster.url(),
            None => self.redis.url(),
        };
        let output = command
            .args(["dead", "replay", "--broker", &url])
            .env("CELERY_WORKER_KEY_PREFIX", self.prefix)
            .args(dead.values())
            .output()
            .unwrap();
        // While Redis is away this fails, and they are put back later.
        if output.status.success() {
            self.replayed.extend(dead.into_keys());
        }
    }

    /// Returns `true` if a task was delivered too often, and put back.
    pub fn was_replayed(&self, id: &str) -> bool {
        self.replayed.contains(id)
    }

    /// Sends a task and returns how long it took until it was done.
    pub fn one_more(&mut self, kind: Kind) -> Duration {
        let sent = Instant::now();
        let id = self.post(kind, 1).remove(0);
        let done = wait_for(PATIENCE, "a task sent after the fault", || {
            self.observe();
            !self.is_open(&id)
        });
        done.unwrap();
        sent.elapsed()
    }

    /// Like [`one_more`](Self::one_more), just after a fault. The report says how long it took: two
    /// seconds, on a machine that is not busy.
    pub fn one_more_soon(&mut self, kind: Kind) {
        let took = self.one_more(kind);
        self.recovery = self.recovery.max(Some(took));
    }

    /// Makes another Redis the broker. Returns the old one.
    pub fn moves_to(&mut self, redis: Redis) -> Redis {
        self.link = None;
        std::mem::replace(&mut self.redis, redis)
    }

    /// Restarts Redis, whether or not it runs.
    pub fn restart_redis(&mut self) {
        self.redis.restart().unwrap();
        self.link = None;
    }

    /// Forgets tasks, and removes all held messages: the test no longer waits for them.
    pub fn forget(&mut self, ids: &[String]) {
        self.open.retain(|id, _| !ids.contains(id));
        let keys = self.keys();
        let _deleted: u64 = self.ask(&["DEL", &keys.unacked(), &keys.unacked_index()]);
    }

    /// Returns the ids of the open tasks. Read just before Redis ends, they are the tasks that it
    /// may lose.
    pub fn all_open(&self) -> BTreeSet<String> {
        self.open.keys().cloned().collect()
    }

    /// Forgets the tasks that Redis itself has lost: no worker could keep them.
    pub fn write_off_what_redis_lost(&mut self, at_its_end: &BTreeSet<String>) {
        self.observe();
        let places = self.places();
        let before = self.open.len();
        self.open
            .retain(|id, _| places.contains_key(id) || !at_its_end.contains(id));
        self.lost = before - self.open.len();
        self.note("the loss is Redis's: it keeps nothing on disk here".to_owned());
    }

    /// Adds a note to the report.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Waits until everything is done, stops the workers, asserts that nothing is left, and writes
    /// the line of the report.
    pub fn finish(mut self, times: usize, workers: Vec<Worker>) -> Finished {
        self.drain(&workers.iter().collect::<Vec<_>>());
        for worker in workers {
            worker.stop();
        }
        self.invariant("at the end");
        assert!(
            self.is_idle(),
            "the workers left something behind: {:?}",
            self.places()
        );
        let allowed = self.fault + STALL;
        assert!(
            self.longest < allowed,
            "nothing was done for {:?}, more than {allowed:?}",
            self.longest
        );
        if !self.replayed.is_empty() {
            let count = self.replayed.len();
            self.note(format!("{count} redelivered too often, put back"));
        }
        if let (times @ 1.., open) = self.moments {
            self.note(format!(
                "tasks open at the fault: {} on average",
                open / times
            ));
        }
        let twice = self.database.is_some().then(|| self.check_effects());
        let none = || "–".to_owned();
        let line = [
            self.scenario.to_owned(),
            times.to_string(),
            self.sent.to_string(),
            self.done.to_string(),
            twice.map_or_else(none, |twice| twice.to_string()),
            self.lost.to_string(),
            seconds(self.stall),
            self.recovery.map_or_else(none, seconds),
            self.notes.join("; "),
        ];
        report(&line);
        Finished {
            twice: twice.unwrap_or_default(),
            nodes: self.rabbit.map_or_else(Vec::new, |rabbit| rabbit.nodes),
        }
    }

    /// Asserts that every row is completed and every effect has happened. Returns how many effects
    /// happened more than once.
    fn check_effects(&self) -> usize {
        let numbers = |text: String| -> Vec<u32> {
            text.split_whitespace()
                .map(|n| n.parse().unwrap())
                .collect()
        };
        let rows = numbers(
            self.sql("SELECT id FROM tasks WHERE status = 'completed' AND updated_at IS NOT NULL"),
        );
        let rows: BTreeSet<u32> = rows.into_iter().collect();
        assert!(rows == self.created, "completed rows are not those sent");
        let again = numbers(self.sql("SELECT id FROM tasks WHERE n > 1"));
        let again = again.iter().find(|id| self.created_once.contains(id));
        assert_eq!(again, None, "completed more than once");
        let effects = numbers(self.sql("SELECT task FROM effects"));
        let distinct: BTreeSet<u32> = effects.iter().copied().collect();
        assert!(distinct == self.effects, "effects are not those sent");
        let once = numbers(self.sql("SELECT task FROM effects_once ORDER BY task"));
        let wanted: Vec<u32> = self.once.iter().copied().collect();
        assert!(
            once == wanted,
            "effects that must happen once are missing or happened again"
        );
        let early = numbers(self.sql("SELECT task FROM effects_early"));
        let begun: BTreeSet<u32> = early.iter().copied().collect();
        assert_eq!(early.len(), begun.len(), "code began more than once");
        let without: Vec<_> = self.early.difference(&begun).collect();
        let excused = without.iter().all(|id| self.early_failed.contains(id));
        assert!(excused, "{without:?} have no effect, but did not fail");
        effects.len() - distinct.len()
    }

    /// Returns how many of these tasks failed because their worker died, and how many of those had
    /// an effect.
    pub fn early_failed(&self, ids: &[String]) -> (usize, usize) {
        let number = |id: &String| id[1..].parse::<u32>().unwrap();
        let failed = ids
            .iter()
            .map(number)
            .filter(|id| self.early_failed.contains(id));
        let failed: Vec<String> = failed.map(|id| id.to_string()).collect();
        let list = failed.join(",");
        let effects = self.sql(&format!(
            "SELECT COUNT(*) FROM effects_early WHERE task IN (0{}{list})",
            if list.is_empty() { "" } else { "," }
        ));
        (failed.len(), effects.trim().parse().unwrap())
    }
}

/// Prints a line, and adds it to the file from which `make chaos` makes its table.
fn report(line: &[String]) {
    let line = format!("| {} |", line.join(" | "));
    println!("{line}");
    if let Some(file) = std::env::var_os("CHAOS_REPORT").filter(|file| !file.is_empty()) {
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(file)
            .unwrap();
        writeln!(file, "{line}").unwrap();
    }
}
