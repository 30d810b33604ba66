//! Messages written by a template equal those of the encoder of all tasks.

use proptest::prelude::*;

use super::*;

fn raw(json: impl Into<String>) -> Box<RawValue> {
    RawValue::from_string(json.into()).unwrap()
}

fn options<'a>(queue: &'a str, sender: [&'a str; 2]) -> EncodeOptions<'a> {
    EncodeOptions::new(queue, "tag")
        .lang("php")
        .origin(sender[0])
        .reply_to(sender[1])
}

const IDS: [[u8; 16]; 2] = [[7; 16], [0xe5; 16]];

/// Returns the text of a UUID.
fn text_of(uuid: [u8; 16]) -> String {
    let hex = uuid.map(|byte| format!("{byte:02x}")).concat();
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

/// Writes a message by its template, and by the encoder of all tasks.
fn both(
    name: &str,
    options: &EncodeOptions<'_>,
    [id, tag]: [[u8; 16]; 2],
    args: &RawValue,
    kwargs: &RawValue,
) -> [Result<Vec<u8>, EncodeError>; 2] {
    let given = |json: &RawValue, empty| Some(json.to_owned()).filter(|json| json.get() != empty);
    let filled = Template::new(name, options).and_then(|template| {
        let template = template.unwrap();
        let call = Call::new(id, tag, given(args, "[]"), given(kwargs, "{}"))?;
        let mut scratch = Scratch::default();
        // The memory of an earlier message changes nothing.
        let (mut first, mut second) = (Vec::new(), Vec::new());
        template.message(&call, &mut scratch).write(&mut first);
        let message = template.message(&call, &mut scratch);
        message.write(&mut second);
        assert_eq!(first, second);
        assert_eq!(message.len(), first.len());
        let size = template.size(&call);
        assert!(
            size >= first.len() / 2 && size <= first.len() * 2 + 1_024,
            "{size}"
        );
        Ok(first)
    });
    let mut options = options.clone();
    let [id, tag] = [id, tag].map(text_of);
    options.delivery_tag = &tag;
    let task = Task::new(id, name, args.to_owned(), kwargs.to_owned());
    [filled, task.encode_redis(&options)]
}

proptest! {
    #[test]
    fn a_template_writes_what_the_encoder_writes(
        name in "\\PC{1,40}",
        queue in "\\PC{1,20}",
        ids in any::<[[u8; 16]; 2]>(),
        origin in "\\PC{0,9}",
        reply_to in "\\PC{0,9}",
        texts in prop::collection::vec(".{0,900}", 0..4),
        number in any::<i64>(),
    ) {
        let args = raw(serde_json::to_string(&texts).unwrap());
        let kwargs = raw(serde_json::json!({ "n": number, "t": texts }).to_string());
        let options = options(&queue, [&origin, &reply_to]);
        for kwargs in [&kwargs, &raw("{}")] {
            let [filled, encoded] = both(&name, &options, ids, &args, kwargs);
            prop_assert_eq!(filled.unwrap(), encoded.unwrap());
        }
    }
}

#[test]
fn odd_texts_are_written_as_by_the_encoder() {
    let long = "x".repeat(70_000);
    let deep = "[".repeat(40) + &"]".repeat(40);
    for text in [
        "",
        "'",
        "\\u0001",
        "\"\\u0001\"",
        "a\"b",
        "\u{1}",
        "é☃𝄞",
        &long,
    ] {
        let args = raw(serde_json::to_string(&[text]).unwrap());
        let name = format!("n{}", text.replace('\u{1}', ""))
            .chars()
            .take(60)
            .collect::<String>();
        let options = options(&name, ["php1@host", "reply"]);
        for kwargs in ["{}", "{ }", r#"{"a":[{"b":[1.0,null]}]}"#] {
            let [filled, encoded] = both(&name, &options, IDS, &args, &raw(kwargs));
            assert_eq!(filled.unwrap(), encoded.unwrap(), "{name}");
        }
    }
    let options = options("q", ["", ""]);
    let [filled, encoded] = both("n", &options, IDS, &raw(deep), &raw("{}"));
    assert_eq!(filled.unwrap(), encoded.unwrap());
}

#[test]
fn what_the_encoder_refuses_is_refused() {
    let (args, kwargs) = (raw("[]"), raw("{}"));
    let long = "x".repeat(256);
    for (name, queue, arguments) in [
        ("", "q", [&args, &kwargs]),
        ("a\u{1}", "q", [&args, &kwargs]),
        ("n", "", [&args, &kwargs]),
        ("n", "q\n", [&args, &kwargs]),
        ("n", &long, [&args, &kwargs]),
        ("n", "q", [&kwargs, &kwargs]),
        ("n", "q", [&args, &args]),
    ] {
        let options = options(queue, ["o", "r"]);
        let [filled, encoded] = both(name, &options, IDS, arguments[0], arguments[1]);
        assert_eq!(
            filled.unwrap_err().to_string(),
            encoded.unwrap_err().to_string()
        );
    }
}

#[test]
fn other_forms_have_no_template() {
    let plain = options("q", ["o", "r"]);
    let gzip = crate::compression::Compression::from_name("gzip");
    for options in [
        plain.clone().protocol(Protocol::V1),
        plain.clone().serializer(Serializer::Msgpack),
        plain.clone().compression(gzip),
        // A sender whose name holds a mark.
        plain.clone().origin("a\"\u{1}"),
        plain.clone().reply_to("\u{3}"),
    ] {
        assert!(Template::new("n", &options).unwrap().is_none());
    }
    assert!(Template::new("n", &plain).unwrap().is_some());
}
