//! Every captured result document is decoded and written again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use celery_protocol::compression::Compression;
use celery_protocol::message::{EncodeOptions, Task, Unacked};
use celery_protocol::redis_keys::Keys;
use celery_protocol::result::{
    ExceptionDoc, Extended, GroupDoc, ResultDoc, ResultError, ResultTree, State, StoredForm, child,
};
use celery_protocol::serializer::Serializer;
use celery_protocol::time::Timestamp;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use common::{Fixture, compressed, folder, parsed};

fn fixtures() -> Vec<Fixture> {
    let mut all = folder("results/redis", 37);
    all.extend(folder("results/redis-extended", 5));
    all.extend(folder("results/redis-variants", 14));
    all
}

fn serializer(name: &str) -> Serializer {
    match name
        .strip_prefix("serializer_")
        .and_then(|rest| rest.split('_').next())
    {
        Some("msgpack") => Serializer::Msgpack,
        Some("yaml") => Serializer::Yaml,
        _ => Serializer::Json,
    }
}

/// Returns a document in any serializer as a value.
fn opened(bytes: &[u8], serializer: Serializer) -> Value {
    serde_json::from_str(&serializer.to_json(bytes, 1 << 20).unwrap()).unwrap()
}

#[test]
fn every_document_is_read_and_written_again() {
    let mut documents = 0;
    let mut states = std::collections::BTreeSet::new();
    for fixture in fixtures() {
        let name = &fixture.name;
        let serializer = serializer(name);
        for (key, bytes) in fixture
            .stored("celery-task-meta-")
            .into_iter()
            .chain(fixture.published())
        {
            documents += 1;
            if name.starts_with("serializer_pickle") {
                assert_eq!(ResultDoc::decode(&bytes).unwrap_err(), ResultError::Pickle);
                continue;
            }
            let doc = ResultDoc::decode_with(&bytes, serializer)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let unasked = ResultDoc::decode_any(&bytes).unwrap();
            assert_eq!(unasked.encode(), doc.encode(), "{name}");
            assert!(
                key.ends_with(&format!("celery-task-meta-{}", doc.task_id)),
                "{name}"
            );
            let prefix = if name.starts_with("expires_none_prefix") {
                "myapp"
            } else {
                ""
            };
            assert_eq!(key, Keys::new(prefix).result(&doc.task_id), "{name}");
            assert_eq!(doc.date_done.is_some(), doc.status.ready(), "{name}");
            if let Some(date) = &doc.date_done {
                assert_eq!(Timestamp::parse(date).unwrap().to_string(), *date, "{name}");
            }
            if let Some(exception) = doc.exception() {
                assert_eq!(
                    parsed(exception.unwrap().to_json().get().as_bytes()),
                    parsed(doc.result.get().as_bytes())
                );
            }
            states.insert(doc.status.as_str().to_owned());
            let again = serializer.from_json(&doc.encode()).unwrap();
            if name.starts_with("result_compression_gzip") {
                let again = compressed(Compression::Zlib, &again);
                let same = ResultDoc::decode(&again).unwrap();
                assert_eq!(same.encode(), doc.encode());
                assert_eq!(again[..28], bytes[..28], "{name}");
                continue;
            }
            assert_eq!(
                opened(&again, serializer),
                opened(&bytes, serializer),
                "{name}"
            );
            if serializer == Serializer::Json {
                assert_eq!(
                    member_names(&again),
                    member_names(&bytes),
                    "{name}: Python's order"
                );
            }
        }
    }
    assert_eq!(
        states.into_iter().collect::<Vec<_>>(),
        [
            "FAILURE", "MYSTATE", "PROGRESS", "RETRY", "REVOKED", "STARTED", "SUCCESS"
        ]
    );
    assert_eq!(documents, 181);
}

/// Returns the names of a document's top-level members in the order of the text.
fn member_names(json: &[u8]) -> Vec<String> {
    let fields: celery_protocol::fields::Fields = serde_json::from_slice(json).unwrap();
    fields.iter().map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn every_saved_group_is_read_and_written_again() {
    let mut groups = 0;
    for fixture in fixtures() {
        for (key, bytes) in fixture.stored("celery-taskset-meta-") {
            // The number of members that have ended, which Celery keeps beside the group.
            if matches!(key.rsplit_once('.'), Some((_, "c"))) {
                continue;
            }
            groups += 1;
            let group = GroupDoc::decode_with(&bytes, Serializer::Json).unwrap();
            assert_eq!(parsed(&group.encode()), parsed(&bytes));
            let tree = group.tree().unwrap();
            assert_eq!(key, Keys::default().group(&tree.id));
            assert_eq!(parsed(&GroupDoc::of(&tree).encode()), parsed(&bytes));
            let again = GroupDoc::decode_any(&bytes).unwrap();
            assert_eq!(again.tree(), Ok(tree));
        }
    }
    assert_eq!(groups, 2);
}

#[test]
fn trees_are_read_in_every_form_and_written_in_celerys() {
    let task = ResultTree::task("a\"\\é");
    let group = ResultTree::group("g", vec![task.clone(), ResultTree::group("h", vec![])]);
    let chain = task
        .clone()
        .after(group.clone().after(ResultTree::task("b")));
    for tree in [&task, &group, &chain] {
        let json = tree.to_json();
        assert_eq!(
            ResultTree::from_json(json.get()).as_ref(),
            Ok(tree),
            "{json}"
        );
    }
    assert_eq!(
        chain.to_json().get(),
        r#"[["a\"\\é",[["g",[["b",null],null]],[[["a\"\\é",null],null],[["h",null],[]]]]],null]"#
    );
    for (json, tree) in [
        (r#""a""#, ResultTree::task("a")),
        (r#" [ "a" , null ] "#, ResultTree::task("a")),
        (
            r#"["g", ["a", [["b", null], null]]]"#,
            ResultTree::group("g", vec![ResultTree::task("a"), ResultTree::task("b")]),
        ),
        (
            r#"[["\u0061", "p"], null]"#,
            ResultTree::task("a").after(ResultTree::task("p")),
        ),
    ] {
        assert_eq!(ResultTree::from_json(json), Ok(tree), "{json}");
    }
}

#[test]
fn what_is_no_tree_is_refused() {
    for json in [
        "",
        "null",
        "[]",
        "{}",
        "1",
        r#"["a"]"#,
        r#"["a",null,null]"#,
        r#"["a",null] x"#,
        r#"[["a"],null]"#,
        r#"[["a",null],{}]"#,
        r#"[["a",null],["b""c"]]"#,
        r#"["a",[,"b"]]"#,
        r#"["a",["b",]]"#,
        "[[1,null],null]",
        r#"[["a,null],null]"#,
        r#"["a\"#,
        r#"[["a",null],[null]]"#,
    ] {
        assert!(ResultTree::from_json(json).is_err(), "{json}");
    }
}

#[test]
fn a_tree_is_as_deep_as_pythons_at_most() {
    let deep = |depth: usize| {
        let chain = (1..depth).fold(ResultTree::task("a"), |chain, _| {
            ResultTree::task("b").after(chain)
        });
        let nested = (1..depth).fold(ResultTree::task("a"), |inner, _| {
            ResultTree::group("g", vec![inner])
        });
        [chain, nested]
    };
    for tree in deep(1000) {
        assert_eq!(ResultTree::from_json(tree.to_json().get()), Ok(tree));
    }
    for tree in deep(1001) {
        assert!(ResultTree::from_json(tree.to_json().get()).is_err());
    }
}

#[test]
fn children_are_pythons() {
    let trees = |name: &str| -> Vec<ResultTree> {
        let fixture = fixtures()
            .into_iter()
            .find(|each| each.name.ends_with(name))
            .unwrap();
        let stored = fixture.stored("celery-task-meta-").into_iter();
        stored
            .flat_map(|(_, bytes)| ResultDoc::decode(&bytes).unwrap().child_results())
            .collect()
    };
    let linked = trees("link_callback");
    assert!(!linked.is_empty() && linked.iter().all(|tree| tree.members.is_none()));
    assert!(trees("children").iter().all(|tree| !tree.id.is_empty()));
}

#[test]
fn the_causes_of_pythons_failures() {
    let of = |name: &str, exc_type: &str| {
        let fixture = fixtures()
            .into_iter()
            .find(|each| each.name.ends_with(name))
            .unwrap();
        let stored = fixture.stored("celery-task-meta-").into_iter();
        let docs = stored.map(|(_, bytes)| ResultDoc::decode(&bytes).unwrap());
        let mut docs = docs.filter(|doc| {
            doc.exception()
                .is_some_and(|exception| exception.unwrap().exc_type == exc_type)
        });
        docs.next().unwrap()
    };
    let doc = of("failure_chained_cause", "RuntimeError");
    let causes = doc.causes();
    assert_eq!(causes.len(), 1);
    assert_eq!(
        (
            &*causes[0].exc_type,
            &*causes[0].exc_module,
            &*causes[0].message
        ),
        ("KeyError", "builtins", "'k'")
    );
    assert!(causes[0].traceback.contains("fail_chained"));
    let doc = of("chord_header_failure", "ChordError");
    let causes = doc.causes();
    assert_eq!(
        (&*causes[0].exc_type, &*causes[0].message),
        ("ValueError", "boom")
    );
    for (name, exc_type, message) in [
        ("failure_valueerror", "ValueError", "boom"),
        (
            "failure_custom_exception",
            "MyError",
            "(42, {'why': 'because'})",
        ),
        ("retry_then_failure", "OSError", "(5, 'io failed')"),
    ] {
        let doc = of(name, exc_type);
        assert_eq!(doc.causes(), []);
        assert_eq!(doc.exception().unwrap().unwrap().message(), message);
    }
}

#[test]
fn an_exception_is_shown_as_python_shows_it() {
    for (exc_type, args, message) in [
        ("ValueError", json!([]), ""),
        ("ValueError", json!(["a b"]), "a b"),
        ("ValueError", json!([1]), "1"),
        ("ValueError", json!([null]), "None"),
        ("ValueError", json!([["a", true]]), "['a', True]"),
        ("ValueError", json!(["a", 2]), "('a', 2)"),
        ("KeyError", json!(["k"]), "'k'"),
    ] {
        let exception =
            json!({"exc_type": exc_type, "exc_message": args, "exc_module": "builtins"});
        let exception = ExceptionDoc::from_json(&exception.to_string()).unwrap();
        assert_eq!(exception.message(), message, "{args}");
    }
}

#[test]
fn stamps_are_found_by_their_names() {
    let json = r#"{"status":"SUCCESS","result":1,"stamped_headers":["a","b","none"],"a":["x"],"b":2,"other":3,"task_id":"t"}"#;
    let doc = ResultDoc::decode(json.as_bytes()).unwrap();
    let stamps = doc.stamps();
    let stamps: Vec<_> = stamps
        .iter()
        .map(|(name, value)| (name.as_str(), value.get()))
        .collect();
    assert_eq!(stamps, [("a", r#"["x"]"#), ("b", "2")]);
    let doc = ResultDoc::decode(br#"{"status":"SUCCESS","stamped_headers":7}"#).unwrap();
    assert!(doc.stamps().is_empty());
}

fn document(fixture: &str, status: &str) -> Value {
    let fixture = fixtures()
        .into_iter()
        .find(|each| each.name == fixture)
        .unwrap();
    let documents = fixture
        .stored("celery-task-meta-")
        .into_iter()
        .chain(fixture.published());
    documents
        .map(|(_, bytes)| parsed(&bytes))
        .find(|doc| doc["status"] == status)
        .unwrap()
}

#[test]
fn documents_made_here_are_pythons() {
    let id = |doc: &Value| doc["task_id"].as_str().unwrap().to_owned();
    let date = |doc: &Value| doc["date_done"].as_str().unwrap().to_owned();

    let python = document("success_int", "SUCCESS");
    let ours = ResultDoc::success(
        id(&python),
        to_raw_value(&python["result"]).unwrap(),
        date(&python),
    );
    assert_eq!(parsed(&ours.encode()), python);

    let python = document("failure_valueerror", "FAILURE");
    let error = ExceptionDoc::new("ValueError", "boom", Some("builtins"));
    let traceback = python["traceback"].as_str().map(str::to_owned);
    assert_eq!(
        parsed(&ResultDoc::failure(id(&python), &error, traceback, date(&python)).encode()),
        python
    );

    let python = document("retry_state_pending_countdown", "RETRY");
    let traceback = python["traceback"].as_str().map(str::to_owned);
    assert_eq!(
        parsed(&ResultDoc::retry(id(&python), None, traceback).encode()),
        python
    );

    let python = document("retry_then_failure", "RETRY");
    let error = ExceptionDoc::new("OSError", 5, Some("builtins"))
        .with_args(vec![json!(5), json!("io failed")]);
    assert_eq!(error.summary(), "OSError(5, 'io failed')");
    let traceback = python["traceback"].as_str().map(str::to_owned);
    assert_eq!(
        parsed(&ResultDoc::retry(id(&python), Some(&error), traceback).encode()),
        python
    );

    for (fixture, reason) in [
        ("revoked_before_run", "revoked"),
        ("revoked_terminate", "terminated"),
        ("expired", "expired"),
    ] {
        let python = document(fixture, "REVOKED");
        assert_eq!(
            parsed(&ResultDoc::revoked(id(&python), reason, date(&python)).encode()),
            python
        );
    }

    let python = document("custom_state_progress", "PROGRESS");
    let meta = to_raw_value(&python["result"]).unwrap();
    let ours = ResultDoc::new(
        id(&python),
        State::from_word("PROGRESS"),
        meta,
        Some("2026-01-01".to_owned()),
    );
    assert_eq!(parsed(&ours.encode()), python);

    let python = document("started_state", "STARTED");
    let mut ours = ResultDoc::started(id(&python), 3568, "worker1@example");
    let mut extended = Extended::default();
    extended.name = Some("proj.sleep".to_owned());
    extended.args = serde_json::from_str("[2]").ok();
    extended.kwargs = serde_json::from_str("{}").ok();
    extended.worker = Some("worker1@example".to_owned());
    extended.retries = Some(0);
    extended.queue = Some("celery".to_owned());
    ours.extended = Some(extended);
    assert_eq!(parsed(&ours.encode()), python);

    let python = document("link_callback", "SUCCESS");
    let mut ours = ResultDoc::success(
        id(&python),
        to_raw_value(&python["result"]).unwrap(),
        date(&python),
    );
    ours.children = python["children"][0][0][0]
        .as_str()
        .and_then(child)
        .map(|child| vec![child]);
    assert_eq!(parsed(&ours.encode()), python);
}

#[test]
fn a_retry_is_published_as_python_publishes_it() {
    let fixture = fixtures()
        .into_iter()
        .find(|each| each.name == "retry_state_pending_countdown")
        .unwrap();
    let held = fixture.json["redis_broker_keys_after"]["unacked"]["fields"]
        .as_object()
        .unwrap();
    let (tag, entry) = held.iter().next().unwrap();
    let held = Unacked::parse(entry.as_str().unwrap().as_bytes()).unwrap();
    assert_eq!((&*held.exchange(), &*held.routing_key()), ("", "celery"));
    let python = parsed(held.envelope);

    // The first message was not captured. It differs from the second only in what a retry changes.
    let mut first = python.clone();
    first["headers"]["retries"] = json!(0);
    first["headers"]["eta"] = Value::Null;
    first["headers"]["parent_id"] = Value::Null;
    first["headers"]["origin"] = json!("gen1@client");
    first["properties"]["delivery_tag"] = json!("another");
    first["properties"]
        .as_object_mut()
        .unwrap()
        .remove("origin");
    let first = Task::decode_redis(&serde_json::to_vec(&first).unwrap()).unwrap();

    let eta = Timestamp::parse(python["headers"]["eta"].as_str().unwrap()).unwrap();
    let origin = python["headers"]["origin"].as_str().unwrap();
    let second = first.retry(Some(eta), eta, origin);
    let queue = held.routing_key();
    let options = EncodeOptions::new(&queue, tag).lang("py").origin(origin);
    let mut ours = parsed(&second.encode_redis(&options).unwrap());
    let mut python = python.clone();
    for envelope in [&mut ours, &mut python] {
        envelope["body"] = Value::Null;
    }
    assert_eq!(ours, python);

    let third = second.retry(None, eta, "w").encode_redis(&options).unwrap();
    let third = Task::decode_redis(&third).unwrap();
    assert_eq!(
        (third.retries, third.eta, third.parent_id),
        (2, None, second.parent_id)
    );
    assert_eq!(third.properties.extra.len(), 1);
}

#[test]
fn exceptions_are_read_in_every_form() {
    for (json, args, module) in [
        (
            r#"{"exc_type":"E","exc_message":["a",1],"exc_module":"m"}"#,
            vec![json!("a"), json!(1)],
            Some("m"),
        ),
        (
            r#"{"exc_type":"E","exc_message":"text","exc_module":null}"#,
            vec![json!("text")],
            None,
        ),
        (r#"{"exc_type":"E","exc_message":null}"#, vec![], None),
        (r#"{"exc_type":"E","more":{}}"#, vec![], None),
    ] {
        let exception = ExceptionDoc::from_json(json).unwrap();
        let read = exception.exc_message.iter();
        let read: Vec<Value> = read.map(|arg| parsed(arg.get().as_bytes())).collect();
        assert_eq!(read, args);
        assert_eq!(exception.exc_module.as_deref(), module);
    }
    let numbers = format!("[1e400,{},0.10]", "9".repeat(400));
    let json = format!(r#"{{"exc_type":"E","exc_message":{numbers},"exc_module":"m"}}"#);
    let exception = ExceptionDoc::from_json(&json).unwrap();
    assert_eq!(exception.to_json().get(), json);
    assert_eq!(exception, ExceptionDoc::from_json(&json).unwrap());
    assert_ne!(exception, exception.clone().with_args(vec![json!(1)]));
    for json in [
        "null",
        "5",
        "[]",
        r#"{"exc_message":[]}"#,
        r#"{"exc_type":null}"#,
    ] {
        assert!(ExceptionDoc::from_json(json).is_err(), "{json}");
    }
}

#[test]
fn what_is_no_document_is_an_error() {
    for bytes in [
        &b""[..],
        b"x",
        b"null",
        b"[]",
        b"{}",
        br#"{"task_id":"1"}"#,
        b"\0celery-compressed\0",
        b"\0celery-compressed\0application/x-gzip",
        b"\0celery-compressed\0zip\0x",
        b"\0celery-compressed\0application/x-gzip\0x",
        b"\xff",
    ] {
        assert!(matches!(ResultDoc::decode(bytes), Err(error) if error != ResultError::Pickle));
    }
    assert_eq!(
        ResultDoc::decode(b"\x80\x04N.").unwrap_err(),
        ResultError::Pickle
    );
    let nameless = ResultDoc::decode(br#"{"status":"SUCCESS"}"#).unwrap();
    assert_eq!(nameless.task_id, "");
    let odd = ResultDoc::decode(br#"{"task_id":"1","status":"SUCCESS","children":null,"date_done":{"__type__":"datetime","__value__":"2026-01-02T03:04:05"},"result":NaN}"#).unwrap();
    assert_eq!(
        (odd.result.get(), odd.date_done.as_deref()),
        ("null", Some("2026-01-02T03:04:05"))
    );
}

#[test]
fn what_is_stored_in_a_form_is_recognised() {
    let document = br#"{"status":"SUCCESS","result":{"a":[1,"\u00e4",null,1.5]},"task_id":"x"}"#;
    let member = br#"[1,"x","SUCCESS",["\u00e4"]]"#;
    let compressions = [None, Some(Compression::Zlib), Some(Compression::Zstd)];
    for serializer in [Serializer::Json, Serializer::Msgpack, Serializer::Yaml] {
        for compression in compressions {
            let form = StoredForm {
                serializer,
                compression,
            };
            assert_eq!(form.is_plain(), form == StoredForm::default());
            for json in [&document[..], member] {
                let stored = form.write(json).unwrap();
                let read = StoredForm::read(&stored).unwrap();
                assert_eq!(parsed(read.as_bytes()), parsed(json), "{form:?}");
            }
            let stored = form.write(document).unwrap();
            assert_eq!(StoredForm::of(&stored), form);
            let read = ResultDoc::decode_any(&stored).unwrap();
            assert_eq!((read.status, &*read.task_id), (State::Success, "x"));
        }
    }
    // Lists as Python's modules write them.
    for (stored, serializer) in [
        (&b"- 1\n- x\n"[..], Serializer::Yaml),
        (b"\x92\x01\xa1x", Serializer::Msgpack),
        (b"[1, \"x\"]", Serializer::Json),
    ] {
        let read = StoredForm::read(stored).unwrap();
        assert_eq!(
            parsed(read.as_bytes()),
            parsed(b"[1,\"x\"]"),
            "{serializer:?}"
        );
    }
    let huge = StoredForm {
        serializer: Serializer::Msgpack,
        compression: None,
    };
    assert!(huge.write(b"[123456789012345678901234567890]").is_err());
}

#[test]
fn a_stamp_does_not_take_the_place_of_a_member() {
    let mut doc = ResultDoc::success("x", to_raw_value(&1).unwrap(), "d");
    for name in ["stamped_headers", "status", "task_id", "queue", "tenant"] {
        doc.extra.insert(name, to_raw_value("FAILURE").unwrap());
    }
    let text = String::from_utf8(doc.encode()).unwrap();
    assert_eq!(text.matches("\"status\"").count(), 1, "{text}");
    assert_eq!(text.matches("\"task_id\"").count(), 1, "{text}");
    assert!(
        text.contains("\"tenant\"") && !text.contains("\"queue\""),
        "{text}"
    );
}

#[test]
fn a_large_document_in_a_form_is_read() {
    let pairs = "[\"a\\u00e4\\ud83d\\ude00\\\\x41\",1.5e30],".repeat(3_000);
    let flow = format!("[{pairs}null]");
    let long = format!("[\"{}\"]", "x".repeat(3 << 20));
    let huge = format!("[\"{}\"]", "x".repeat(33 << 20));
    for (json, serializer, compression) in [
        (&flow, Serializer::Yaml, None),
        (&long, Serializer::Yaml, None),
        (&long, Serializer::Yaml, Some(Compression::Zlib)),
        (&huge, Serializer::Json, Some(Compression::Zlib)),
        (&huge, Serializer::Msgpack, Some(Compression::Zstd)),
    ] {
        let form = StoredForm {
            serializer,
            compression,
        };
        let stored = form.write(json.as_bytes()).unwrap();
        let read = StoredForm::read(&stored);
        let read = read.unwrap_or_else(|why| panic!("{form:?}: {why}"));
        assert!(
            parsed(read.as_bytes()) == parsed(json.as_bytes()),
            "{form:?}"
        );
    }
}
