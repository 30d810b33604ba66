//! Messages that are damaged or mixed from two protocols: each fault has its own cause, and the
//! error names the task and its id as far as they can be read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use celery_protocol::message::{Cause, DecodeError, Task};
use serde_json::json;
use serde_json::value::RawValue;

/// Decodes a message in base64 with valid headers.
fn decode_body(body: &[u8]) -> Result<Task, DecodeError> {
    let raw = json!({
        "body": STANDARD.encode(body),
        "headers": {"task": "t", "id": "1"},
        "properties": {"body_encoding": "base64"},
    });
    Task::decode_redis(raw.to_string().as_bytes())
}

#[test]
fn damaged_text_is_told_apart() {
    let plain = |headers: &str, body: &str| {
        let text = format!(
            "{{\"body\":{body},\"headers\":{headers},\"properties\":{{\"delivery_tag\":\"t\"}}}}"
        );
        Task::decode_redis(text.as_bytes()).map_err(|error| {
            assert_eq!(error.delivery_tag(), Some("t"));
            error.cause()
        })
    };
    let headers = r#"{"task":"t","id":"1"}"#;
    let body = r#""[[],{},null]""#;
    assert!(plain(headers, body).is_ok());
    // The last of repeated names counts, as in Python.
    assert_eq!(
        plain(r#"{"task":"a","id":"1","task":"b"}"#, body)
            .unwrap()
            .name,
        "b"
    );
    // Half a surrogate pair becomes the replacement character.
    assert_eq!(
        plain(r#"{"task":"t","id":"\ud800"}"#, body).unwrap().id,
        "\u{fffd}"
    );
    for (headers, cause) in [
        ("[]", Cause::NoTask),
        ("5", Cause::Envelope),
        (r#"{"task":"t"}"#, Cause::NoId),
        (r#"{"task":"t","id":""}"#, Cause::NoId),
        (r#"{"task":"t","id":5}"#, Cause::NoId),
        (r#"{"task":"","id":"1"}"#, Cause::NoTask),
        (r#"{"task":null,"id":"1"}"#, Cause::NoTask),
        ("{}", Cause::NoTask),
        ("null", Cause::NoTask),
    ] {
        assert_eq!(plain(headers, body).unwrap_err(), cause, "{headers}");
    }
    for (body, cause) in [
        (r#""""#, Cause::Body),
        (r#""[""#, Cause::Body),
        (r#""[[],{},null]x""#, Cause::Body),
        (r#""[1,]""#, Cause::Body),
        (r#""null""#, Cause::BodyShape),
        (r#""[]""#, Cause::BodyShape),
        (r#""[[],{},null,1]""#, Cause::BodyShape),
        (r#""[[],{},{\"chain\":5}]""#, Cause::BodyShape),
        (r#""[null,{},null]""#, Cause::Arguments),
        (r#""[[],[],null]""#, Cause::Arguments),
    ] {
        assert_eq!(plain(headers, body).unwrap_err(), cause, "{body}");
    }
    for body in ["5", "null", "{}"] {
        assert_eq!(plain(headers, body).unwrap_err(), Cause::Envelope, "{body}");
    }
    for (encoding, body) in [
        ("base64", "W1tdLHt9LG51bGx"),
        ("base64", "*"),
        ("base32", "W1tdLHt9LG51bGxd"),
    ] {
        let text = format!(
            "{{\"body\":\"{body}\",\"headers\":{headers},\"properties\":{{\"body_encoding\":\"{encoding}\"}}}}"
        );
        assert_eq!(
            Task::decode_redis(text.as_bytes()).unwrap_err().cause(),
            Cause::Encoding,
            "{encoding} {body}"
        );
    }
    let lines = format!(
        "{{\"body\":\"W1td\\nLHt9\\r\\nLG51bGxd\\n\",\"headers\":{headers},\"properties\":{{\"body_encoding\":\"base64\"}}}}"
    );
    assert!(Task::decode_redis(lines.as_bytes()).is_ok());
    assert_eq!(
        decode_body(b"[[\"\xff\"],{},null]").unwrap_err().cause(),
        Cause::Body
    );
    let odd =
        b"{\"body\":\"[[],{},null]\",\"headers\":{\"task\":\"t\",\"id\":\"1\",\"x\":\"\xff\"}}";
    assert_eq!(
        Task::decode_redis(odd)
            .unwrap()
            .headers
            .get("x")
            .map(RawValue::get),
        Some("\"\u{fffd}\"")
    );
}

#[test]
fn protocol_1_is_read_in_its_variants() {
    let plain = |headers: &str, body: &str| {
        let text = json!({"body": body, "headers": serde_json::from_str::<serde_json::Value>(headers).unwrap()});
        Task::decode_redis(text.to_string().as_bytes()).map_err(|error| error.cause())
    };
    let task = plain(
        "{}",
        r#"{"task":"t","id":"1","args":[1],"kwargs":{},"taskset":"g","retries":2}"#,
    )
    .unwrap();
    assert_eq!(
        (
            &*task.name,
            &*task.id,
            task.args.get(),
            task.group.as_deref(),
            task.retries
        ),
        ("t", "1", "[1]", Some("g"), 2)
    );
    for (body, args) in [
        (r#"{"task":"t","id":"1","args":[1]}"#, "[1]"),
        (r#"{"task":"t","id":"1","kwargs":{}}"#, "[]"),
        (r#"{"task":"t","id":"1"}"#, "[]"),
    ] {
        let task = plain("{}", body).unwrap();
        assert_eq!((task.args.get(), task.kwargs.get()), (args, "{}"));
    }
    assert_eq!(
        plain("{}", r#"{"id":"1","args":[],"kwargs":{}}"#).unwrap_err(),
        Cause::NoTask
    );
    // Mixed protocols: headers name the task, the body is of protocol 1.
    let task = plain(
        r#"{"task":"h","id":"9","x":1}"#,
        r#"{"task":"t","args":[1],"eta":"2026-01-01T00:00:00Z"}"#,
    )
    .unwrap();
    assert_eq!(
        (
            &*task.name,
            &*task.id,
            task.kwargs.get(),
            task.eta.is_some()
        ),
        ("h", "9", "{}", true)
    );
    assert_eq!(task.headers.len(), 1);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn whose_message_it_was_is_known_whatever_is_wrong_with_it() {
    let long = "9".repeat(5_000);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let many: Vec<String> = (0..10_001).map(|nth| format!("\"h{nth}\":0")).collect();
    let many = many.join(",");
    let headers = r#""headers":{"task":"t","id":"7"}"#;
    let tagged = r#""properties":{"delivery_tag":"d"}"#;
    let body = r#""body":"[[],{},null]""#;
    for (raw, cause, tag) in [
        // Members of the wrong kind, and missing ones.
        (format!("{{{headers},{tagged}}}"), Cause::Envelope, "d"),
        (
            format!("{{\"body\":null,{headers},{tagged}}}"),
            Cause::Envelope,
            "d",
        ),
        (
            format!("{{\"body\":5,{headers},{tagged}}}"),
            Cause::Envelope,
            "d",
        ),
        (
            format!("{{\"body\":{{}},{tagged},{headers}}}"),
            Cause::Envelope,
            "d",
        ),
        (
            format!("{{{body},{headers},\"properties\":[]}}"),
            Cause::Envelope,
            "",
        ),
        (
            format!("{{\"properties\":5,{body},{headers}}}"),
            Cause::Envelope,
            "",
        ),
        (
            format!(
                "{{{body},{headers},\"properties\":{{\"delivery_info\":[],\"delivery_tag\":\"d\"}}}}"
            ),
            Cause::Envelope,
            "d",
        ),
        // Texts that only Python refuses.
        (
            format!("{{{body},{headers},{tagged},\"n\":{long}}}"),
            Cause::Envelope,
            "d",
        ),
        (
            format!("{{{body},\"n\":{{\"__type__\":\"foo\",\"__value__\":1}},{headers},{tagged}}}"),
            Cause::Envelope,
            "d",
        ),
        // Texts that no reader accepts.
        (
            format!("{{\"n\":{deep},{body},{headers},{tagged}}}"),
            Cause::Envelope,
            "d",
        ),
        (
            format!("{{{headers},{tagged},\"body\":\"[["),
            Cause::Envelope,
            "d",
        ),
        (
            format!("{{{body},{headers},{tagged}}}x"),
            Cause::Envelope,
            "d",
        ),
        (format!("{{{body},{headers},x"), Cause::Envelope, ""),
        (
            format!("{{{body},{tagged},{headers},\"n\":01}}"),
            Cause::Envelope,
            "d",
        ),
        // Too many members.
        (
            format!("{{{body},\"headers\":{{{many},\"task\":\"t\",\"id\":\"7\"}},{tagged}}}"),
            Cause::TooLarge,
            "d",
        ),
        (
            format!("{{{body},{headers},\"properties\":{{{many},\"delivery_tag\":\"d\"}}}}"),
            Cause::TooLarge,
            "d",
        ),
        // Bodies that differ from their headers.
        (
            format!("{{\"body\":\"[\",{headers},{tagged}}}"),
            Cause::Body,
            "d",
        ),
        (
            format!("{{\"body\":\"[]\",{headers},{tagged}}}"),
            Cause::BodyShape,
            "d",
        ),
        (
            format!("{{\"body\":\"[[],[],null]\",{headers},{tagged}}}"),
            Cause::Arguments,
            "d",
        ),
        (
            format!("{{{body},\"content-type\":\"x\",{headers},{tagged}}}"),
            Cause::ContentDisallowed,
            "d",
        ),
        (
            format!("{{{body},\"headers\":{{\"id\":\"7\",\"eta\":1,\"task\":\"t\"}},{tagged}}}"),
            Cause::Field,
            "d",
        ),
        (
            format!(
                "{{{body},\"headers\":{{\"id\":\"7\",\"compression\":1,\"task\":\"t\"}},{tagged}}}"
            ),
            Cause::Compression,
            "d",
        ),
    ] {
        let error = Task::decode_redis(raw.as_bytes()).unwrap_err();
        let shown = raw.chars().take(100).collect::<String>();
        assert_eq!(error.cause(), cause, "{shown}: {error}");
        assert_eq!(
            (error.id(), error.task(), error.delivery_tag().unwrap_or("")),
            (Some("7"), Some("t"), tag),
            "{shown}"
        );
    }
    // A body of protocol 1 names the task itself.
    let raw = json!({"body": r#"{"id":"7","task":"t","args":[],"kwargs":{},"timelimit":5}"#});
    let error = Task::decode_redis(raw.to_string().as_bytes()).unwrap_err();
    assert_eq!(
        (error.cause(), error.id(), error.task()),
        (Cause::Field, Some("7"), Some("t"))
    );
}

#[test]
fn an_id_or_a_name_that_would_forge_a_log_line_or_a_key_is_a_malformed_field() {
    let decode = |id: &str, task: &str| {
        let raw = json!({"body": "[[],{},null]", "headers": {"id": id, "task": task}});
        Task::decode_redis(raw.to_string().as_bytes())
    };
    let long = "x".repeat(256);
    for bad in ["a\nb", "a\r", "\u{1b}[2J", "\0", "\u{7f}", "a\u{85}", &long] {
        let error = decode(bad, "t").unwrap_err();
        assert_eq!(
            (error.cause(), error.id(), error.task()),
            (Cause::Field, None, Some("t")),
            "{bad:?}"
        );
        let error = decode("1", bad).unwrap_err();
        assert_eq!(
            (error.cause(), error.id(), error.task()),
            (Cause::Field, Some("1"), None),
            "{bad:?}"
        );
        assert!(!error.detail().contains(char::is_control), "{bad:?}");
    }
    // The names are also missing if a message is refused for another reason.
    for raw in [
        r#"{"headers":{"id":"a\nb","task":"\u001b"}}"#,
        r#"{"headers":{"id":"a\nb","task":"\u001b"},"#,
    ] {
        let error = Task::decode_redis(raw.as_bytes()).unwrap_err();
        assert_eq!((error.id(), error.task()), (None, None), "{raw}");
    }
    // Names that Python programs really use.
    for good in [
        "7984eb8a-d938-486d-8d34-8897efb04d94",
        "für später: 1/2 [3] {4}",
        "проект.задача",
        "a b",
        &long[1..],
    ] {
        assert!(decode(good, good).is_ok(), "{good:?}");
    }
}

#[test]
fn protocol_1_has_no_chain() {
    let body = |more: &str| format!(r#"{{"task":"t","id":"1","args":[],"kwargs":{{}}{more}}}"#);
    for headers in [json!({}), json!({"task": "t", "id": "1"})] {
        for chain in [
            r#","chain":[{"task":"x"}]"#,
            r#","chain":{}"#,
            r#","chain":"x""#,
        ] {
            let raw = json!({"body": body(chain), "headers": headers}).to_string();
            let task = Task::decode_redis(raw.as_bytes()).unwrap();
            assert!(task.embed.chain.is_none(), "{raw}");
        }
        let raw = json!({"body": body(r#","chord":{"task":"x"}"#), "headers": headers}).to_string();
        assert!(
            Task::decode_redis(raw.as_bytes())
                .unwrap()
                .embed
                .chord
                .is_some()
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn members_of_another_kind_are_read_as_python_reads_them() {
    let task = |headers: serde_json::Value, body: &str| {
        let mut all = json!({"task": "t", "id": "1"});
        let (all_members, more) = (all.as_object_mut().unwrap(), headers);
        all_members.extend(more.as_object().unwrap().clone());
        let raw = json!({"body": body, "headers": all}).to_string();
        Task::decode_redis(raw.as_bytes())
    };
    let plain = "[[],{},null]";
    for (retries, expected) in [
        (json!("2"), 2),
        (json!(" 2 "), 2),
        (json!("two"), 0),
        (json!(-1), 0),
        (json!(1.9), 1),
        (json!(true), 1),
        (json!([]), 0),
        (json!(99_999_999_999_u64), u32::MAX),
    ] {
        let read = task(json!({ "retries": retries }), plain).unwrap();
        assert_eq!(read.retries, expected, "{retries}");
    }
    for (limits, hard, soft) in [
        (json!(["10", 5]), Some(10.0), Some(5.0)),
        (json!(["ten", true]), None, Some(1.0)),
        (json!([]), None, None),
        (json!("ab"), None, None),
        (json!({"a": 1, "b": 2}), None, None),
    ] {
        let read = task(json!({ "timelimit": limits }), plain).unwrap();
        assert_eq!(
            (read.time_limit.hard, read.time_limit.soft),
            (hard, soft),
            "{limits}"
        );
    }
    for limits in [
        json!(10),
        json!([10]),
        json!([1, 2, 3]),
        json!("a"),
        json!({"a": 1}),
    ] {
        assert!(
            task(json!({ "timelimit": limits }), plain).is_err(),
            "{limits}"
        );
    }
    for (args, expected) in [
        ("{}", "[]"),
        (r#"{"a":1,"b":2,"a":3}"#, r#"["a","b"]"#),
        (r#""""#, "[]"),
        (r#""a\u00e9\"""#, r#"["a","é","\""]"#),
    ] {
        let read = task(json!({}), &format!("[{args},{{}},0]")).unwrap();
        assert_eq!(read.args.get(), expected);
        // A task that was read can be sent again.
        assert!(
            read.encode_redis(&celery_protocol::message::EncodeOptions::new("q", "t"))
                .is_ok()
        );
    }
    let datetime = json!({"__type__": "datetime", "__value__": "2026-01-02T03:04:05+00:00"});
    let read = task(
        json!({"eta": datetime, "group": 5, "ignore_result": "no"}),
        plain,
    )
    .unwrap();
    assert_eq!(
        read.eta.map(|eta| eta.to_string()).as_deref(),
        Some("2026-01-02T03:04:05+00:00")
    );
    assert_eq!(
        (read.group.as_deref(), read.ignore_result),
        (Some("5"), Some(true))
    );
    let date = json!({"__type__": "date", "__value__": "2026-01-02"});
    assert!(task(json!({ "eta": date }), plain).is_err());

    let embed = |embed: &str, headers| task(headers, &format!("[[],{{}},{{{embed}}}]"));
    let read = embed(
        r#""errbacks":"x","callbacks":{},"chain":"","chord":5"#,
        json!({}),
    )
    .unwrap();
    assert_eq!(
        read.embed.errbacks.as_deref().map(RawValue::get),
        Some(r#"["x"]"#)
    );
    assert!(
        read.embed.callbacks.is_none() && read.embed.chain.is_none() && read.embed.chord.is_none()
    );
    assert!(embed(r#""chord":5"#, json!({"group": "g"})).is_err());
    for wrong in [
        r#""callbacks":5"#,
        r#""callbacks":{"task":"x"}"#,
        r#""chain":"x""#,
    ] {
        assert!(embed(wrong, json!({})).is_err(), "{wrong}");
    }
    // Python treats these headers as missing.
    let raw = json!({"body": r#"{"task":"t","id":"1"}"#, "headers": [], "content-encoding": "x"});
    let raw = raw.to_string();
    assert!(Task::decode_redis(raw.as_bytes()).is_ok());
    assert!(celery_protocol::message::mark_redelivered(raw.as_bytes()).is_ok());
    for content_type in [json!(5), json!([]), json!("x")] {
        let raw = json!({"body": plain, "headers": {"task": "t", "id": "1"}, "content-type": content_type});
        let error = Task::decode_redis(raw.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.cause(), Cause::ContentDisallowed);
    }
}
