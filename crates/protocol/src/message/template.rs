//! The envelope of tasks that have only a name and arguments, written once for many messages.
//!
//! Most posts differ only in ids, arguments and delivery tag. A template holds the text around them.
//! It is cut out of an envelope that [`Task::encode_redis`]'s own code has written around marks, so
//! that both always write equal messages.

use memchr::memmem;
use serde_json::value::RawValue;

use super::encode::{is_array, is_object};
use super::{EncodeError, EncodeOptions, Protocol, Task};
use crate::base64;
use crate::json::swar::{self, plain_run};
use crate::json::write;
use crate::names::{self, MAX_NAME_BYTES, NameError};
use crate::repr;
use crate::serializer::Serializer;

/// The beginning of every envelope, before the base64 of its body.
const BEFORE_BODY: &[u8] = b"{\"body\":\"";
/// The beginning of the body of a task without arguments, before its embedded signatures.
const EMPTY_ARGUMENTS: &[u8] = b"[[],{}";
/// The beginning of a mark as JSON writes it. A digit and a quote follow.
const MARK: &[u8] = b"\"\\u000";
/// The texts in place of the gaps: control characters, which names cannot have.
const ID_MARK: &str = "\u{1}";
const TAG_MARK: &str = "\u{2}";
const ARGS_MARK: &str = "\u{3}";
const KWARGS_MARK: &str = "\u{4}";

/// A place in the envelope that is filled for each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Id,
    Args,
    Kwargs,
    Tag,
}

/// The gaps of an envelope, in their order: id, root id, the arguments as text, correlation id, tag.
const GAPS: [Gap; 6] = [Gap::Id, Gap::Id, Gap::Args, Gap::Kwargs, Gap::Id, Gap::Tag];

/// The envelope of one task type on its way to one queue, without what each message has of its own.
#[derive(Clone, Debug)]
pub struct Template {
    /// The text before each gap, without the beginning of the envelope.
    before: [Box<[u8]>; GAPS.len()],
    /// The text after the last gap.
    end: Box<[u8]>,
    /// The part of the body after the arguments.
    embed: Box<[u8]>,
    /// The length of all texts.
    length: usize,
}

/// What a message has of its own.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The task's id.
    pub id: &'a str,
    /// A fresh UUID, the broker's id of this message.
    pub delivery_tag: &'a str,
    /// The positional arguments, a JSON array, if there are any.
    pub args: Option<&'a RawValue>,
    /// The keyword arguments, a JSON object, if there are any.
    pub kwargs: Option<&'a RawValue>,
}

/// Memory that is used again for each message.
#[derive(Debug, Default)]
pub struct Scratch {
    shown: String,
    id: Vec<u8>,
    tag: Vec<u8>,
    args: Vec<u8>,
    kwargs: Vec<u8>,
}

impl Template {
    /// Writes the envelope of a task with this name. The options' delivery tag is ignored.
    ///
    /// Returns `None` if the options ask for anything but protocol 2 in uncompressed JSON.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Name`] if the task, the queue or the exchange has a name that cannot be used.
    pub fn new(name: &str, options: &EncodeOptions<'_>) -> Result<Option<Self>, EncodeError> {
        if options.protocol != Protocol::V2
            || options.serializer != Serializer::Json
            || options.compression.is_some()
        {
            return Ok(None);
        }
        names::check_task_name(name)?;
        names::check_queue_name(options.queue)?;
        if !options.exchange.is_empty() {
            names::check_queue_name(options.exchange)?;
        }
        let empty = |json: &str| RawValue::from_string(json.to_owned());
        let (Ok(args), Ok(kwargs)) = (empty("[]"), empty("{}")) else {
            return Ok(None);
        };
        let mut task = Task::new(ID_MARK, name, args, kwargs);
        task.argsrepr = Some(ARGS_MARK.to_owned());
        task.kwargsrepr = Some(KWARGS_MARK.to_owned());
        let mut options = options.clone();
        options.delivery_tag = TAG_MARK;
        let mut body = Vec::new();
        task.write_body(&mut body, [task.args.get(), task.kwargs.get()]);
        let embed = body.strip_prefix(EMPTY_ARGUMENTS);
        let envelope = task.write_envelope(&[], &options);
        let envelope = envelope.strip_prefix(BEFORE_BODY);
        Ok(embed
            .zip(envelope)
            .and_then(|(embed, text)| Self::cut(text, embed)))
    }

    /// Cuts an envelope at its marks. Returns `None` if they are not those expected: the sender's
    /// own texts, which are not checked, could hold one.
    fn cut(envelope: &[u8], embed: &[u8]) -> Option<Self> {
        let mut before = [const { Vec::new() }; GAPS.len()].map(Vec::into_boxed_slice);
        let mut rest = envelope;
        for (text, gap) in before.iter_mut().zip(GAPS) {
            let at = memmem::find(rest, MARK)?;
            let (start, mark) = rest.split_at(at);
            let (digit, after) = mark[MARK.len()..].split_first_chunk::<2>()?;
            let found = match digit {
                b"1\"" => Gap::Id,
                b"2\"" => Gap::Tag,
                b"3\"" => Gap::Args,
                b"4\"" => Gap::Kwargs,
                _ => return None,
            };
            if found != gap {
                return None;
            }
            *text = start.into();
            rest = after;
        }
        if memmem::find(rest, MARK).is_some() {
            return None;
        }
        Some(Self {
            before,
            end: rest.into(),
            embed: embed.into(),
            length: BEFORE_BODY.len() + envelope.len() + embed.len(),
        })
    }

    /// Writes the message of a call in place of the contents of `out`: one element of a Redis queue,
    /// as [`Task::encode_redis`] writes it.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the id or the delivery tag cannot be used, or the arguments are not an
    /// array and an object.
    pub fn fill(
        &self,
        out: &mut Vec<u8>,
        call: &Call<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), EncodeError> {
        quote_id(&mut scratch.id, call.id, names::check_task_id)?;
        quote_id(
            &mut scratch.tag,
            call.delivery_tag,
            names::check_delivery_tag,
        )?;
        if call.args.is_some_and(|args| !is_array(args)) {
            return Err(EncodeError::Args);
        }
        if call.kwargs.is_some_and(|kwargs| !is_object(kwargs)) {
            return Err(EncodeError::Kwargs);
        }
        let mut shown = std::mem::take(&mut scratch.shown);
        match call.args {
            Some(args) => {
                shown = repr::args_in(shown, args.get());
                quote(&mut scratch.args, &shown);
            }
            None => set(&mut scratch.args, b"\"()\""),
        }
        match call.kwargs {
            Some(kwargs) => {
                shown = repr::value_in(shown, kwargs.get(), repr::MAX_CHARS);
                quote(&mut scratch.kwargs, &shown);
            }
            None => set(&mut scratch.kwargs, b"\"{}\""),
        }
        scratch.shown = shown;

        let args = call.args.map_or("[]", RawValue::get).as_bytes();
        let kwargs = call.kwargs.map_or("{}", RawValue::get).as_bytes();
        let body: [&[u8]; 5] = [b"[", args, b",", kwargs, &self.embed];
        let length = body.iter().map(|part| part.len()).sum();
        let own = scratch.args.len() + scratch.kwargs.len() + scratch.id.len() * 3;
        let length = self.length + base64::encoded_len(length) + own + scratch.tag.len();
        out.clear();
        out.reserve(length);
        out.extend_from_slice(BEFORE_BODY);
        base64::encode_parts(out, &body);
        for (text, gap) in self.before.iter().zip(GAPS) {
            out.extend_from_slice(text);
            out.extend_from_slice(match gap {
                Gap::Id => &scratch.id,
                Gap::Args => &scratch.args,
                Gap::Kwargs => &scratch.kwargs,
                Gap::Tag => &scratch.tag,
            });
        }
        out.extend_from_slice(&self.end);
        Ok(())
    }
}

/// Writes a checked id as a JSON string. The usual id is printable ASCII without escapes, which
/// makes it a valid name, too.
fn quote_id(
    out: &mut Vec<u8>,
    id: &str,
    check: fn(&str) -> Result<(), NameError>,
) -> Result<(), EncodeError> {
    let special =
        |word| swar::unprintable(word) | swar::equal(word, b'"') | swar::equal(word, b'\\');
    let length = id.len();
    if (1..=MAX_NAME_BYTES).contains(&length) && plain_run(id.as_bytes(), special) == length {
        out.clear();
        out.push(b'"');
        out.extend_from_slice(id.as_bytes());
        out.push(b'"');
    } else {
        check(id)?;
        quote(out, id);
    }
    Ok(())
}

fn set(out: &mut Vec<u8>, text: &[u8]) {
    out.clear();
    out.extend_from_slice(text);
}

fn quote(out: &mut Vec<u8>, text: &str) {
    out.clear();
    write::string(out, text);
}

#[cfg(test)]
mod tests {
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

    /// Writes a message by its template, and by the encoder of all tasks.
    fn both(
        name: &str,
        options: &EncodeOptions<'_>,
        [id, tag]: [&str; 2],
        args: &RawValue,
        kwargs: &RawValue,
    ) -> [Result<Vec<u8>, EncodeError>; 2] {
        let call = Call {
            id,
            delivery_tag: tag,
            args: Some(args).filter(|args| args.get() != "[]"),
            kwargs: Some(kwargs).filter(|kwargs| kwargs.get() != "{}"),
        };
        let filled = Template::new(name, options).and_then(|template| {
            let template = template.unwrap();
            let mut scratch = Scratch::default();
            // The memory of an earlier message changes nothing.
            let (mut first, mut second) = (Vec::new(), b"an earlier message".to_vec());
            template.fill(&mut first, &call, &mut scratch)?;
            template.fill(&mut second, &call, &mut scratch)?;
            assert_eq!(first, second);
            Ok(first)
        });
        let mut options = options.clone();
        options.delivery_tag = tag;
        let task = Task::new(id, name, args.to_owned(), kwargs.to_owned());
        [filled, task.encode_redis(&options)]
    }

    proptest! {
        #[test]
        fn a_template_writes_what_the_encoder_writes(
            name in "\\PC{1,40}",
            queue in "\\PC{1,20}",
            id in "[ -~é]{1,40}",
            tag in "[0-9a-f-]{36}|\\PC{1,9}",
            origin in "\\PC{0,9}",
            reply_to in "\\PC{0,9}",
            texts in prop::collection::vec(".{0,900}", 0..4),
            number in any::<i64>(),
        ) {
            let args = raw(serde_json::to_string(&texts).unwrap());
            let kwargs = raw(serde_json::json!({ "n": number, "t": texts }).to_string());
            let options = options(&queue, [&origin, &reply_to]);
            for kwargs in [&kwargs, &raw("{}")] {
                let [filled, encoded] = both(&name, &options, [&id, &tag], &args, kwargs);
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
                let [filled, encoded] = both(&name, &options, ["id", "tag"], &args, &raw(kwargs));
                assert_eq!(filled.unwrap(), encoded.unwrap(), "{name}");
            }
        }
        let options = options("q", ["", ""]);
        let [filled, encoded] = both("n", &options, ["id", "t"], &raw(deep), &raw("{}"));
        assert_eq!(filled.unwrap(), encoded.unwrap());
    }

    #[test]
    fn what_the_encoder_refuses_is_refused() {
        let (args, kwargs) = (raw("[]"), raw("{}"));
        let long = "x".repeat(256);
        for (name, queue, ids, arguments) in [
            ("", "q", ["id", "tag"], [&args, &kwargs]),
            ("a\u{1}", "q", ["id", "tag"], [&args, &kwargs]),
            ("n", "", ["id", "tag"], [&args, &kwargs]),
            ("n", "q\n", ["id", "tag"], [&args, &kwargs]),
            ("n", &long, ["id", "tag"], [&args, &kwargs]),
            ("n", "q", ["", "tag"], [&args, &kwargs]),
            ("n", "q", ["i\u{7f}", "tag"], [&args, &kwargs]),
            ("n", "q", [&long, "tag"], [&args, &kwargs]),
            ("n", "q", ["id", ""], [&args, &kwargs]),
            ("n", "q", ["id", "\u{2}"], [&args, &kwargs]),
            ("n", "q", ["id", "tag"], [&kwargs, &kwargs]),
            ("n", "q", ["id", "tag"], [&args, &args]),
        ] {
            let options = options(queue, ["o", "r"]);
            let [filled, encoded] = both(name, &options, ids, arguments[0], arguments[1]);
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
}
