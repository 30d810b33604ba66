//! Input that is large or has very many parts: reading has limits, and takes time that grows
//! linearly. A reader whose time grew with the square would exceed the suite's time limit here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use celery_protocol::compression::Compression;
use celery_protocol::fields::{Fields, MAX_MEMBERS};
use celery_protocol::message::{
    Cause, DEFAULT_MAX_UNPACKED, DecodeError, DecodeOptions, Task, mark_redelivered,
};
use celery_protocol::result::{ResultDoc, ResultError};
use celery_protocol::serializer::Serializer;
use serde_json::json;

/// The number of parts. A reader whose time grows with the square of it would not finish.
const VERY_MANY: usize = 200_000;

/// Returns the inside of an object of `count` members, each with its own name.
fn members(count: usize) -> String {
    let members: Vec<String> = (0..count).map(|nth| format!("\"h{nth}\":{nth}")).collect();
    members.join(",")
}

fn decode(headers: &str, properties: &str, embed: &str) -> Result<Task, DecodeError> {
    let body = STANDARD.encode(format!("[[],{{}},{{{embed}}}]"));
    let comma = |members: &str| if members.is_empty() { "" } else { "," };
    let (c1, c2) = (comma(headers), comma(properties));
    let raw = format!(
        r#"{{"body":"{body}","headers":{{"task":"t","id":"1"{c1}{headers}}},"properties":{{"body_encoding":"base64"{c2}{properties}}}}}"#
    );
    // Marking the message must be fast, too.
    mark_redelivered(raw.as_bytes()).unwrap();
    Task::decode_redis(raw.as_bytes())
}

#[test]
fn objects_of_very_many_members_are_refused() {
    let many = members(VERY_MANY);
    let stamps = format!("\"stamps\":{{{many}}}");
    for outcome in [
        decode(&many, "", ""),
        decode("", &many, ""),
        decode("", "", &many),
        decode(&stamps, "", ""),
    ] {
        let error = outcome.unwrap_err();
        assert_eq!((error.cause(), error.id()), (Cause::TooLarge, Some("1")));
        let says = error.detail().ends_with(": more than 10000 members");
        assert!(says, "{}", error.detail());
    }
    let doc = format!("{{\"status\":\"SUCCESS\",\"result\":1,{many}}}");
    for decode in [ResultDoc::decode, ResultDoc::decode_any] {
        assert_eq!(
            decode(doc.as_bytes()).unwrap_err(),
            ResultError::Invalid("more than 10000 members".to_owned())
        );
    }
    assert!(serde_json::from_str::<Fields>(&format!("{{{many}}}")).is_err());
}

#[test]
fn as_many_members_as_are_allowed_are_read_in_order() {
    let many = members(MAX_MEMBERS);
    let stamps = format!("{many},\"stamps\":{{{many}}}");
    let task = decode(&stamps, &many, &many).unwrap();
    for fields in [
        &task.headers,
        &task.stamps,
        &task.properties.extra,
        &task.embed.extra,
    ] {
        let names = fields.iter().map(|(name, _)| name.to_owned());
        assert!(names.eq((0..MAX_MEMBERS).map(|nth| format!("h{nth}"))));
    }
    assert!(serde_json::from_str::<Fields>(&format!("{{{many}}}")).is_ok());
    let one_more = format!("{many},\"last\":1");
    assert!(decode(&one_more, "", "").is_err());
    assert!(serde_json::from_str::<Fields>(&format!("{{{one_more}}}")).is_err());
}

#[test]
fn a_name_repeated_very_often_is_one_member() {
    let same = vec!["\"h\":1"; VERY_MANY].join(",");
    assert_eq!(decode(&same, "", "").unwrap().headers.len(), 1);
}

#[test]
fn arguments_may_have_very_many_members() {
    let many = members(VERY_MANY);
    let body = STANDARD.encode(format!("[[{{{many}}}],{{{many}}},null]"));
    let raw = format!(
        r#"{{"body":"{body}","headers":{{"task":"t","id":"1"}},"properties":{{"body_encoding":"base64"}}}}"#
    );
    assert!(Task::decode_redis(raw.as_bytes()).is_ok());
    let doc = format!("{{\"status\":\"SUCCESS\",\"result\":{{{many}}}}}");
    assert!(ResultDoc::decode(doc.as_bytes()).is_ok());
}

#[test]
fn sixty_four_mebibytes_are_read_in_one_piece() {
    let argument = "x".repeat(47 << 20);
    let body = format!("[[\"{argument}\"],{{}},null]");
    let raw = envelope(body.as_bytes(), Serializer::Json, None);
    assert!(raw.len() > 62 << 20);
    let read = Task::decode_redis(&raw).unwrap();
    assert_eq!(read.args.get().len(), argument.len() + 4);
}

fn envelope(body: &[u8], serializer: Serializer, compression: Option<Compression>) -> Vec<u8> {
    let mut headers = json!({"task": "t", "id": "1"});
    if let Some(compression) = compression {
        headers["compression"] = json!(compression.content_type());
    }
    serde_json::to_vec(&json!({
        "body": STANDARD.encode(body), "content-type": serializer.content_type(), "headers": headers,
        "properties": {"body_encoding": "base64"},
    }))
    .unwrap()
}

#[test]
fn what_grows_in_the_reading_has_a_limit_of_its_own() {
    let body =
        |length: usize| format!("[[\"{}\"],{{}},null]", "x".repeat(length - 14)).into_bytes();
    let format = Compression::Zlib;
    let packed = |length: usize| {
        let body = body(length);
        assert_eq!(body.len(), length);
        envelope(
            &format.compress(&body).unwrap(),
            Serializer::Json,
            Some(format),
        )
    };
    let decode = |raw: &[u8], options: &DecodeOptions<'_>| {
        Task::decode_redis_with(raw, options).map_err(|error| error.cause())
    };
    let default = DecodeOptions::default();
    assert_eq!(
        decode(&packed(DEFAULT_MAX_UNPACKED + 1), &default).unwrap_err(),
        Cause::TooLarge
    );
    let small = DecodeOptions::default().max_unpacked(10_000);
    assert!(decode(&packed(10_000), &small).is_ok());
    assert_eq!(
        decode(&packed(10_001), &small).unwrap_err(),
        Cause::TooLarge
    );
    // Without compression the body may be larger.
    let plain = envelope(&body(10_001), Serializer::Json, None);
    assert!(decode(&plain, &small).is_ok());
    // No setting permits a body beyond the limit of plain bodies.
    let large = DecodeOptions::default().max_body(5_000);
    assert_eq!(decode(&packed(5_001), &large).unwrap_err(), Cause::TooLarge);

    let yaml = format!(
        "- - &a {}\n  - [{}]\n- {{}}\n- null\n",
        "x".repeat(1_000),
        ["*a"; 1_000].join(", ")
    );
    let raw = envelope(yaml.as_bytes(), Serializer::Yaml, None);
    let options = DecodeOptions::default().accept(&[Serializer::Yaml]);
    assert!(Task::decode_redis_with(&raw, &options).is_ok());
    let error = Task::decode_redis_with(&raw, &options.max_unpacked(1_000_000)).unwrap_err();
    assert_eq!(error.cause(), Cause::TooLarge);
}

#[test]
fn a_compressed_result_has_the_limit_of_a_compressed_message() {
    let stored = |length: usize| {
        let doc = format!(
            "{{\"status\":\"SUCCESS\",\"result\":\"{}\"}}",
            "x".repeat(length)
        );
        let packed = Compression::Zlib.compress(doc.as_bytes()).unwrap();
        [b"\0celery-compressed\0application/x-gzip\0", &*packed].concat()
    };
    assert!(ResultDoc::decode_any(&stored(1_000)).is_ok());
    assert!(matches!(
        ResultDoc::decode_any(&stored(DEFAULT_MAX_UNPACKED)),
        Err(ResultError::Compression(_))
    ));
}
