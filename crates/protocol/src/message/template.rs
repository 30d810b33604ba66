//! The envelope of tasks that have only a name and arguments, written once for many messages.
//!
//! Most posts differ only in ids, arguments and delivery tag. A template holds the text around them.
//! It is cut out of an envelope that [`Task::encode_redis`]'s own code has written around marks, so
//! that both always write equal messages.

#[cfg(test)]
mod tests;

use memchr::memmem;
use serde_json::value::RawValue;

use super::encode::{is_array, is_object};
use super::{EncodeError, EncodeOptions, Protocol, Task};
use crate::base64;
use crate::json::write;
use crate::names;
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

/// The number of characters of a UUID.
const UUID: usize = 36;

/// The two hexadecimal digits of each byte. Every post looks up two UUIDs.
static HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

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
    /// The length of the envelope's texts.
    length: usize,
}

/// What a message has of its own.
#[derive(Clone, Debug)]
pub struct Call {
    /// The text of a UUID, which is ASCII.
    id: [u8; UUID],
    delivery_tag: [u8; 16],
    args: Option<Box<RawValue>>,
    kwargs: Option<Box<RawValue>>,
}

impl Call {
    /// Joins the parts of a message: the task's id and the broker's id of this message, both fresh
    /// UUIDs, and the arguments, a JSON array and a JSON object, if there are any.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the arguments are not an array and an object.
    pub fn new(
        id: [u8; 16],
        delivery_tag: [u8; 16],
        args: Option<Box<RawValue>>,
        kwargs: Option<Box<RawValue>>,
    ) -> Result<Self, EncodeError> {
        if args.as_deref().is_some_and(|args| !is_array(args)) {
            return Err(EncodeError::Args);
        }
        if kwargs.as_deref().is_some_and(|kwargs| !is_object(kwargs)) {
            return Err(EncodeError::Kwargs);
        }
        Ok(Self {
            id: uuid_text(id),
            delivery_tag,
            args,
            kwargs,
        })
    }

    /// Returns the task's id.
    pub fn id(&self) -> &str {
        str::from_utf8(&self.id).unwrap_or_default()
    }

    /// Returns the texts of the arguments: an array and an object.
    fn arguments(&self) -> [&str; 2] {
        [
            self.args.as_deref().map_or("[]", RawValue::get),
            self.kwargs.as_deref().map_or("{}", RawValue::get),
        ]
    }

    /// Returns the number of bytes of the arguments.
    pub fn held(&self) -> usize {
        let arguments = [&self.args, &self.kwargs].into_iter().flatten();
        arguments.map(|text| text.get().len()).sum()
    }

    /// Returns the task's id and its positional arguments.
    pub fn into_parts(self) -> (String, Option<Box<RawValue>>) {
        (self.id().to_owned(), self.args)
    }
}

/// Memory that is used again for each message.
#[derive(Debug, Default)]
pub struct Scratch {
    shown: String,
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

    /// Cuts an envelope at its marks. Returns `None` if the envelope has other marks than the
    /// expected ones: the sender's own texts are not checked, so they could hold a mark.
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
        let marks = GAPS.len() * (MARK.len() + 2);
        Some(Self {
            before,
            end: rest.into(),
            embed: embed.into(),
            length: BEFORE_BODY.len() + envelope.len() - marks,
        })
    }

    /// Returns about the number of bytes of the texts that the template keeps.
    pub fn held(&self) -> usize {
        self.length + self.embed.len()
    }

    /// Returns about the number of bytes that the message of a call has.
    pub fn size(&self, call: &Call) -> usize {
        let arguments: usize = call.arguments().iter().map(|text| text.len()).sum();
        self.length
            + base64::encoded_len(arguments + self.embed.len())
            + arguments.min(repr::MAX_CHARS)
    }

    /// Prepares the message of a call: one element of a Redis queue, as [`Task::encode_redis`] writes
    /// it.
    pub fn message<'a>(&'a self, call: &'a Call, scratch: &'a mut Scratch) -> Message<'a> {
        let mut shown = std::mem::take(&mut scratch.shown);
        match &call.args {
            Some(args) => {
                shown = repr::args_in(shown, args.get());
                quote(&mut scratch.args, &shown);
            }
            None => set(&mut scratch.args, b"\"()\""),
        }
        match &call.kwargs {
            Some(kwargs) => {
                shown = repr::value_in(shown, kwargs.get(), repr::MAX_CHARS);
                quote(&mut scratch.kwargs, &shown);
            }
            None => set(&mut scratch.kwargs, b"\"{}\""),
        }
        scratch.shown = shown;

        let [args, kwargs] = call.arguments();
        let body: [&[u8]; 5] = [b"[", args.as_bytes(), b",", kwargs.as_bytes(), &self.embed];
        let body_length = body.iter().map(|part| part.len()).sum();
        let uuids = GAPS.len() - 2;
        let own = scratch.args.len() + scratch.kwargs.len() + uuids * (UUID + 2);
        Message {
            template: self,
            body,
            length: self.length + base64::encoded_len(body_length) + own,
            id: quote_uuid(call.id),
            tag: quote_uuid(uuid_text(call.delivery_tag)),
            own: scratch,
        }
    }
}

/// A message ready to be written.
#[derive(Debug)]
pub struct Message<'a> {
    template: &'a Template,
    body: [&'a [u8]; 5],
    id: [u8; UUID + 2],
    tag: [u8; UUID + 2],
    own: &'a Scratch,
    length: usize,
}

impl Message<'_> {
    /// Returns the number of bytes.
    #[expect(clippy::len_without_is_empty, reason = "no message is empty")]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Appends the message.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.length);
        out.extend_from_slice(BEFORE_BODY);
        base64::encode_parts(out, &self.body);
        for (text, gap) in self.template.before.iter().zip(GAPS) {
            out.extend_from_slice(text);
            out.extend_from_slice(match gap {
                Gap::Id => &self.id[..],
                Gap::Args => &self.own.args,
                Gap::Kwargs => &self.own.kwargs,
                Gap::Tag => &self.tag,
            });
        }
        out.extend_from_slice(&self.template.end);
    }
}

/// Returns the text of a UUID.
fn uuid_text(uuid: [u8; 16]) -> [u8; UUID] {
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(uuid) {
        pair.copy_from_slice(&HEX[usize::from(byte)]);
    }
    let mut text = [b'-'; UUID];
    for (place, group) in [
        (0, 0..8),
        (9, 8..12),
        (14, 12..16),
        (19, 16..20),
        (24, 20..32),
    ] {
        text[place..place + group.len()].copy_from_slice(&digits[group]);
    }
    text
}

/// Returns the text of a UUID as a JSON string. It has no characters to escape.
fn quote_uuid(text: [u8; UUID]) -> [u8; UUID + 2] {
    let mut quoted = [b'"'; UUID + 2];
    quoted[1..=UUID].copy_from_slice(&text);
    quoted
}

fn set(out: &mut Vec<u8>, text: &[u8]) {
    out.clear();
    out.extend_from_slice(text);
}

fn quote(out: &mut Vec<u8>, text: &str) {
    out.clear();
    write::string(out, text);
}
