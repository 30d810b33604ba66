//! Makes tasks of statements in the configuration file, for users who do not write Rust.
//!
//! The statement's parameters are the parameters of the task. Keyword arguments go by name,
//! positional ones in the order in which the statement first names them. They are bound, never
//! pasted into the text. With `batch`, one run of the statement serves many calls, and each
//! parameter stands for the list of their values.

use std::sync::Arc;

use celery_protocol::duration;
use serde::Deserialize;
use serde_json::Value;

use crate::config::value::{ConfigError, TASKS, Text};
use crate::database::{Database, DatabaseError, Dates, Dialect, Params, Sample, Transaction};
use crate::task::{
    Answers, Batch, BatchOptions, Context, Exception, Param, Signature, State, TaskDef, TaskError,
    type_error,
};

/// A section `[tasks.NAME]` of the configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SqlTask {
    sql: String,
    max_retries: Option<u32>,
    retry_delay: Option<Text>,
    time_limit: Option<Text>,
    /// `true` if a statement that matches no row is a failure.
    #[serde(default)]
    must_match: bool,
    /// `true` if each call is applied once, even if its message is delivered again. Default: the
    /// worker's `exactly_once`.
    once: Option<bool>,
    batch: Option<SqlBatch>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlBatch {
    size: Option<usize>,
    linger: Option<Text>,
}

impl SqlTask {
    /// Returns `true` if each call is applied once.
    pub(crate) fn is_once(&self, exactly_once: bool) -> bool {
        self.once.unwrap_or(exactly_once)
    }

    /// Returns the statement for the database to prepare, or an error if a task cannot be made of
    /// it.
    pub(super) fn sample(&self, name: &str, dialect: Dialect) -> Result<Sample, ConfigError> {
        Sample::read(&self.sql, dialect, self.batch.is_some())
            .map_err(|error| ConfigError::new(TASKS, format!("{name}: {error}")))
    }

    /// Returns the task, for a database that speaks `dialect` and a worker with this setting of
    /// `exactly_once`.
    pub(crate) fn define(
        self,
        name: String,
        dialect: Dialect,
        exactly_once: bool,
    ) -> Result<TaskDef, ConfigError> {
        let once = self.is_once(exactly_once);
        let wrong = |cause: String| ConfigError::new(TASKS, format!("{name}: {cause}"));
        let time = |text: &Text| {
            duration::parse(&text.to_string()).map_err(|error| wrong(error.to_string()))
        };
        celery_protocol::names::check_queue_name(&name)
            .map_err(|error| wrong(error.to_string()))?;
        let names = self.sample(&name, dialect)?.names;
        let retry_delay = self.retry_delay.as_ref().map(time).transpose()?;
        let time_limit = self.time_limit.as_ref().map(time).transpose()?;
        let mut task = match &self.batch {
            None => single(name.clone(), self.sql, names, self.must_match, once),
            Some(_) if self.must_match => {
                return Err(wrong(
                    "must_match cannot be decided for each call of a batch".to_owned(),
                ));
            }
            Some(batch) => {
                let linger = batch.linger.as_ref().map(time).transpose()?;
                let options = BatchOptions {
                    size: batch.size.unwrap_or(500),
                    linger: linger.unwrap_or(std::time::Duration::from_millis(5)),
                };
                if options.size == 0 {
                    return Err(wrong("a batch holds at least one call".to_owned()));
                }
                batched(name.clone(), self.sql, names, options, once)
            }
        };
        if let Some(retries) = self.max_retries {
            task = task.max_retries(retries);
        }
        if let Some(delay) = retry_delay {
            task = task.retry_delay(delay);
        }
        if let Some(limit) = time_limit.filter(|limit| !limit.is_zero()) {
            task = task.time_limit(limit);
        }
        Ok(task.needs::<Database>())
    }
}

/// Keeps a text for the life of the process, as long as its configuration lives.
fn keep(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn single(name: String, sql: String, names: Vec<String>, must_match: bool, once: bool) -> TaskDef {
    let params: Vec<Param> = names
        .into_iter()
        .map(|name| Param {
            name: keep(name),
            required: true,
        })
        .collect();
    let (sql, function) = (keep(sql), keep(name.clone()));
    let signature: &'static Signature = Box::leak(Box::new(Signature {
        function,
        params: Box::leak(params.into_boxed_slice()),
        rest: false,
        keywords: false,
    }));
    TaskDef::function(name, move |call| async move {
        let database: State<Database> = call.extract()?;
        let mut bound = call.bind(signature)?;
        let mut values = Vec::with_capacity(signature.params.len());
        for (at, param) in signature.params.iter().enumerate() {
            values.push((param.name, bound.required::<Value>(at)?));
        }
        drop(bound);
        // With `must_match`, a statement that matches no row is an error, which the inbox does not
        // store.
        let answer = move |matched: u64| {
            if must_match && matched == 0 {
                Err(TaskError::Failed(Exception::new(
                    "LookupError",
                    "the statement matched no row",
                )))
            } else {
                Ok(matched)
            }
        };
        let matched = if once {
            let id = call.extract::<Context>()?.id().to_owned();
            let answers = database.once_each(vec![id], move |open, _| {
                let values = values.clone();
                Box::pin(async move { Ok(vec![answer(run(open, sql, &values).await?)]) })
            });
            return answers.await?.pop().map_or_else(
                || Err(TaskError::runtime_error("the statement gave no answer")),
                TaskDef::answer,
            );
        } else {
            let matched = database.transaction(move |open| {
                let values = values.clone();
                Box::pin(async move { run(open, sql, &values).await })
            });
            answer(matched.await?)?
        };
        TaskDef::answer_value(matched)
    })
}

fn batched(
    name: String,
    sql: String,
    names: Vec<String>,
    options: BatchOptions,
    once: bool,
) -> TaskDef {
    let (sql, function) = (keep(sql), keep(name.clone()));
    let names: &'static [&'static str] = Box::leak(
        names
            .into_iter()
            .map(keep)
            .collect::<Vec<_>>()
            .into_boxed_slice(),
    );
    TaskDef::batched(
        name,
        function,
        options,
        move |calls: Batch<Vec<Value>>| async move {
            let database: State<Database> = calls.extract()?;
            let unfit = |call: &Vec<Value>| {
                type_error(format!(
                    "{function}() takes {} positional arguments but {} were given",
                    names.len(),
                    call.len()
                ))
            };
            let fits: Arc<[Result<Vec<Value>, TaskError>]> = calls
                .iter()
                .map(|call| {
                    if call.len() == names.len() {
                        Ok(call.clone())
                    } else {
                        Err(unfit(call))
                    }
                })
                .collect();
            if !once {
                let answers = database.transaction(move |open| {
                    let calls = Arc::clone(&fits);
                    Box::pin(async move { all(open, sql, names, &calls).await })
                });
                return Ok(answers.await?);
            }
            let answers = database.once_each(calls.ids(), move |open, fresh| {
                let calls: Vec<_> = fresh.iter().map(|at| fits[*at].clone()).collect();
                Box::pin(async move { all(open, sql, names, &calls).await })
            });
            answers.await
        },
    )
}

/// Runs the statement of a task. A missing table was logged at the start; its tasks fail, so that
/// their callers notice.
async fn run(open: &mut Transaction, sql: &str, params: Params<'_>) -> Result<u64, DatabaseError> {
    let outcome = open.execute_with(sql, params, Dates::Converted).await;
    outcome.map_err(DatabaseError::without_waiting_for_a_table)
}

/// Runs the statement once for the calls that fit it, and returns an answer for each call.
async fn all(
    open: &mut Transaction,
    sql: &str,
    names: &[&str],
    calls: &[Result<Vec<Value>, TaskError>],
) -> Result<Answers<()>, DatabaseError> {
    let fitting: Vec<&Vec<Value>> = calls.iter().flatten().collect();
    if !fitting.is_empty() {
        let column = |at: usize| fitting.iter().filter_map(move |call| call.get(at).cloned());
        let columns: Vec<(&str, Value)> = names
            .iter()
            .enumerate()
            .map(|(at, name)| (*name, Value::Array(column(at).collect())))
            .collect();
        run(open, sql, &columns).await?;
    }
    let answers = calls.iter().cloned();
    Ok(answers.map(|call| call.map(drop)).collect())
}
