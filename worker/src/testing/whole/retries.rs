//! Tests of retries that change the arguments of the next run.

use celery_protocol::message::Task;

use super::{Value, Whole, call, json, to_raw_value};
use crate::task;
use crate::task::{Args, Context, Kwargs, TaskResult};

/// Returns its arguments in the second run. The first one asks for it as it is told.
#[task]
async fn again(
    context: Context,
    how: String,
    foo: i64,
    #[default(0)] bar: i64,
    more: Args,
    named: Kwargs,
) -> TaskResult<Value> {
    if context.retries() == 1 {
        return Ok(json!([how, foo, bar, more.0, named.0]));
    }
    let retry = context.retry().countdown(std::time::Duration::ZERO);
    Err(match &*how {
        "args" => retry.args(("second", foo + 1)),
        "kwargs" => retry.kwargs(json!({ "bar": 9, "more": foo })),
        "both" => retry.kwargs(json!({ "foo": 5 })).args(["second"]),
        "a number" => retry.args(foo),
        "a list" => retry.kwargs([foo]),
        _ => retry,
    }
    .into())
}

fn called(how: &str, kwargs: &Value) -> Task {
    let mut task = call("again", &json!([how]));
    task.kwargs = to_raw_value(kwargs).unwrap();
    task
}

#[tokio::test]
async fn a_retry_may_change_the_arguments() {
    for (how, kwargs, result) in [
        (
            "args",
            json!({ "foo": 1, "bar": 2, "x": 3 }),
            json!(["second", 2, 2, [], { "x": 3 }]),
        ),
        (
            "kwargs",
            json!({ "foo": 1, "bar": 2, "x": 3 }),
            json!("missing"),
        ),
        (
            "both",
            json!({ "foo": 1, "x": 3 }),
            json!(["second", 5, 0, [], {}]),
        ),
        (
            "none",
            json!({ "foo": 1, "x": 3 }),
            json!(["none", 1, 0, [], { "x": 3 }]),
        ),
    ] {
        let worker = Whole::start([again::task()]);
        let ended = worker.call(&called(how, &kwargs)).await;
        if result == "missing" {
            // As in Celery, keyword arguments that are given anew replace all others.
            let text = ended["result"]["exc_message"][0].as_str().unwrap();
            assert!(text.contains("missing 1 required"), "{text}");
        } else {
            assert_eq!(ended["result"], result, "{how}");
        }
        assert_eq!(worker.stop().await, [""; 0]);
    }
    let mut task = call("again", &json!(["kwargs", 1, 2, 3]));
    task.id = "positional".to_owned();
    let worker = Whole::start([again::task()]);
    let ended = worker.call(&task).await;
    assert_eq!(ended["result"], json!(["kwargs", 1, 9, [3], { "more": 1 }]));
    worker.stop().await;
}

#[tokio::test]
async fn arguments_of_another_form_make_the_task_fail() {
    for (how, what) in [("a number", "a list"), ("a list", "an object")] {
        let worker = Whole::start([again::task()]);
        let ended = worker.call(&called(how, &json!({ "foo": 1 }))).await;
        assert_eq!(ended["result"]["exc_type"], "ValueError");
        let text = ended["result"]["exc_message"][0].as_str().unwrap();
        assert_eq!(text, format!("the arguments of a retry are not {what}"));
        worker.stop().await;
    }
}
