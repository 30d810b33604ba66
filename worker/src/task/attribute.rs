//! Tests of `#[task]`: the function stays callable, and the type of the same name gives the task's
//! definition.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Answers, Args, Batch, Run, State, TaskError, TaskResult};
use crate::task;

#[task(name = "test.greet")]
async fn greet(name: String, #[default("Hello".to_owned())] word: String) -> String {
    format!("{word}, {name}!")
}

#[task]
fn square(x: i64) -> TaskResult<i64> {
    x.checked_mul(x)
        .ok_or_else(|| TaskError::value_error("too large"))
}

#[task]
async fn price(tax: State<u64>, cents: u64, more: Args<Value>) -> u64 {
    cents + cents * *tax.0 / 100 + more.0.len() as u64
}

#[task]
async fn r#move(to: Option<String>) -> Option<String> {
    to
}

#[task(name = "test.count", batch(size = 9))]
async fn count(calls: Batch<(u64,)>) -> TaskResult<Answers<u64>> {
    Ok(calls.iter().map(|(n,)| Ok(n + 1)).collect())
}

/// A `cfg` removes the whole task, whose parameter has a type that does not exist.
#[task]
#[cfg(any())]
async fn absent(missing: Missing) {}

mod elsewhere {
    /// Returns its own name.
    #[crate::task]
    pub(in crate::task) async fn there() -> &'static str {
        "there"
    }
}

#[tokio::test]
async fn a_task_is_called_like_the_function_it_is() {
    use elsewhere::there;

    assert_eq!(greet("Ada".into(), "Hi".into()).await, "Hi, Ada!");
    assert_eq!(square(7).unwrap(), 49);
    let failed = square(i64::MAX).unwrap_err();
    assert!(matches!(failed, TaskError::Failed(e) if e.to_string() == "ValueError('too large')"));
    let tax = State(Arc::new(19));
    assert_eq!(price(tax, 100, Args(vec![json!(1)])).await, 120);
    assert_eq!(r#move(None).await, None);
    assert_eq!(there().await, "there");
}

#[test]
fn the_type_of_the_name_has_the_definition() {
    let names = [
        greet::task(),
        square::task(),
        price::task(),
        r#move::task(),
        count::task(),
        elsewhere::there::task(),
    ]
    .map(|task| task.name.to_string());
    assert_eq!(
        names,
        [
            "test.greet",
            "square",
            "price",
            "move",
            "test.count",
            "there"
        ]
    );
    assert!(matches!(greet::task().run, Run::Function(_)));
    assert!(matches!(square::task().run, Run::Blocking(_)));
    assert!(matches!(count::task().run, Run::Batched(options, _) if options.size == 9));
}

#[test]
fn a_task_may_stand_in_a_function() {
    #[task]
    fn inner(x: u8) -> u8 {
        x
    }
    assert_eq!(inner(3), 3);
    assert_eq!(&*inner::task().name, "inner");
}
