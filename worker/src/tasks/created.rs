//! The task of the Laravel example: a row of `tasks` was created, and the task completes it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::task::{Answers, Batch, Exception, State, TaskError};
use crate::{Database, DatabaseError, Transaction, task};

/// Matches completed rows again, so that a message that comes twice succeeds twice. The time is the
/// server's.
const UPDATE: &str = "UPDATE tasks SET status = :status, message = :message, \
    updated_at = CURRENT_TIMESTAMP WHERE id IN (:ids)";
const PRESENT: &str = "SELECT id FROM tasks WHERE id IN (:ids)";
const STATUS: &str = "completed";
const MESSAGE: &str = "Updated by celery worker!";

/// The arguments of the call `task_created(id)`.
#[derive(Debug, Deserialize)]
pub struct Created {
    id: Id,
}

/// A row's key. PHP often sends it as text.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Id {
    Number(i64),
    Text(String),
}

impl Id {
    fn number(&self) -> Result<i64, TaskError> {
        match self {
            Id::Number(id) => Ok(*id),
            Id::Text(text) => text.trim().parse().map_err(|_| {
                let message = format!("task_created() argument 'id' is not a number: {text:?}");
                TaskError::Failed(Exception::new("ValueError", message).permanent())
            }),
        }
    }
}

/// Sets the rows of many calls to `completed`, in one statement and one commit.
///
/// The answer is `true`. A call whose row does not exist fails alone, and is retried: the client
/// that posted it may not have committed yet.
///
/// # Errors
///
/// Fails for all calls if the database fails.
#[task(
    max_retries = 3,
    retry_delay = "10s",
    batch(size = 500, linger = "5ms")
)]
pub async fn task_created(
    database: State<Database>,
    calls: Batch<Created>,
) -> Result<Answers<bool>, TaskError> {
    let numbers: Arc<[Result<i64, TaskError>]> =
        calls.iter().map(|call| call.id.number()).collect();
    if !calls.exactly_once() {
        let answers = database.transaction(move |open| {
            let numbers = Arc::clone(&numbers);
            Box::pin(async move { complete(open, &numbers).await })
        });
        return Ok(answers.await?);
    }
    let answers = database.once_each(calls.ids(), move |open, fresh| {
        let numbers: Vec<_> = fresh.iter().map(|at| numbers[*at].clone()).collect();
        Box::pin(async move { complete(open, &numbers).await })
    });
    answers.await
}

/// Completes the rows of the calls whose ids are numbers, and returns an answer for each call.
async fn complete(
    open: &mut Transaction,
    numbers: &[Result<i64, TaskError>],
) -> Result<Answers<bool>, DatabaseError> {
    // Sorted, so that overlapping batches take their locks in one order.
    let ids: BTreeSet<i64> = numbers
        .iter()
        .filter_map(|id| id.as_ref().ok().copied())
        .collect();
    let missing = update(open, &ids).await?;
    let answer = |id: i64| {
        if missing.contains(&i128::from(id)) {
            Err(TaskError::Failed(Exception::new(
                "LookupError",
                format!("no row of tasks has the id {id}"),
            )))
        } else {
            Ok(true)
        }
    };
    let answers = numbers.iter().cloned();
    Ok(answers.map(|id| id.and_then(answer)).collect())
}

/// Completes the rows, and returns those of `ids` that do not exist.
async fn update(
    open: &mut Transaction,
    ids: &BTreeSet<i64>,
) -> Result<HashSet<i128>, DatabaseError> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let list = Value::from(ids.iter().copied().collect::<Vec<_>>());
    let params = [
        ("status", json!(STATUS)),
        ("message", json!(MESSAGE)),
        ("ids", list.clone()),
    ];
    let matched = open.execute(UPDATE, &params).await?;
    if usize::try_from(matched).is_ok_and(|matched| matched >= ids.len()) {
        return Ok(HashSet::new());
    }
    let present = open.keys(PRESENT, &[("ids", list)]).await?;
    let present: HashSet<i128> = present.into_iter().collect();
    let wanted = ids.iter().map(|id| i128::from(*id));
    Ok(wanted.filter(|id| !present.contains(id)).collect())
}
