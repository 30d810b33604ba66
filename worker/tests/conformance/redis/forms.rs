//! Results in other forms than plain JSON.

use celery_client::aio::{Cmd, ConnectOptions, Connection, Value as Answer};
use celery_protocol::compression::Compression;
use celery_protocol::result::{ResultDoc, State, StoredForm};
use celery_protocol::serializer::Serializer;
use celery_worker::consumer::Results;
use celery_worker::delivery::Outcome;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Redis;
use crate::behaviour::chords::{body, member, the_body_comes_and_ends_the_chord};
use crate::broker::{Backend, Broker, until};
use crate::rig::{Rig, failed, json, post, succeeded, task};

const FORMS: [StoredForm; 4] = [
    StoredForm {
        serializer: Serializer::Msgpack,
        compression: None,
    },
    StoredForm {
        serializer: Serializer::Yaml,
        compression: None,
    },
    StoredForm {
        serializer: Serializer::Json,
        compression: Some(Compression::Zlib),
    },
    StoredForm {
        serializer: Serializer::Msgpack,
        compression: Some(Compression::Zstd),
    },
];

/// Waits for a document in this state. It is in the form that was asked for.
async fn stored(broker: &mut Redis, form: StoredForm, id: &str, state: State) -> ResultDoc {
    let key = format!("celery-task-meta-{id}");
    let mut found = None;
    until(&format!("{id}: {state}"), async || {
        let Answer::BulkString(bytes) = broker.query(&["GET", &key]).await else {
            return Err("nothing".to_owned());
        };
        let document = ResultDoc::decode_any(&bytes).map_err(|error| error.to_string())?;
        if document.status != state {
            return Err(document.status.to_string());
        }
        found = Some((bytes, document));
        Ok(())
    })
    .await;
    let (bytes, document) = found.unwrap();
    assert_eq!(bytes.starts_with(b"\0celery"), form.compression.is_some());
    if form.compression.is_none() {
        ResultDoc::decode_with(&bytes, form.serializer).unwrap();
        assert!(!bytes.starts_with(b"{"), "{bytes:?}");
    }
    document
}

fn value(json: &RawValue) -> Value {
    serde_json::from_str(json.get()).unwrap()
}

#[tokio::test]
async fn each_state_has_the_form_and_a_success_stays() {
    for form in FORMS {
        let mut broker = Redis::start().await;
        let mut options = broker.options();
        options.result_form = form;
        let mut rig = Rig::start(options);
        post(&mut broker, "celery", &[task("a"), task("b")]).await;
        let delivery = rig.next().await;
        let meta = json(r#"{"done":"ä"}"#);
        let progress = rig
            .settler
            .store_state(&delivery.task, "PROGRESS", meta.clone());
        progress.await.unwrap();
        let progress = State::Custom("PROGRESS".to_owned());
        let document = stored(&mut broker, form, "a", progress).await;
        assert_eq!(value(&document.result), value(&meta));
        rig.settler.finish(delivery, succeeded(r#"{"ä":[1,null]}"#));
        let returned = serde_json::json!({ "ä": [1, null] });
        let other = rig.next().await;
        rig.settler.finish(other, failed());
        let document = stored(&mut broker, form, "b", State::Failure).await;
        assert_eq!(document.failed_with().summary(), "ValueError('boom')");
        // Copies of a task that has succeeded: their states and ends do not replace the success.
        for outcome in [failed(), succeeded("2"), Outcome::Expired] {
            let document = stored(&mut broker, form, "a", State::Success).await;
            assert_eq!(value(&document.result), returned);
            post(&mut broker, "celery", &[task("a")]).await;
            let copy = rig.next().await;
            let started = rig.settler.store_state(&copy.task, "STARTED", json("{}"));
            started.await.unwrap();
            rig.settler.finish(copy, outcome);
            broker.until_clean().await;
        }
        let document = stored(&mut broker, form, "a", State::Success).await;
        assert_eq!(value(&document.result), returned);
        // A failure may be followed by a success.
        post(&mut broker, "celery", &[task("b")]).await;
        assert_eq!(rig.finish(1).await, ["b"]);
        stored(&mut broker, form, "b", State::Success).await;
    }
}

#[tokio::test]
async fn a_chord_is_counted_in_each_form() {
    for form in FORMS {
        for elsewhere in [false, true] {
            let mut broker = Redis::start().await;
            let mut backend = Redis::start().await;
            let mut options = broker.options();
            options.result_form = form;
            if elsewhere {
                options.results = Results::Server(backend.endpoint.clone());
                backend.begin_chord("g", 3).await;
            } else {
                broker.begin_chord("g", 3).await;
            }
            let mut rig = Rig::start(options);
            let header = [("late", 2), ("first", 0), ("second", 1)];
            let header = header.map(|(id, index)| member(id, index, &body()));
            post(&mut broker, "celery", &header).await;
            for result in ["7", "null", "12345678901234567890"] {
                let delivery = rig.next().await;
                rig.settler.finish(delivery, succeeded(result));
            }
            the_body_comes_and_ends_the_chord(&mut broker, &mut rig).await;
            assert_eq!(backend.open_chords().await, 0);
        }
    }
}

#[tokio::test]
async fn a_value_that_the_serializer_has_no_form_for_is_a_failure() {
    let mut broker = Redis::start().await;
    let mut options = broker.options();
    let form = FORMS[0];
    options.result_form = form;
    options.result_extended = true;
    let mut rig = Rig::start(options);
    let huge = "123456789012345678901234567890";
    let mut odd = task("odd");
    odd.args = json(&format!("[{huge}]"));
    post(&mut broker, "celery", &[odd, task("raised")]).await;
    let delivery = rig.next().await;
    rig.settler.finish(delivery, succeeded(huge));
    let document = stored(&mut broker, form, "odd", State::Failure).await;
    assert_eq!(document.failed_with().exc_type, "EncodeError");
    let extended = document.extended.unwrap();
    assert_eq!(
        (extended.args.is_none(), &*extended.name.unwrap()),
        (true, "proj.add")
    );
    let delivery = rig.next().await;
    let Outcome::Raised { exception, .. } = failed() else {
        panic!("it is not a failure");
    };
    let mut exception = exception;
    exception.exc_message = vec![json(huge), json("\"x\"")];
    rig.settler.finish(
        delivery,
        Outcome::Raised {
            exception,
            retryable: false,
        },
    );
    let document = stored(&mut broker, form, "raised", State::Failure).await;
    let args: Vec<String> = document
        .failed_with()
        .exc_message
        .iter()
        .map(|it| it.get().to_owned())
        .collect();
    assert_eq!(args, [&format!("\"{huge}\"")[..], "\"x\""]);
}

#[tokio::test]
async fn of_two_ends_of_one_task_that_come_together_the_success_stays() {
    for elsewhere in [false, true] {
        let mut broker = Redis::start().await;
        let mut backend = Redis::start().await;
        let form = FORMS[0];
        let mut options = broker.options();
        options.result_form = form;
        if elsewhere {
            options.results = Results::Server(backend.endpoint.clone());
        }
        let mut rig = Rig::start(options);
        post(&mut broker, "celery", &[task("a"), task("a")]).await;
        let (first, second) = (rig.next().await, rig.next().await);
        rig.settler.finish(first, succeeded("7"));
        rig.settler.finish(second, failed());
        broker.until_clean().await;
        let store = if elsewhere { &mut backend } else { &mut broker };
        stored(store, form, "a", State::Success).await;
    }
}

/// A server that is busy with a script refuses each command for that time.
#[tokio::test]
async fn a_success_stays_although_the_server_refuses_to_read_it_for_a_while() {
    let mut broker = Redis::start().await;
    let form = FORMS[0];
    let mut options = broker.options();
    options.result_form = form;
    let mut rig = Rig::start(options);
    post(&mut broker, "celery", &[task("a")]).await;
    assert_eq!(rig.finish(1).await, ["a"]);
    stored(&mut broker, form, "a", State::Success).await;
    post(&mut broker, "celery", &[task("a")]).await;
    let copy = rig.next().await;
    let limit = ["CONFIG", "SET", "lua-time-limit", "1"];
    assert_eq!(broker.ask(&limit).await, "OK");
    let busy = "local t = redis.call('TIME')
        repeat local n = redis.call('TIME') until n[1] - t[1] >= 3";
    let mut script = Cmd::new();
    script.arg("EVAL").arg(busy).arg("0");
    let options = ConnectOptions::new("busy");
    let open = Connection::open(&broker.endpoint, &options);
    let mut other = open.await.unwrap();
    let running = tokio::spawn(async move { other.query(&script).await });
    // The server answers this one only after the script, or refuses it because of that.
    while !refuses(&broker).await {}
    rig.settler.finish(copy, failed());
    let _ = running.await;
    broker.until_clean().await;
    let document = stored(&mut broker, form, "a", State::Success).await;
    assert_eq!(document.result.get(), "5");
}

/// Returns `true` if the server is busy with a script.
async fn refuses(broker: &Redis) -> bool {
    let open = Connection::open(&broker.endpoint, &ConnectOptions::new("asks")).await;
    let Ok(mut connection) = open else {
        return true;
    };
    let mut ping = Cmd::new();
    ping.arg("GET").arg("x");
    connection.query(&ping).await.is_err()
}
