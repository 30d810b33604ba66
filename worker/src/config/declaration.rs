//! Declares every setting, each once.
//!
//! From an entry come the option, the environment variable, the key of the file, the method of
//! `WorkerBuilder`, the line of `--print-config`, and the row of the table in
//! `docs/reference/worker.md`. [`declare_settings!`] lists the parts of an entry. The order is that
//! of `--print-config` and of the reference.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use celery_client::Endpoint;
use celery_protocol::compression::Compression;
use celery_protocol::names::check_queue_name;
use celery_protocol::priorities::{PrioritySteps, Separator};
use celery_protocol::serializer::Serializer;
use clap::ArgMatches;

use super::annotation::Annotation;
use super::checked::{
    Check, Checked, DatabaseUrl, Headers, a_priority, a_queue, at_least_a_second, at_least_one,
    checked, no_control_character, none_zero_or_a_second, within, zero_or_a_second,
};
use super::given::{Given, read_slots, slots};
use super::log::{LogFields, LogFormat};
use super::rabbitmq::CreateQueues;
use super::setting::{DefaultText, Group, Setting, declare_settings};
use super::value::ConfigError;
use crate::beat::{FileEntry, Section};
use crate::broker::{ClaimMode, QueueOrder, Results};
use crate::consumer::{Routes, read_routes};
use crate::database::Zone;
use crate::delivery::MAX_HELD;
use crate::task::Rate;
use crate::tasks::SqlTask;
use crate::trace::{Collector, Pairs, Ratio};

declare_settings! {
    /// Sets the URL of the broker: `redis://[user:password@]host[:port][/db]`, `rediss://`,
    /// `redis+socket://`, or `amqp://[user:password@]host[:port][/vhost]` and `amqps://` for
    /// RabbitMQ.
    broker: Endpoint = "redis://localhost:6379/0" {
        group: Broker,
        short: 'b',
        variable: "CELERY_BROKER_URL",
        value: "URL",
        help: "The broker",
        more: "Schemes: `redis://`, `rediss://`, `redis+socket://`; `sentinel://` for \
               [Sentinels](redis.md#sentinel); `redis+cluster://` and `rediss+cluster://` for a \
               [cluster](redis.md#cluster); `amqp://` and `amqps://` for \
               [RabbitMQ](../guides/rabbitmq.md)",
        celery: "broker_url",
        builder: |url: impl Into<String>| url.into(),
        example: "\"redis://localhost/1\"",
    }

    /// Sets the text that every key begins with, and so the names of the lists of queues.
    key_prefix: Option<String> {
        group: Broker,
        hyphen: true,
        check: no_control_character,
        value: "PREFIX",
        help: "Prefix of every key: Celery's `global_keyprefix`",
        default: "none",
        more: "In PHP `celery.key_prefix`. A [cluster](redis.md#cluster) needs one with a hash tag",
        celery: "broker_transport_options.global_keyprefix",
        builder: |prefix: impl Into<String>| prefix.into(),
        example: "\"shop:\"",
    }

    /// Sets where results go: the URL of a Redis server, `rpc://` for replies over RabbitMQ, or
    /// `disabled`.
    result_backend: Results {
        group: Broker,
        variable: "CELERY_RESULT_BACKEND",
        value: "URL",
        help: "Where results go: a URL, or \"disabled\"",
        default: "the broker",
        more: "Celery's default is none. With RabbitMQ, the default is none, too, and `rpc://` \
               sends [replies](../guides/rabbitmq.md#results-without-redis)",
        celery: "result_backend",
        builder: |url: impl Into<String>| url.into(),
        example: "\"redis://localhost/2\"",
    }

    /// Sets the text that the keys of results begin with. If it differs from the prefix of the
    /// other keys, results are treated as if they were on another server.
    result_key_prefix: Option<String> {
        group: Broker,
        hyphen: true,
        check: no_control_character,
        value: "PREFIX",
        help: "Prefix of the keys of results",
        default: "`--key-prefix`",
        more: "Where the two differ, results are treated as if they were on another server",
        celery: "result_backend_transport_options.global_keyprefix",
        builder: |prefix: impl Into<String>| prefix.into(),
        example: "\"results:\"",
    }

    /// Sets the name of the group of servers that Sentinels watch, if a URL `sentinel://` names
    /// none. Default: none.
    master_name: Option<String> {
        group: Broker,
        value: "NAME",
        help: "The master that the Sentinels of a URL `sentinel://` watch",
        more: "See [Sentinel](redis.md#sentinel)",
        celery: "broker_transport_options.master_name",
        builder: |name: impl Into<String>| name.into(),
        example: "\"mymaster\"",
    }

    /// Sets how long results are kept, from 1 s. Zero keeps them without limit.
    result_expires: Duration = "1d" {
        group: Broker,
        check: zero_or_a_second,
        value: "TIME",
        help: "How long results are kept; 0 means without limit",
        celery: "result_expires",
        builder: |time: Duration| time.into(),
        example: "Duration::from_hours(1)",
    }

    /// Sets how long the results of failed tasks are kept, from 1 s. Zero keeps them without limit.
    result_failure_expires: Option<Duration> {
        group: Broker,
        check: none_zero_or_a_second,
        value: "TIME",
        help: "How long failures are kept; 0 means without limit",
        default: "`--result-expires`",
        more: "The state FAILURE only: retries and revocations live like results",
        celery: "result_failure_expires",
        builder: |time: Duration| time.into(),
        example: "Duration::from_hours(72)",
    }

    /// Sets how long the parts of a chord are kept while it runs, from 1 s. Zero keeps them without
    /// limit.
    result_chord_expires: Option<Duration> {
        group: Broker,
        check: none_zero_or_a_second,
        value: "TIME",
        help: "How long the parts of a chord are kept while it runs; 0 means without limit",
        default: "`--result-expires`",
        celery: "result_chord_expires",
        builder: |time: Duration| time.into(),
        example: "Duration::from_hours(48)",
    }

    /// Sets the URL of the database, which tasks then get as `State<Database>`: `mysql://`,
    /// `mariadb://`, `postgres://` or `sqlite:`. Default: none.
    database: Option<DatabaseUrl> {
        group: Database,
        variable: "DATABASE_URL",
        value: "URL",
        help: "The database of the tasks: `mysql://`, `postgres://` or `sqlite:`",
        more: "`mariadb://` is `mysql://`",
        builder: |url: impl Into<String>| url.into(),
        example: "\"mysql://app:password@localhost/shop\"",
    }

    /// Sets how long a transaction may take. After that its connection counts as lost, and the task
    /// is tried again over another. Zero means no limit.
    database_timeout: Duration = "5m" {
        group: Database,
        value: "TIME",
        help: "How long a transaction may take before its connection counts as lost; 0 means no \
               limit",
        more: "The task is then tried again over another connection",
        builder: |time: Duration| time.into(),
        example: "Duration::from_secs(60)",
    }

    /// Sets the most connections to the database, at least one. Tasks queue for them.
    database_connections: NonZeroU16 = 16 {
        group: Database,
        value: "N",
        help: "The most connections to the database",
        more: "Tasks wait in line for them. Up to two more cancel statements and look after lost \
               ones. SQLite has one",
        builder: |connections: u16| connections,
        example: "32",
    }

    /// Sets the time zone of database sessions: an IANA name, or an offset such as `+00:00`.
    ///
    /// Dates that carry an offset are converted to this zone before they are bound. A pool that a
    /// task creates itself has its own zone: `sqlx` starts each session in UTC. To make it follow
    /// the server, pass it `MySqlConnectOptions::timezone(None)`.
    database_time_zone: Option<Zone> {
        group: Database,
        hyphen: true,
        value: "ZONE",
        help: "The time zone of database sessions: an IANA name or `±hh:mm`",
        default: "the server's",
        more: "See [Databases](database.md#what-a-statement-means)",
        builder: |zone: impl Into<String>| zone.into(),
        example: "\"Europe/Berlin\"",
    }

    /// Sets the queues to consume.
    queues: Vec<String> {
        group: Queues,
        short: 'Q',
        check: a_queue,
        value: "QUEUES",
        help: "The queues to consume, separated by commas",
        default: "`celery`",
        more: "If `--default-queue` names another queue, that is the default",
        celery: "task_queues",
        builder: |queues: impl IntoIterator<Item = impl Into<String>>|
            queues.into_iter().map(Into::into).collect(),
        example: "[\"celery\", \"mails\"]",
    }

    /// Sets queues to leave out of the consumed ones.
    exclude_queues: Option<Vec<String>> {
        group: Queues,
        short: 'X',
        value: "QUEUES",
        help: "Queues to leave out of the consumed ones, separated by commas",
        default: "none",
        builder: |queues: impl IntoIterator<Item = impl Into<String>>|
            queues.into_iter().map(Into::into).collect(),
        example: "[\"mails\"]",
    }

    /// Makes the worker also consume a queue of its own: its node's name with `.dq2` after it.
    direct: bool = false {
        group: Queues,
        alias: "worker_direct",
        value: "BOOL",
        help: "Also consume a queue of this worker alone: the node's name with `.dq2` after it",
        more: "Such as `celery@web1.dq2`, for tasks that this worker must run",
        celery: "worker_direct",
        builder: |direct: bool| direct,
        example: "true",
    }

    /// Sets which queue goes first: `round_robin`, `sorted` (by name) or `priority` (as listed).
    queue_order_strategy: Option<QueueOrder> {
        group: Queues,
        value: "STRATEGY",
        help: "Which queue goes first: `round_robin`, `sorted` (by name), `priority` (as listed)",
        default: "`round_robin`",
        more: "See [Several queues](redis.md#several-queues)",
        celery: "broker_transport_options.queue_order_strategy",
        builder: |strategy: impl Into<String>| strategy.into(),
        example: "\"priority\"",
    }

    /// Sets weights of queues, from 1 to 100, instead of a strategy. A queue without a weight has 1.
    /// Default: none.
    queue_weights: Option<BTreeMap<String, u32>> {
        group: Queues,
        value: "WEIGHTS",
        help: "Weights of queues, such as `celery=3,mails=1`, instead of a strategy",
        more: "In the file a table",
        builder: |weights: impl IntoIterator<Item = (impl Into<String>, u32)>|
            weights.into_iter().map(|(queue, weight)| (queue.into(), weight)).collect(),
        example: "[(\"celery\", 3), (\"mails\", 1)]",
    }

    /// Sets queues that serve the keys of their messages in turn, such as tenants. The key is an
    /// argument of the task: its position, from 0, or its name. What follows a dot is inside the
    /// argument. Default: none.
    fair_queues: Option<BTreeMap<String, String>> {
        group: Queues,
        value: "QUEUES",
        help: "Queues that serve the values of an argument in turn, such as `exports=0,mails=tenant`",
        more: "In the file a table. See [Fair turns](../guides/limits.md#fair-turns-between-tenants)",
        builder: |queues: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>|
            queues.into_iter().map(|(queue, key)| (queue.into(), key.into())).collect(),
        example: "[(\"exports\", \"tenant\")]",
    }

    /// Sets the priorities at which the lists of a queue begin, in ascending order from 0 to at
    /// most 9. Every client of the broker must have the same steps.
    priority_steps: Option<PrioritySteps> {
        group: Queues,
        value: "STEPS",
        help: "Priorities at which a queue's lists begin: kombu's `priority_steps`",
        default: "`0,3,6,9`",
        more: "In the file a list. See [Transport options](redis.md#transport-options-of-kombu)",
        celery: "broker_transport_options.priority_steps",
        builder: |steps: impl IntoIterator<Item = u8>|
            Steps::Listed(steps.into_iter().map(i64::from).collect()),
        example: "[0, 5]",
    }

    /// Sets the text before a priority step in the name of a list: 1 to 8 bytes.
    sep: Option<Separator> {
        group: Queues,
        option: "priority-sep",
        hyphen: true,
        value: "TEXT",
        help: "Text before a step in the name of a list: kombu's `sep`",
        default: "the bytes 6 and 22",
        more: "In the file `sep`. It may begin with a hyphen, and so may the values of \
               `--key-prefix` and `--result-key-prefix`",
        celery: "broker_transport_options.sep",
        builder: |text: impl Into<String>| text.into(),
        example: "\":\"",
    }

    /// Sets the queue of follow-ups that name none and have no route. It is also the queue to
    /// consume unless [`queues`](Self::queues) names others.
    default_queue: String = "celery" {
        group: Queues,
        check: |queue| check_queue_name(queue).map_err(|error| error.to_string()),
        value: "QUEUE",
        help: "The queue of follow-ups that name none and have no route; also the queue to \
               consume without `--queues`",
        more: "See [the queue of a follow-up](canvas.md#the-queue-of-a-follow-up)",
        celery: "task_default_queue",
        builder: |queue: impl Into<String>| queue.into(),
        example: "\"shop\"",
    }

    /// Sets the queues of follow-ups that name none. Default: no routes.
    routes: Routes {
        group: Queues,
        read: "read_routes",
        value: "ROUTES",
        help: "Queues of follow-ups that name none, such as `mail.*=mails,sms.send=sms`; the first \
               match counts",
        more: "In the file [a table](canvas.md#the-queue-of-a-follow-up)",
        celery: "task_routes",
        builder: |routes: Routes| Ok(routes),
        example: "celery_worker::Routes::new([(\"mail.*\", \"mails\")]).unwrap()",
    }

    /// Gives callbacks and the next steps of chains the priority of the task that they follow.
    inherit_parent_priority: bool = false {
        group: Queues,
        alias: "task_inherit_parent_priority",
        value: "BOOL",
        help: "Give callbacks and the next steps of chains the priority of the task that they follow",
        celery: "task_inherit_parent_priority",
        builder: |inherit: bool| inherit,
        example: "true",
    }

    /// Sets the priority, from 0 to 9, of calls and callbacks that have none of their own. Default:
    /// none, which Redis takes as 0.
    default_priority: Option<u8> {
        group: Queues,
        alias: "task_default_priority",
        check: a_priority,
        value: "N",
        help: "The priority of calls, callbacks and next steps of chains that have none of their own",
        default: "none",
        more: "From 0 to 9. Also for tasks of schedules. See \
               [the priority of a follow-up](canvas.md#the-priority-of-a-follow-up)",
        celery: "task_default_priority",
        builder: |priority: u8| priority,
        example: "3",
    }

    /// Gives the error callbacks of a chord that a task sends, or is replaced by, to the members of the
    /// chord's header, too. There they are called with the id of the failed member.
    allow_error_cb_on_chord_header: bool = false {
        group: Queues,
        alias: "task_allow_error_cb_on_chord_header",
        value: "BOOL",
        help: "Give the error callbacks of a chord that a task sends to its header's members, too",
        more: "Also of a chord that replaces a task. What a client sends is as the client made it",
        celery: "task_allow_error_cb_on_chord_header",
        builder: |allow: bool| allow,
        example: "true",
    }

    /// Deletes the messages that wait in the consumed queues, each time the worker starts, before it
    /// claims the first one.
    purge: bool = false {
        group: Queues,
        alias: "discard",
        value: "BOOL",
        help: "Delete the messages that wait in the consumed queues, before the first one is claimed",
        more: "At each start. The option is Celery's `--purge`. Messages that other workers hold are not \
               deleted",
        builder: |purge: bool| purge,
        example: "true",
    }

    /// Sets the serializers that message bodies may have: `json`, `msgpack`, `yaml`, or their
    /// content types. Other messages become dead letters. Pickle is never accepted.
    accept_content: Vec<Serializer> = "json" {
        group: Queues,
        value: "TYPES",
        help: "Serializers accepted in message bodies: `json`, `msgpack`, `yaml`",
        more: "In the file a list. Messages in any other become [dead \
               letters](outcomes.md#dead-letters); pickle is never accepted",
        celery: "accept_content",
        builder: |types: impl IntoIterator<Item = impl Into<String>>|
            types.into_iter().map(Into::into).collect(),
        example: "[\"json\", \"msgpack\"]",
    }

    /// Sets how many tasks run at once, from 1 to 4,000. They are futures, not processes, so the
    /// default is more than Celery's, which is the number of cores.
    concurrency: usize = 100 {
        group: Running,
        short: 'c',
        read: "read_slots",
        parse: slots,
        // A worker would never use more slots than it may hold messages.
        check: |slots| within(*slots, &(1..=MAX_HELD)),
        value: "N",
        help: "How many tasks run at once; `auto` is the number of cores",
        more: "They are futures, not processes. A batch counts as one",
        celery: "worker_concurrency",
        builder: |slots: usize| slots,
        example: "16",
    }

    /// Sets how many messages are held for each task that may run. Zero means no limit of its own:
    /// a worker holds at most 4,000 messages. If it is not set, the worker holds 4 for each, and up
    /// to 1,600 while its tasks end within 10 ms.
    prefetch_multiplier: Option<usize> {
        group: Running,
        value: "N",
        help: "How many messages are held for each task that may run; 0 means no limit",
        default: "4, and up to 1,600 messages in all while tasks end within 10 ms",
        more: "At most 4,000 in all, and [256 MiB](operations.md#memory). A given number is exact. Without one, a worker holds about what it does in 40 ms",
        celery: "worker_prefetch_multiplier",
        builder: |messages: usize| messages,
        example: "1",
    }

    /// Makes the worker claim a message only when a slot is free for it, like a prefetch multiplier
    /// of 1.
    disable_prefetch: bool = false {
        group: Running,
        alias: "worker_disable_prefetch",
        value: "BOOL",
        help: "Claim a message only when a slot is free for it, like `--prefetch-multiplier 1`",
        celery: "worker_disable_prefetch",
        builder: |disable: bool| disable,
        example: "true",
    }

    /// Sets the time limit of tasks that have none, unless the message has one. A task that exceeds
    /// it fails. Zero means no limit.
    time_limit: Option<Duration> {
        group: Running,
        alias: "task_time_limit",
        value: "TIME",
        help: "Time limit of tasks that have none of their own, unless the message has one",
        default: "no limit",
        more: "See [time limits](outcomes.md#time-limits-and-stuck-tasks)",
        celery: "task_time_limit",
        builder: |time: Duration| time.into(),
        example: "Duration::from_secs(60)",
    }

    /// Sets the soft time limit of tasks that have none, unless the message has one. The task
    /// learns of it and can end in order. Zero means no limit.
    soft_time_limit: Option<Duration> {
        group: Running,
        alias: "task_soft_time_limit",
        value: "TIME",
        help: "Soft time limit of tasks that have none of their own, unless the message has one",
        default: "no limit",
        celery: "task_soft_time_limit",
        builder: |time: Duration| time.into(),
        example: "Duration::from_secs(50)",
    }

    /// Sets how often the worker may begin each task, such as `10/m`, unless an annotation says
    /// otherwise. Zero means no limit.
    default_rate_limit: Option<Rate> {
        group: Running,
        alias: "task_default_rate_limit",
        value: "RATE",
        help: "How often the worker may begin each task, such as `10/s`, `100/m` or `3/h`",
        default: "no limit",
        more: "An [annotation](celery.md#annotations) is for one task. See \
               [rate limits](outcomes.md#rate-limits)",
        celery: "task_default_rate_limit",
        builder: |rate: impl Into<String>| rate.into().into(),
        example: "\"100/m\"",
    }

    /// Makes the worker ignore rate limits of settings and annotations, and requests to change them.
    disable_rate_limits: bool = false {
        group: Running,
        alias: "worker_disable_rate_limits",
        value: "BOOL",
        help: "Ignore all rate limits, and requests to change them",
        celery: "worker_disable_rate_limits",
        builder: |disable: bool| disable,
        example: "true",
    }

    /// Makes the worker acknowledge a redelivered message without running its task, if the stored
    /// result says that the task has succeeded.
    deduplicate_successful_tasks: bool = false {
        group: Running,
        alias: "worker_deduplicate_successful_tasks",
        value: "BOOL",
        help: "Do not run the task of a redelivered message again if its success is stored",
        more: "See [a success that is delivered again](outcomes.md#a-success-that-is-delivered-again)",
        celery: "worker_deduplicate_successful_tasks",
        builder: |deduplicate: bool| deduplicate,
        example: "true",
    }

    /// Sets after how many tasks the process stops warm and ends with code 75, so that its
    /// supervisor starts another. The process counts as the only child: tasks of all slots count.
    max_tasks_per_child: Option<usize> {
        group: Running,
        alias: "worker_max_tasks_per_child",
        check: at_least_one,
        value: "N",
        help: "Stop after this number of tasks, with exit code 75 for the supervisor",
        default: "no limit",
        more: "See [a process that is replaced](operations.md#a-process-that-is-replaced)",
        celery: "worker_max_tasks_per_child",
        builder: |tasks: usize| tasks,
        example: "1_000_000",
    }

    /// Sets at how many KiB of resident memory the process stops warm and ends with code 75, so that
    /// its supervisor starts another.
    max_memory_per_child: Option<usize> {
        group: Running,
        alias: "worker_max_memory_per_child",
        check: at_least_one,
        value: "KIB",
        help: "Stop when the process takes this number of KiB, with exit code 75 for the supervisor",
        default: "no limit",
        more: "See [a process that is replaced](operations.md#a-process-that-is-replaced)",
        celery: "worker_max_memory_per_child",
        builder: |kib: usize| kib,
        example: "2_000_000",
    }

    /// Turns off the storing of results, unless the message says otherwise.
    ignore_result: bool = false {
        group: Broker,
        alias: "task_ignore_result",
        value: "BOOL",
        help: "Store no results, unless the message says otherwise",
        celery: "task_ignore_result",
        builder: |ignore: bool| ignore,
        example: "true",
    }

    /// Sets the serializer of results: `json`, `msgpack` or `yaml`.
    result_serializer: Serializer = "json" {
        group: Broker,
        value: "TYPE",
        help: "The serializer of results: `json`, `msgpack` or `yaml`",
        more: "See [the form of results](outcomes.md#the-form-of-results)",
        celery: "result_serializer",
        builder: |serializer: impl Into<String>| serializer.into(),
        example: "\"msgpack\"",
    }

    /// Sets the compression of results: `gzip`, `bzip2`, `lzma`, `zstd` or `brotli`. Default: none.
    result_compression: Option<Compression> {
        group: Broker,
        value: "NAME",
        help: "The compression of results: `gzip`, `bzip2`, `lzma`, `zstd` or `brotli`",
        default: "none",
        more: "Python reads it from Celery 5.7 on",
        celery: "result_compression",
        builder: |compression: impl Into<String>| compression.into(),
        example: "\"gzip\"",
    }

    /// Makes the worker store the name, arguments, worker, retries and queue of a task with its
    /// result.
    result_extended: bool = false {
        group: Broker,
        value: "BOOL",
        help: "Store also the name, arguments, worker, retries and queue of a task with its result",
        celery: "result_extended",
        builder: |extended: bool| extended,
        example: "true",
    }

    /// Makes the worker store the state STARTED when the code of a task begins.
    track_started: bool = false {
        group: Broker,
        alias: "task_track_started",
        value: "BOOL",
        help: "Store the state STARTED when the code of a task begins",
        more: "The code waits until it is stored",
        celery: "task_track_started",
        builder: |track: bool| track,
        example: "true",
    }

    /// Makes the worker store failures, retries and revocations even if the result is ignored.
    store_errors_even_if_ignored: bool = false {
        group: Broker,
        alias: "task_store_errors_even_if_ignored",
        value: "BOOL",
        help: "Store failures, retries and revocations even if results are ignored",
        celery: "task_store_errors_even_if_ignored",
        builder: |store: bool| store,
        example: "true",
    }

    /// Sets the node's name. `%h` is the full host name, `%n` its first part, `%d` its domain.
    hostname: String = "celery@%h" {
        group: Log,
        short: 'n',
        value: "NAME",
        help: "The node's name; `%h` is the full host name, `%n` its first part, `%d` its domain",
        builder: |name: impl Into<String>| name.into(),
        example: "\"mails@%h\"",
    }

    /// Sets the level of the log: `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`. A program
    /// that does not use [`cli::main`](crate::cli::main) sets up its own log.
    loglevel: tracing::Level = "WARNING" {
        group: Log,
        short: 'l',
        value: "LEVEL",
        help: "`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`",
        more: "The line \"ready.\" is written at every level",
        builder: |level: impl Into<String>| level.into(),
        example: "\"INFO\"",
    }

    /// Makes the worker send the event `task-sent` for each task that it sends: retries, callbacks,
    /// steps of chains, what tasks send, and what schedules send.
    send_sent_event: bool = false {
        group: Log,
        alias: "task_send_sent_event",
        value: "BOOL",
        help: "Send the event `task-sent` for each task that this process sends",
        more: "Also without `--task-events`. See [Events](events.md)",
        celery: "task_send_sent_event",
        builder: |send: bool| send,
        example: "true",
    }

    /// Sets the file of the log, which [`cli::main`](crate::cli::main) opens.
    logfile: Option<PathBuf> {
        group: Log,
        short: 'f',
        value: "FILE",
        help: "The log file",
        default: "standard error",
        more: "`%h` is the host of the node's name, `%n` the part before its `@`, `%d` the domain",
        builder: |file: impl Into<PathBuf>| file.into(),
        example: "\"/var/log/celery/worker.log\"",
    }

    /// Sets the file with the process's number, which [`cli::main`](crate::cli::main) writes and
    /// removes. A worker whose file names a running process does not start.
    pidfile: Option<PathBuf> {
        group: Log,
        value: "FILE",
        help: "The file with the number of the process",
        default: "none",
        more: "`%h`, `%n` and `%d` as in `--logfile`",
        builder: |file: impl Into<PathBuf>| file.into(),
        example: "\"/run/celery/worker.pid\"",
    }

    /// Sets the format of the log of [`cli::main`](crate::cli::main): `text` or `json`.
    log_format: LogFormat = "text" {
        group: Log,
        value: "FORMAT",
        help: "`text`, like Celery's log, or `json`",
        more: "See [the log](#the-log)",
        builder: |format: impl Into<String>| format.into(),
        example: "\"json\"",
    }

    /// Sets the fields of a JSON line and their order, such as `timestamp` or `time=timestamp`. The
    /// field `*` stands for all others.
    log_fields: Option<LogFields> {
        group: Log,
        value: "FIELDS",
        help: "Fields of a JSON line in their order, such as `time=timestamp,level,message,task_id`",
        default: "all",
        more: "See [the log](#the-log)",
        builder: |fields: impl IntoIterator<Item = impl Into<String>>|
            fields.into_iter().map(Into::into).collect(),
        example: "[\"time=timestamp\", \"message\", \"*\"]",
    }

    /// Sets when messages held by a Python worker count as lost, from 1 s. The shortest value in a
    /// fleet decides for all workers.
    visibility_timeout: Duration = "1h" {
        group: Lost,
        check: at_least_a_second,
        value: "TIME",
        help: "When messages held by a Python worker count as lost",
        more: "The shortest in the fleet decides for all",
        celery: "broker_transport_options.visibility_timeout",
        builder: |time: Duration| time.into(),
        example: "Duration::from_hours(12)",
    }

    /// Sets how old a lease of this kind of worker may become before another worker rescues its
    /// messages: at least 1 s.
    lease: Duration = "30s" {
        group: Lost,
        check: at_least_a_second,
        value: "TIME",
        help: "When messages held by a worker like this one count as lost",
        builder: |lease: Duration| lease.into(),
        example: "Duration::from_secs(60)",
    }

    /// Sets how messages are claimed: `adaptive` (by their size), `script` or `native`.
    claim: ClaimMode = "adaptive" {
        group: Lost,
        value: "HOW",
        help: "How messages are claimed: `adaptive` (by their size), `script`, `native`",
        more: "See [Large messages](redis.md#large-messages)",
        builder: |how: impl Into<String>| how.into(),
        example: "\"script\"",
    }

    /// Sets the type of the queues that the worker creates on RabbitMQ.
    create_queues: CreateQueues = "classic" {
        group: Broker,
        value: "TYPE",
        help: "The type of queues that are missing on RabbitMQ: `classic`, `quorum`, or `none` to \
               create none",
        celery: "task_create_missing_queue_type",
        builder: |kind: impl Into<String>| kind.into(),
        example: "\"quorum\"",
    }

    /// Sets how many messages may wait in memory for their ETA.
    eta_task_limit: Option<usize> {
        group: Running,
        value: "N",
        help: "How many messages may wait in memory for their ETA",
        default: "no limit",
        celery: "worker_eta_task_limit",
        builder: |messages: usize| messages,
        example: "10_000",
    }

    /// Makes the worker send events to monitors such as Flower.
    task_events: bool = false {
        group: Log,
        short: 'E',
        alias: "events",
        value: "BOOL",
        help: "Send events to monitors such as Flower",
        more: "`celery control enable_events` can follow later. See [events](events.md)",
        celery: "worker_send_task_events",
        builder: |events: bool| events,
        example: "true",
    }

    /// Makes the worker send the tasks of schedules, too, if no other process does.
    beat: bool = false {
        group: Schedules,
        short: 'B',
        value: "BOOL",
        help: "Also send the tasks of schedules: one of the processes that may do it does",
        more: "`celery-worker beat` runs schedules without tasks. See \
               [Schedules](schedules.md)",
        builder: |beat: bool| beat,
        example: "true",
    }

    /// Sets the time zone of schedules that name none: an IANA name, or an offset such as `+00:00`.
    timezone: Option<Zone> {
        group: Schedules,
        hyphen: true,
        value: "ZONE",
        help: "The time zone of schedules that name none: an IANA name or `±hh:mm`",
        default: "`UTC`",
        celery: "timezone",
        builder: |zone: impl Into<String>| zone.into(),
        example: "\"Europe/Berlin\"",
    }

    /// Makes `task_created` and SQL tasks apply each call once, with the help of the table
    /// `celery_inbox`. Other tasks use [`Database::once`](crate::Database::once).
    exactly_once: bool = false {
        group: Database,
        value: "BOOL",
        help: "Apply each call of `task_created` and of SQL tasks once, with the help of the table \
               `celery_inbox`",
        more: "See [effects that happen once](database.md#effects-that-happen-once). An SQL task \
               can choose otherwise",
        builder: |once: bool| once,
        example: "true",
    }

    /// Sets how long the table `celery_inbox` remembers a call. Zero means without limit.
    // A message is no longer delivered again after a week.
    inbox_expires: Duration = "7d" {
        group: Database,
        value: "TIME",
        help: "How long `celery_inbox` remembers a call; 0 means without limit",
        builder: |time: Duration| time.into(),
        example: "Duration::from_hours(48)",
    }

    /// Sets the address that serves `/healthz`, `/readyz` and `/metrics`, such as
    /// `127.0.0.1:9808`. A port alone is a port of loopback.
    metrics_addr: Option<SocketAddr> {
        group: Log,
        value: "ADDRESS",
        help: "Where `/healthz`, `/readyz` and `/metrics` are served: an address, or a port on loopback",
        default: "nowhere",
        more: "[The pages](metrics.md) need it. Port 0 is a free one, which the log names",
        builder: |address: impl Into<String>| address.into(),
        example: "\"127.0.0.1:9808\"",
    }

    /// Sets the collector of OpenTelemetry that gets the spans of tasks, by OTLP over HTTP:
    /// `http://host:4318`. Without it no spans are made, but messages continue their traces.
    otlp_endpoint: Option<Collector> {
        group: Log,
        variable: "OTEL_EXPORTER_OTLP_ENDPOINT",
        value: "URL",
        help: "The collector of OpenTelemetry that gets the spans of tasks, such as \
               `http://localhost:4318`",
        default: "none",
        more: "OTLP over HTTP. `/v1/traces` is appended, unless it is there. See \
               [Tracing](../guides/tracing.md)",
        builder: |url: impl Into<String>| url.into(),
        example: "\"http://localhost:4318\"",
    }

    /// Sets the file of the authorities that a collector at an `https` URL is verified against. Default:
    /// the system's.
    otlp_certificate: Option<PathBuf> {
        group: Log,
        variable: "OTEL_EXPORTER_OTLP_CERTIFICATE",
        value: "FILE",
        help: "The authorities that sign the certificate of an `https` collector (PEM)",
        default: "the system's",
        builder: |file: impl Into<PathBuf>| file.into(),
        example: "\"/etc/ssl/collector-ca.pem\"",
    }

    /// Sets headers of the requests to the collector, such as a key: `name=value,name=value`, with
    /// percent-encoded values. They are never shown.
    otlp_headers: Option<Headers> {
        group: Log,
        variable: "OTEL_EXPORTER_OTLP_HEADERS",
        value: "PAIRS",
        help: "Headers for the collector, such as a key: `name=value,name=value`",
        default: "none",
        more: "Values are percent-encoded. Set them in the environment: other users of the machine \
               can see options",
        builder: |pairs: impl Into<String>| pairs.into(),
        example: "\"api-key=secret\"",
    }

    /// Sets the name of the service in traces.
    otlp_service: String = "celery-worker" {
        group: Log,
        variable: "OTEL_SERVICE_NAME",
        value: "NAME",
        help: "The name of the service in traces: `service.name`",
        builder: |name: impl Into<String>| name.into(),
        example: "\"mails\"",
    }

    /// Sets attributes that describe the worker in traces: `name=value,name=value`.
    otlp_resource: Option<Pairs> {
        group: Log,
        variable: "OTEL_RESOURCE_ATTRIBUTES",
        value: "PAIRS",
        help: "Attributes of the worker in traces, such as `deployment.environment.name=prod`",
        default: "none",
        more: "As for the headers. A `service.name` here counts before `--otlp-service`",
        builder: |pairs: impl Into<String>| pairs.into(),
        example: "\"deployment.environment.name=prod\"",
    }

    /// Sets the share of traces that are recorded, from 0 to 1, if they begin in this worker. For
    /// others, the sender has decided.
    otlp_ratio: Ratio = "1" {
        group: Log,
        variable: "OTEL_TRACES_SAMPLER_ARG",
        value: "SHARE",
        help: "The share of the traces that begin in this worker and are recorded, from 0 to 1",
        more: "For other traces the sender has decided, as with OpenTelemetry's sampler \
               `parentbased_traceidratio`",
        builder: |share: f64| share.into(),
        example: "0.1",
    }

    /// Sets how long running tasks may go on at a cold shutdown before they are dropped. Zero drops
    /// them at once.
    soft_shutdown_timeout: Duration = "0" {
        group: Running,
        alias: "worker_soft_shutdown_timeout",
        value: "TIME",
        help: "How long running tasks may go on at a cold shutdown before they are dropped",
        celery: "worker_soft_shutdown_timeout",
        builder: |time: Duration| time.into(),
        example: "Duration::from_secs(10)",
    }

    /// Makes the worker ignore remote control: `celery inspect` and `celery control`.
    without_control: bool = false {
        group: Running,
        value: "BOOL",
        help: "Ignore remote control: `celery inspect` and `celery control`",
        more: "The opposite of Celery's `worker_enable_remote_control`. See \
               [Remote control](control.md)",
        builder: |without: bool| without,
        example: "true",
    }

    /// Makes the worker start without asking the other workers for revoked tasks.
    without_mingle: bool = false {
        group: Running,
        value: "BOOL",
        help: "Do not ask the other workers for revoked tasks at the start",
        more: "See [revoked tasks](control.md#revoked-tasks)",
        builder: |without: bool| without,
        example: "true",
    }
}
