//! A worker for the tasks of Celery's own integration suite, which `make integration` runs against
//! it.
//!
//! Each task has the name and the meaning of its namesake in `t/integration/tasks.py` of Celery
//! 5.7. Tasks that return signatures are missing: they show nothing about a worker in Rust. The list
//! `worker/suite/tests.toml` names the tests that need them.
//!
//! ```text
//! integration --broker redis://localhost/0 --loglevel INFO
//! ```
//!
//! Tasks that leave a trace in Redis use the URL in the variable `REDIS_URL`.

#![allow(
    clippy::disallowed_names,
    reason = "parameters have the names that the suite's callers know"
)]

use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use celery_protocol::json::Special;
use celery_worker::canvas::{Sent, Signature, chain, chord, group};
use celery_worker::{Args, Context, Exception, Kwargs, Retry, TaskError, TaskResult, cli, task};
use redis::Commands;
use serde_json::{Map, Number, Value, json};

/// The module of the suite's tasks and of its exceptions.
const MODULE: &str = "t.integration.tasks";

/// Returns its argument.
#[task(name = "t.integration.tasks.identity")]
async fn identity(x: Value) -> Value {
    x
}

/// Adds two or three values.
#[task(name = "t.integration.tasks.add")]
async fn add(x: Value, y: Value, #[default(Value::Null)] z: Value) -> TaskResult<Value> {
    let sum = plus(x, y)?;
    if truth(&z) { plus(sum, z) } else { Ok(sum) }
}

/// Adds two values; the caller's Python does not check its arguments.
#[task(name = "t.integration.tasks.add_not_typed")]
async fn add_not_typed(x: Value, y: Value) -> TaskResult<Value> {
    plus(x, y)
}

/// Adds two values; the caller wants no result.
#[task(name = "t.integration.tasks.add_ignore_result")]
async fn add_ignore_result(x: Value, y: Value) -> TaskResult<Value> {
    plus(x, y)
}

/// Multiplies two numbers.
#[task(name = "t.integration.tasks.mul")]
async fn mul(x: i64, y: i64) -> TaskResult<i64> {
    x.checked_mul(y).ok_or_else(overflow)
}

/// Adds the members of a model that the caller's Python wrote as an object.
#[task(name = "t.integration.tasks.add_pydantic")]
async fn add_pydantic(data: Pair) -> TaskResult<Value> {
    data.sum()
}

/// Does what [`add_pydantic`] does; its Python namesake differs in its annotations.
#[task(name = "t.integration.tasks.add_pydantic_string_annotations")]
async fn add_pydantic_string_annotations(data: Pair) -> TaskResult<Value> {
    data.sum()
}

#[derive(serde::Deserialize)]
struct Pair {
    x: i64,
    y: i64,
}

impl Pair {
    fn sum(&self) -> TaskResult<Value> {
        let sum = self.x.checked_add(self.y).ok_or_else(overflow)?;
        Ok(json!({ "result": sum }))
    }
}

/// Appends a line to a file and returns the number in it.
#[task(name = "t.integration.tasks.write_to_file_and_return_int")]
fn write_to_file_and_return_int(file_name: String, i: i64) -> TaskResult<i64> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(file_name)?;
    file.write_all(format!("{i}\n").as_bytes())?;
    Ok(i)
}

/// Adds up a list.
#[task(name = "t.integration.tasks.tsum")]
async fn tsum(nums: Vec<Value>) -> TaskResult<Value> {
    sum(nums)
}

/// Adds up a list of numbers and lists of numbers.
#[task(name = "t.integration.tasks.xsum")]
async fn xsum(nums: Vec<Value>) -> TaskResult<Value> {
    let flat = nums.into_iter().map(|value| match value {
        Value::Array(inner) => sum(inner),
        number => Ok(number),
    });
    sum(flat.collect::<TaskResult<Vec<Value>>>()?)
}

/// Adds up a list after a while.
#[task(name = "t.integration.tasks.delayed_sum")]
async fn delayed_sum(
    numbers: Vec<Value>,
    #[default(Number::from(1))] pause_time: Number,
) -> TaskResult<Value> {
    tokio::time::sleep(seconds(&pause_time)?).await;
    sum(numbers)
}

/// Adds up a list after a while, or returns 0 if its soft time limit passes first.
#[task(name = "t.integration.tasks.delayed_sum_with_soft_guard")]
async fn delayed_sum_with_soft_guard(
    context: Context,
    numbers: Vec<Value>,
    #[default(Number::from(1))] pause_time: Number,
) -> TaskResult<Value> {
    tokio::select! {
        () = context.cancelled() => Ok(json!(0)),
        () = tokio::time::sleep(seconds(&pause_time)?) => sum(numbers),
    }
}

/// Sleeps.
#[task(name = "t.integration.tasks.sleeping")]
async fn sleeping(i: Number, _kwargs: Kwargs) -> TaskResult<()> {
    tokio::time::sleep(seconds(&i)?).await;
    Ok(())
}

/// Prints text that is not ASCII.
#[task(name = "t.integration.tasks.print_unicode")]
async fn print_unicode(
    #[default("håå®ƒ valmuefrø".to_owned())] log_message: String,
    #[default("hiöäüß".to_owned())] print_message: String,
) {
    tracing::warn!("{log_message}");
    println!("{print_message}");
}

/// Fails with a `ValueError`.
#[task(name = "t.integration.tasks.raise_error")]
async fn raise_error(_args: Args) -> TaskResult<()> {
    Err(TaskError::value_error("deliberate error"))
}

/// Fails with the suite's own exception.
#[task(name = "t.integration.tasks.fail")]
async fn fail(args: Args) -> TaskResult<()> {
    let mut shown = vec![json!("Task expected to fail")];
    shown.extend(args.0);
    Err(expected(shown).into())
}

/// Fails with an exception that Python cannot build from its arguments.
#[task(name = "t.integration.tasks.fail_unpickleable")]
async fn fail_unpickleable(foo: Value, bar: Value) -> TaskResult<()> {
    drop(bar);
    Err(unpickleable(foo).into())
}

/// Returns its argument and a mark that it ran.
#[task(name = "t.integration.tasks.return_exception")]
async fn return_exception(e: Value) -> Value {
    json!([e, true])
}

/// Returns the ids of its root and parent, and its argument.
#[task(name = "t.integration.tasks.ids")]
async fn ids(context: Context, i: Value) -> Value {
    lineage(&context, i)
}

/// Returns the result of the previous task, and what [`ids`] returns.
#[task(name = "t.integration.tasks.collect_ids")]
async fn collect_ids(context: Context, res: Value, i: Value) -> Value {
    json!([res, lineage(&context, i)])
}

/// Is retried until no retry is left, and then fails, or succeeds if it has a value to return.
#[task(name = "t.integration.tasks.retry")]
async fn retry(context: Context, #[default(Value::Null)] return_value: Value) -> TaskResult<Value> {
    if truth(&return_value) && context.retries() >= 3 {
        return Ok(return_value);
    }
    let wait = Duration::from_secs(5);
    let again = context.retry().countdown(wait);
    Err(again.because(expected(Vec::new())).into())
}

/// Is retried because of an exception that Python cannot build from its arguments.
#[task(name = "t.integration.tasks.retry_unpickleable")]
async fn retry_unpickleable(
    context: Context,
    foo: Value,
    bar: Value,
    retry_kwargs: Again,
) -> TaskResult<()> {
    drop(bar);
    let again = retry_kwargs.apply(context.retry())?;
    Err(again.because(unpickleable(foo)).into())
}

/// Is retried once with positional arguments and returns its arguments.
#[task(name = "t.integration.tasks.retry_with_args_after_kwargs")]
async fn retry_with_args_after_kwargs(
    context: Context,
    foo: i64,
    bar: i64,
    label: Option<Value>,
) -> TaskResult<Value> {
    let retries = context.retries();
    if retries == 0 {
        let again = context.retry().countdown(Duration::ZERO);
        return Err(again.args((foo + 1, bar + 1)).into());
    }
    Ok(json!({
        "foo": foo, "bar": bar, "label": label, "retries": retries, "is_eager": false,
    }))
}

/// Is retried once with a keyword argument and returns its arguments.
#[task(name = "t.integration.tasks.retry_with_kwargs_after_args")]
async fn retry_with_kwargs_after_args(context: Context, foo: i64, bar: i64) -> TaskResult<Value> {
    let retries = context.retries();
    if retries == 0 {
        let again = context.retry().countdown(Duration::ZERO);
        return Err(again.kwargs(json!({ "foo": foo + 1 })).into());
    }
    Ok(json!({ "foo": foo, "bar": bar, "retries": retries, "is_eager": false }))
}

/// Is retried once and returns the number of retries.
#[task(name = "t.integration.tasks.retry_once")]
async fn retry_once(
    context: Context,
    _args: Args,
    #[default(Value::Null)] expires: Value,
    #[default(Some(1))] max_retries: Option<u32>,
    #[default(Some(short_wait()))] countdown: Option<Number>,
) -> TaskResult<u32> {
    // The expiry of the message is kept over the retry, which is what the suite looks at.
    drop(expires);
    if context.retries() > 0 {
        return Ok(context.retries());
    }
    Err(once(&context, max_retries, countdown)?.into())
}

/// Is retried once and returns its priority.
#[task(name = "t.integration.tasks.retry_once_priority")]
async fn retry_once_priority(
    context: Context,
    _args: Args,
    #[default(Value::Null)] expires: Value,
    #[default(Some(1))] max_retries: Option<u32>,
    #[default(Some(short_wait()))] countdown: Option<Number>,
) -> TaskResult<u8> {
    drop(expires);
    if context.retries() > 0 {
        return Ok(context.message().priority());
    }
    Err(once(&context, max_retries, countdown)?.into())
}

/// Is retried once and returns the headers that Celery does not define.
#[task(name = "t.integration.tasks.retry_once_headers")]
async fn retry_once_headers(
    context: Context,
    _args: Args,
    #[default(Some(1))] max_retries: Option<u32>,
    #[default(Some(short_wait()))] countdown: Option<Number>,
) -> TaskResult<Value> {
    if context.retries() > 0 {
        let headers = context.message().headers.iter();
        return members(headers);
    }
    Err(once(&context, max_retries, countdown)?.into())
}

/// Fails once and returns the number of retries. A class in Python, with a name of its own.
#[task(name = "auto_retry_class_task", max_retries = 1, retry_delay = "1s")]
async fn auto_retry_class_task(context: Context) -> TaskResult<u32> {
    match context.retries() {
        0 => Err(TaskError::value_error("")),
        retries => Ok(retries),
    }
}

/// Rejects its message for good.
#[task(name = "t.integration.tasks.reject_without_requeue")]
async fn reject_without_requeue() -> TaskResult<()> {
    Err(TaskError::Reject {
        reason: "rejected".to_owned(),
        requeue: false,
    })
}

/// Rejects its message once.
#[task(name = "t.integration.tasks.reject_then_succeed")]
async fn reject_then_succeed(context: Context) -> TaskResult<&'static str> {
    if context.message().redelivered {
        return Ok("second-pass");
    }
    Err(TaskError::Reject {
        reason: String::new(),
        requeue: true,
    })
}

/// Returns its priority as text.
#[task(name = "t.integration.tasks.return_priority")]
async fn return_priority(context: Context, _args: Args) -> String {
    format!("Priority: {}", context.message().priority())
}

/// Returns the ETA of its message.
#[task(name = "t.integration.tasks.return_request_eta")]
async fn return_request_eta(context: Context) -> Option<String> {
    context.message().eta.map(|eta| eta.to_string())
}

/// Returns the properties of its message.
#[task(name = "t.integration.tasks.return_properties")]
async fn return_properties(context: Context) -> TaskResult<Value> {
    members(context.message().properties.extra.iter())
}

/// Returns the time limits that the caller asked for.
#[task(name = "t.integration.tasks.return_request_time_limits")]
async fn return_request_time_limits(context: Context) -> Value {
    limits(&context, None, None)
}

/// Returns the time limits that apply to this task.
#[task(
    name = "t.integration.tasks.task_with_declared_time_limits",
    time_limit = "60s",
    soft_time_limit = "45s"
)]
async fn task_with_declared_time_limits(context: Context) -> Value {
    limits(&context, Some(60.0), Some(45.0))
}

/// Appends a message to a list in Redis.
#[task(name = "t.integration.tasks.redis_echo")]
fn redis_echo(
    message: Value,
    #[default("redis-echo".to_owned())] redis_key: String,
) -> TaskResult<()> {
    echo(&message, &redis_key)
}

/// Appends the id of its group to a list in Redis.
#[task(name = "t.integration.tasks.redis_echo_group_id")]
fn redis_echo_group_id(
    context: Context,
    _before: Value,
    #[default("redis-group-ids".to_owned())] redis_key: String,
) -> TaskResult<()> {
    echo(&json!(context.message().group), &redis_key)
}

/// Counts in Redis.
#[task(name = "t.integration.tasks.redis_count")]
fn redis_count(#[default("redis-count".to_owned())] redis_key: String) -> TaskResult<()> {
    count(&redis_key)
}

/// Counts a failed task under its id.
#[task(name = "t.integration.tasks.errback_old_style")]
fn errback_old_style(request_id: String) -> TaskResult<String> {
    count(&request_id)?;
    Ok(request_id)
}

/// Counts a failed task under its id. Python calls its namesake in the worker itself, with the
/// request, the exception and the traceback; here every error callback is a message with the id.
#[task(name = "t.integration.tasks.errback_new_style")]
fn errback_new_style(request_id: String) -> TaskResult<String> {
    count(&request_id)?;
    Ok(request_id)
}

/// Appends a text to a list with the failed task's id.
#[task(name = "t.integration.tasks.errback_old_style_with_args")]
fn errback_old_style_with_args(request_id: String, label: Value) -> TaskResult<()> {
    echo(&label, &request_id)
}

/// Does what [`errback_old_style_with_args`] does; see [`errback_new_style`].
#[task(name = "t.integration.tasks.errback_new_style_with_args")]
fn errback_new_style_with_args(request_id: String, label: Value) -> TaskResult<()> {
    echo(&label, &request_id)
}

/// Sends a chain of two additions.
#[task(name = "t.integration.tasks.chain_add")]
async fn chain_add(context: Context, x: Value, y: Value) -> TaskResult<()> {
    context.send(chain([call("add").arg(&x).arg(&x), call("add").arg(y)]))?;
    Ok(())
}

/// Sends a chord with one member in its header.
#[task(name = "t.integration.tasks.chord_add")]
async fn chord_add(context: Context, x: Value, y: Value) -> TaskResult<()> {
    context.send(chord([call("add").arg(&x).arg(&x)], call("add").arg(y)))?;
    Ok(())
}

/// Adds two numbers by another task.
#[task(name = "t.integration.tasks.add_replaced")]
async fn add_replaced(context: Context, x: Value, y: Value) -> TaskResult<()> {
    Err(context.replace(call("add").arg(x).arg(y)))
}

/// Records how deep replacements are nested.
#[task(name = "t.integration.tasks.record_replaced_task_nesting")]
async fn record_replaced_task_nesting(
    context: Context,
    replacements: u32,
    nesting: Option<Vec<i64>>,
) -> TaskResult<Vec<i64>> {
    let mut nesting = nesting.unwrap_or_default();
    nesting.push(context.message().replaced_task_nesting);
    if replacements == 0 {
        return Ok(nesting);
    }
    let again = call("record_replaced_task_nesting");
    Err(context.replace(again.arg(replacements - 1).arg(nesting)))
}

/// Adds two numbers by a chain.
#[task(name = "t.integration.tasks.add_replaced_with_chain")]
async fn add_replaced_with_chain(context: Context, x: Value, y: Value) -> TaskResult<()> {
    Err(context.replace(chain([call("add").arg(x).arg(y), call("identity")])))
}

/// Is replaced by a chain with a callback.
#[task(name = "t.integration.tasks.replace_with_chain")]
async fn replace_with_chain(context: Context, args: Args, kwargs: Kwargs) -> TaskResult<()> {
    let steps = chain([with_args("identity", args), call("identity")]);
    Err(context.replace(steps.link(echo_of(&kwargs))))
}

/// Is replaced by a chain that fails, with an error callback.
#[task(name = "t.integration.tasks.replace_with_chain_which_raises")]
async fn replace_with_chain_which_raises(
    context: Context,
    args: Args,
    kwargs: Kwargs,
) -> TaskResult<()> {
    let steps = chain([with_args("identity", args), call("raise_error")]);
    Err(context.replace(steps.link_error(echo_of(&kwargs))))
}

/// Cannot be replaced.
#[task(name = "t.integration.tasks.replace_with_empty_chain")]
async fn replace_with_empty_chain(context: Context, _args: Args) -> TaskResult<()> {
    Err(context.replace(chain(Vec::<Signature>::new())))
}

/// Is replaced by a chain that ends in a group.
#[task(name = "t.integration.tasks.replace_with_chain_which_contains_a_group")]
async fn replace_with_chain_which_contains_a_group(context: Context) -> TaskResult<()> {
    let both = group([call("add").arg(1), call("add").arg(1)]);
    Err(context.replace(chain([call("add").arg(1).arg(2), both])))
}

/// Adds a value to all numbers.
#[task(name = "t.integration.tasks.add_to_all")]
async fn add_to_all(context: Context, nums: Vec<Value>, val: Value) -> TaskResult<()> {
    Err(context.replace(group(additions(nums, &val))))
}

/// Adds a value to all numbers, in the chord of this task.
#[task(name = "t.integration.tasks.add_to_all_to_chord")]
async fn add_to_all_to_chord(context: Context, nums: Vec<Value>, val: Value) -> TaskResult<u32> {
    for addition in additions(nums, &val) {
        context.add_to_chord(addition)?;
    }
    Ok(0)
}

/// Adds a chord to the chord of this task.
#[task(name = "t.integration.tasks.add_chord_to_chord")]
async fn add_chord_to_chord(context: Context, nums: Vec<Value>, val: Value) -> TaskResult<u32> {
    context.add_to_chord(chord(additions(nums, &val), call("tsum")))?;
    Ok(0)
}

/// Is replaced twice; leaves a trace.
#[task(name = "t.integration.tasks.second_order_replace1")]
async fn second_order_replace1(context: Context, #[default(false)] state: bool) -> TaskResult<()> {
    if state {
        return echo(&json!("Out A"), REDIS_ECHO);
    }
    echo(&json!("In A"), REDIS_ECHO)?;
    let then = call("second_order_replace1").kwarg("state", true);
    Err(context.replace(chain([call("second_order_replace2"), then.immutable()])))
}

/// Is replaced once; leaves a trace.
#[task(name = "t.integration.tasks.second_order_replace2")]
async fn second_order_replace2(context: Context, #[default(false)] state: bool) -> TaskResult<()> {
    if state {
        return echo(&json!("Out B"), REDIS_ECHO);
    }
    echo(&json!("In B"), REDIS_ECHO)?;
    let then = call("second_order_replace2").kwarg("state", true);
    let inner = call("redis_echo").arg("In/Out C");
    Err(context.replace(chain([inner, then.immutable()])))
}

/// Sends a chain and returns its result, as clients see results.
#[task(name = "t.integration.tasks.build_chain_inside_task")]
async fn build_chain_inside_task(context: Context) -> TaskResult<Sent> {
    let both = group([call("add").arg(3), call("add").arg(4)]);
    let first = call("add").arg(1).arg(1);
    context.send(chain([first, call("add").arg(2), both, call("add").arg(5)]))
}

/// Is replaced by a task that fails.
#[task(name = "t.integration.tasks.fail_replaced")]
async fn fail_replaced(context: Context, args: Args) -> TaskResult<()> {
    Err(context.replace(with_args("fail", args).immutable()))
}

/// Returns `true`.
#[task(name = "t.integration.tasks.replaced_with_me")]
async fn replaced_with_me() -> bool {
    true
}

/// Is replaced by a stamped task.
#[task(name = "t.integration.tasks.replace_with_stamped_task")]
async fn replace_with_stamped_task(
    context: Context,
    replace_with: Option<Signature>,
) -> TaskResult<()> {
    let instead = replace_with.unwrap_or_else(|| call("replaced_with_me"));
    let stamped = instead.option("stamped_headers", ["StampOnReplace"]);
    Err(context.replace(stamped.option("StampOnReplace", "This is the replaced task")))
}

/// The options of Python's `Task.retry` that callers of [`retry_unpickleable`] use.
#[derive(serde::Deserialize)]
struct Again {
    countdown: Option<Number>,
    max_retries: Option<u32>,
}

impl Again {
    fn apply(&self, retry: Retry) -> TaskResult<Retry> {
        let retry = match &self.countdown {
            Some(wait) => retry.countdown(seconds(wait)?),
            None => retry,
        };
        Ok(match self.max_retries {
            Some(most) => retry.max_retries(Some(most)),
            None => retry,
        })
    }
}

/// Returns a retry with the arguments of the suite's `retry_once…` tasks, where `None` is the
/// task's own setting.
fn once(
    context: &Context,
    max_retries: Option<u32>,
    countdown: Option<Number>,
) -> TaskResult<Retry> {
    let again = Again {
        countdown,
        max_retries,
    };
    again.apply(context.retry())
}

/// Returns the countdown that the suite's `retry_once…` tasks have by default.
fn short_wait() -> Number {
    Number::from_f64(0.1).unwrap_or_else(|| Number::from(0))
}

/// The list that tasks leave their traces in.
const REDIS_ECHO: &str = "redis-echo";

/// Returns the call of a task of this module.
fn call(task: &str) -> Signature {
    Signature::new(format!("{MODULE}.{task}"))
}

fn with_args(task: &str, args: Args) -> Signature {
    args.0.into_iter().fold(call(task), Signature::arg)
}

/// Returns the additions of a value to each number.
fn additions(nums: Vec<Value>, val: &Value) -> Vec<Signature> {
    let add = |num| call("add").arg(num).arg(val);
    nums.into_iter().map(add).collect()
}

/// Returns the call that leaves a trace: the keyword argument `link_msg`, or what it is given.
fn echo_of(kwargs: &Kwargs) -> Signature {
    match kwargs.0.get("link_msg") {
        None | Some(Value::Null) => call("redis_echo"),
        Some(message) => call("redis_echo").arg(message).immutable(),
    }
}

fn expected(args: Vec<Value>) -> Exception {
    Exception::with_args("ExpectedException", args).module(MODULE)
}

fn unpickleable(argument: Value) -> Exception {
    Exception::with_args("UnpickleableException", vec![argument]).module(MODULE)
}

fn overflow() -> TaskError {
    Exception::new("OverflowError", "the result needs more than 64 bits").into()
}

/// Adds two values as Python's `+` does: numbers, texts or lists.
fn plus(x: Value, y: Value) -> TaskResult<Value> {
    match (x, y) {
        (Value::Number(x), Value::Number(y)) => match (x.as_i64(), y.as_i64()) {
            (Some(x), Some(y)) => Ok(json!(x.checked_add(y).ok_or_else(overflow)?)),
            _ => Ok(json!(x.as_f64().zip(y.as_f64()).map(|(x, y)| x + y))),
        },
        (Value::String(x), Value::String(y)) => Ok(json!(x + &y)),
        (Value::Array(mut x), Value::Array(y)) => {
            x.extend(y);
            Ok(Value::Array(x))
        }
        (x, y) => {
            let message = format!("unsupported operand type(s) for +: {x} and {y}");
            Err(Exception::new("TypeError", message).into())
        }
    }
}

/// Adds up a list as Python's `sum` does, from 0.
fn sum(values: Vec<Value>) -> TaskResult<Value> {
    values.into_iter().try_fold(json!(0), plus)
}

/// Returns `true` if Python takes the value for true.
fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

fn seconds(number: &Number) -> TaskResult<Duration> {
    let time = number.as_f64().map(Duration::try_from_secs_f64);
    match time {
        Some(Ok(time)) => Ok(time),
        _ => Err(TaskError::value_error(format!(
            "{number} is not a duration"
        ))),
    }
}

/// Returns the ids of root and parent, and a value.
fn lineage(context: &Context, value: Value) -> Value {
    let message = context.message();
    json!([message.root(), message.parent_id, value])
}

/// Returns the time limits of the message, or those that the task declares.
fn limits(context: &Context, hard: Option<f64>, soft: Option<f64>) -> Value {
    let asked = context.message().time_limit;
    json!({
        "time_limit": asked.hard.or(hard),
        "soft_time_limit": asked.soft.or(soft),
    })
}

/// Returns the members of a message's object.
fn members<'m>(
    fields: impl Iterator<Item = (&'m str, &'m serde_json::value::RawValue)>,
) -> TaskResult<Value> {
    let mut object = Map::new();
    for (name, value) in fields {
        object.insert(name.to_owned(), serde_json::from_str(value.get())?);
    }
    Ok(Value::Object(object))
}

/// Appends a text, bytes or a number to a list in Redis.
fn echo(message: &Value, key: &str) -> TaskResult<()> {
    let bytes = match (Special::from_value(message), message) {
        (Some(Ok(Special::Bytes(bytes))), _) => bytes,
        (None, Value::String(text)) => text.clone().into_bytes(),
        (None, Value::Number(number)) => number.to_string().into_bytes(),
        _ => {
            let message = format!("Redis takes no {message}");
            return Err(Exception::new("DataError", message)
                .module("redis.exceptions")
                .into());
        }
    };
    Ok(connection()?.rpush(key, bytes)?)
}

/// Adds one to a number in Redis.
fn count(key: &str) -> TaskResult<()> {
    Ok(connection()?.incr(key, 1)?)
}

fn connection() -> TaskResult<redis::Connection> {
    let url = std::env::var("REDIS_URL")?;
    Ok(redis::Client::open(url)?.get_connection()?)
}

fn main() -> ExitCode {
    cli::main(|worker| {
        vec![
            identity::task(),
            add::task(),
            add_not_typed::task(),
            add_ignore_result::task(),
            mul::task(),
            add_pydantic::task(),
            add_pydantic_string_annotations::task(),
            write_to_file_and_return_int::task(),
            tsum::task(),
            xsum::task(),
            delayed_sum::task(),
            delayed_sum_with_soft_guard::task(),
            sleeping::task(),
            print_unicode::task(),
            raise_error::task(),
            fail::task(),
            fail_unpickleable::task(),
            return_exception::task(),
            ids::task(),
            collect_ids::task(),
            retry::task(),
            retry_unpickleable::task(),
            retry_with_args_after_kwargs::task(),
            retry_with_kwargs_after_args::task(),
            retry_once::task(),
            retry_once_priority::task(),
            retry_once_headers::task(),
            auto_retry_class_task::task(),
            reject_without_requeue::task(),
            reject_then_succeed::task(),
            return_priority::task(),
            return_request_eta::task(),
            return_properties::task(),
            return_request_time_limits::task(),
            task_with_declared_time_limits::task(),
            redis_echo::task(),
            redis_echo_group_id::task(),
            redis_count::task(),
            errback_old_style::task(),
            errback_new_style::task(),
            errback_old_style_with_args::task(),
            errback_new_style_with_args::task(),
            chain_add::task(),
            chord_add::task(),
            add_replaced::task(),
            record_replaced_task_nesting::task(),
            add_replaced_with_chain::task(),
            replace_with_chain::task(),
            replace_with_chain_which_raises::task(),
            replace_with_empty_chain::task(),
            replace_with_chain_which_contains_a_group::task(),
            add_to_all::task(),
            add_to_all_to_chord::task(),
            add_chord_to_chord::task(),
            second_order_replace1::task(),
            second_order_replace2::task(),
            build_chain_inside_task::task(),
            fail_replaced::task(),
            replaced_with_me::task(),
            replace_with_stamped_task::task(),
        ]
        .into_iter()
        .fold(worker, celery_worker::WorkerBuilder::register)
    })
}
