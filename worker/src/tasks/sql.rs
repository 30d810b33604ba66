//! Tasks that are a statement in the configuration file, for those who write no Rust.
//!
//! The statement's parameters are the task's: keyword arguments by their names, positional ones in the order in which the
//! statement names them first. They are bound, never pasted. With `batch`, one run of the statement serves many calls: each
//! parameter stands for the list of their values.

use serde::Deserialize;
use serde_json::Value;

use crate::config::{ConfigError, Text, setting};
use crate::database::{Database, Dialect, parameter_names};
use crate::duration;
use crate::task::{
    Answers, Batch, BatchOptions, Exception, Param, Signature, State, TaskDef, type_error,
};

/// A section `[tasks.NAME]` of the configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SqlTask {
    sql: String,
    max_retries: Option<u32>,
    retry_delay: Option<Text>,
    /// A statement that matches no row is a failure.
    #[serde(default)]
    must_match: bool,
    batch: Option<SqlBatch>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlBatch {
    size: Option<usize>,
    linger: Option<Text>,
}

impl SqlTask {
    /// The task, for a database that speaks `dialect`.
    pub(crate) fn define(self, name: String, dialect: Dialect) -> Result<TaskDef, ConfigError> {
        let wrong = |cause: String| ConfigError::new(setting::TASKS, format!("{name}: {cause}"));
        let time = |text: &Text| {
            duration::parse(&text.to_string()).map_err(|error| wrong(error.to_string()))
        };
        celery_protocol::keys::check_queue_name(&name).map_err(|error| wrong(error.to_string()))?;
        let names =
            parameter_names(&self.sql, dialect).map_err(|error| wrong(error.to_string()))?;
        let retry_delay = self.retry_delay.as_ref().map(time).transpose()?;
        let mut task = match &self.batch {
            None => single(name.clone(), self.sql, names, self.must_match),
            Some(_) if self.must_match => {
                return Err(wrong(
                    "must_match cannot be told for each call of a batch".to_owned(),
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
                batched(name.clone(), self.sql, names, options)
            }
        };
        if let Some(retries) = self.max_retries {
            task = task.max_retries(retries);
        }
        if let Some(delay) = retry_delay {
            task = task.retry_delay(delay);
        }
        Ok(task.needs::<Database>())
    }
}

/// For the life of the process, which is that of its configuration.
fn keep(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn single(name: String, sql: String, names: Vec<String>, must_match: bool) -> TaskDef {
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
        let matched = database.execute(sql, &values).await?;
        if must_match && matched == 0 {
            return Err(Exception::new("LookupError", "the statement matched no row").into());
        }
        TaskDef::answer_value(matched)
    })
}

fn batched(name: String, sql: String, names: Vec<String>, options: BatchOptions) -> TaskDef {
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
            let fits = |call: &&Vec<Value>| call.len() == names.len();
            let columns: Vec<(&str, Value)> = names
                .iter()
                .enumerate()
                .map(|(at, name)| {
                    let values = calls
                        .iter()
                        .filter(fits)
                        .filter_map(|call| call.get(at).cloned());
                    (*name, Value::Array(values.collect()))
                })
                .collect();
            if calls.iter().any(|call| fits(&call)) {
                database.execute(sql, &columns).await?;
            }
            let answer = |call: &Vec<Value>| match fits(&call) {
                true => Ok(()),
                false => Err(type_error(format!(
                    "{function}() takes {} positional arguments but {} were given",
                    names.len(),
                    call.len()
                ))),
            };
            Ok(calls.iter().map(answer).collect::<Answers<()>>())
        },
    )
}
