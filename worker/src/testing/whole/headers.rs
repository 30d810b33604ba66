//! Tests of the headers that tasks read, and that go on to the tasks that follow.

use celery_protocol::message::Task;
use serde_json::Value;
use serde_json::value::to_raw_value;

use super::{Whole, call, json};
use crate::canvas::Signature;
use crate::task;
use crate::task::{Args, Context, TaskResult};

/// Returns the header `laravel`.
#[task]
async fn header(context: Context, _args: Args) -> TaskResult<Option<Value>> {
    context.header("laravel")
}

/// Fails unless the header is a number.
#[task]
async fn number(context: Context) -> TaskResult<Option<u32>> {
    context.header("laravel")
}

/// Sends `header` without a header, and with one of its own.
#[task]
async fn sender(context: Context, fails: bool) -> TaskResult<()> {
    let header = |id: &str| Signature::new("header").option("task_id", id);
    context.send(header("sent"))?;
    let own = json!({ "laravel": { "context": { "trace": "own" } } });
    context.send(header("own").option("headers", own))?;
    if fails {
        return Err(context.retry().max_retries(Some(0)).into());
    }
    Ok(())
}

fn with_header(mut task: Task, header: &Value) -> Task {
    task.headers.set("laravel", header).unwrap();
    task
}

#[tokio::test]
async fn what_follows_has_the_header_of_its_task() {
    let given = json!({ "context": { "trace": "abc" }, "tenant": 7 });
    for fails in [false, true] {
        let worker = Whole::start([sender::task(), header::task()]);
        let mut task = with_header(call("sender", &json!([fails])), &given);
        let callback = |id: &str| {
            let signature = Signature::new("header").option("task_id", id);
            Some(to_raw_value(&[signature]).unwrap())
        };
        task.embed.callbacks = callback("callback");
        task.embed.errbacks = callback("errback");
        worker.post(&task);

        assert_eq!(worker.end_of("sent").await["result"], given);
        assert_eq!(
            worker.end_of("own").await["result"]["context"]["trace"],
            "own"
        );
        let follows = if fails { "errback" } else { "callback" };
        assert_eq!(worker.end_of(follows).await["result"], given, "{follows}");
        assert_eq!(worker.stop().await, [""; 0]);
    }
}

#[tokio::test]
async fn a_header_is_read_as_the_type_that_the_task_names() {
    let worker = Whole::start([header::task(), number::task()]);
    let without = call("header", &json!([]));
    assert_eq!(worker.call(&without).await["result"], Value::Null);
    let fits = with_header(call("number", &json!([])), &json!(5));
    assert_eq!(worker.call(&fits).await["result"], 5);
    let mut wrong = with_header(call("number", &json!([])), &json!("five"));
    wrong.id = "wrong".to_owned();
    let exception = &worker.call(&wrong).await["result"];
    assert_eq!(exception["exc_type"], "ValueError");
    let text = exception["exc_message"][0].as_str().unwrap();
    assert!(
        text.starts_with("the header \"laravel\" of the message cannot be read: "),
        "{text}"
    );
    assert_eq!(worker.stop().await, [""; 0]);
}
