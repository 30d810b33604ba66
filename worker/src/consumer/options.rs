//! The options of a consumer.

use std::sync::Arc;
use std::time::Duration;

use celery_protocol::result::StoredForm;
use celery_protocol::serializer::Serializer;

use super::canvas::MOST;
use super::routes::Routes;
use super::rules::Rules;
use crate::broker::{Broker, FairQueue, QueueOrder, Queues, Results, Subscription, Transport};
use crate::delivery::{MAX_HELD_BYTES, TaskNames};
use crate::monitor::Monitor;
use crate::trace::Traces;

/// The options of a consumer: what it consumes, how much it holds, and by which broker.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting")]
pub struct ConsumerOptions {
    /// The broker, with its own options.
    pub transport: Transport,
    /// The queues, without prefix. A queue that is named twice counts once.
    pub queues: Vec<String>,
    /// Which queue is served first.
    pub queue_order: QueueOrder,
    /// Serializers accepted in message bodies; other messages become dead letters. Celery's
    /// `accept_content`.
    pub accept_content: Vec<Serializer>,
    /// The queue of follow-ups that name none and have no route. Celery's `task_default_queue`.
    pub default_queue: String,
    /// The queues of follow-ups that name none. Celery's `task_routes`.
    pub routes: Routes,
    /// The node's name, `celery@host`.
    pub node: String,
    /// The most messages that may be held; see [`held_limit`](crate::delivery::held_limit).
    pub held: usize,
    /// The most messages that may be held while tasks are short. Up to it, the number of held
    /// messages follows the number of messages that the worker settles in 40 ms. If it is not
    /// larger than `held`, as by default, `held` is exact.
    pub held_most: usize,
    /// About how many bytes of memory the held messages may take. Beyond it, the consumer neither
    /// reads nor claims more; one message may exceed it.
    pub held_bytes: usize,
    /// The most messages that may wait for their ETA. If `None`, only memory limits them: about a
    /// hundred bytes each. Celery's `worker_eta_task_limit`.
    pub eta_task_limit: Option<usize>,
    /// Where results go.
    pub results: Results,
    /// How long results live; zero means without limit. Celery's `result_expires`.
    pub result_expires: Duration,
    /// How long failures live; zero means without limit. Celery's `result_failure_expires`.
    pub failure_expires: Duration,
    /// How long the members of a chord live; zero means without limit. Celery's
    /// `result_chord_expires`.
    pub chord_expires: Duration,
    /// The serializer and the compression of results. Celery's `result_serializer` and
    /// `result_compression`.
    pub result_form: StoredForm,
    /// `true` if results also have the name, arguments, worker, retries and queue of their task.
    /// Celery's `result_extended`.
    pub result_extended: bool,
    /// `true` if callbacks and the next steps of chains get the priority of the task that they
    /// follow. Celery's `task_inherit_parent_priority`.
    pub inherit_parent_priority: bool,
    /// `true` if the error callbacks of a chord that a task sends are also those of the members of its
    /// header. Celery's `task_allow_error_cb_on_chord_header`.
    pub errbacks_on_headers: bool,
    /// The priority of calls and callbacks that have none of their own. Celery's
    /// `task_default_priority`.
    pub default_priority: Option<u8>,
    /// `true` if the messages that wait in the queues are deleted before the first one is taken.
    /// Celery's option `--purge`.
    pub purge: bool,
    /// `true` if a redelivered message is not run again if a success of its task is stored. Celery's
    /// `worker_deduplicate_successful_tasks`.
    pub deduplicate_successful_tasks: bool,
    /// How often the task of a redelivered message may begin before the message becomes a dead
    /// letter.
    pub redelivery_limit: u32,
    /// The queues that are served in turns between keys.
    pub(crate) fair: Vec<FairQueue>,
    /// Receives the metrics and pulses of the consumer.
    pub(crate) monitor: Monitor,
}

impl ConsumerOptions {
    /// Returns the defaults: queue `celery`, JSON, 400 messages held in 256 MiB, results on the
    /// broker for a day.
    pub fn new(transport: impl Into<Transport>, node: impl Into<String>) -> Self {
        ConsumerOptions {
            transport: transport.into(),
            queues: vec!["celery".into()],
            queue_order: QueueOrder::default(),
            fair: Vec::new(),
            accept_content: vec![Serializer::Json],
            default_queue: "celery".into(),
            routes: Routes::default(),
            node: node.into(),
            held: 400,
            held_most: 0,
            held_bytes: MAX_HELD_BYTES,
            eta_task_limit: None,
            results: Results::Broker,
            result_expires: Duration::from_hours(24),
            failure_expires: Duration::from_hours(24),
            chord_expires: Duration::from_hours(24),
            result_form: StoredForm::default(),
            result_extended: false,
            inherit_parent_priority: false,
            default_priority: None,
            errbacks_on_headers: false,
            purge: false,
            deduplicate_successful_tasks: false,
            redelivery_limit: 5,
            monitor: Monitor::default(),
        }
    }

    /// Returns the settings that decisions about messages depend on.
    pub(super) fn rules<B: Broker>(&self, names: Arc<dyn TaskNames>, traces: Traces) -> Rules {
        Rules {
            results: self.results != Results::Disabled,
            replies: self.results == Results::Replies,
            form: self.result_form,
            extended: self.result_extended,
            inherit_priority: self.inherit_parent_priority,
            errbacks_on_headers: self.errbacks_on_headers,
            deduplicates: self.deduplicate_successful_tasks,
            default_priority: self.default_priority,
            default_queue: Arc::from(self.default_queue.as_str()),
            routes: self.routes.clone(),
            origin: self.node.clone(),
            reply_to: uuid::Uuid::new_v4().to_string(),
            most: MOST,
            names,
            encode: B::encode,
            decode_sent: self.monitor.events.reports_sent().then_some(B::decode),
            traces,
        }
    }

    /// Returns the options that every broker needs.
    pub(super) fn subscription<'a>(&'a self, queues: &'a Arc<Queues>) -> Subscription<'a> {
        Subscription {
            queues,
            order: &self.queue_order,
            fair: &self.fair,
            node: &self.node,
            results: &self.results,
            result_expires: self.result_expires,
            failure_expires: self.failure_expires,
            chord_expires: self.chord_expires,
            form: self.result_form,
        }
    }
}
