//! The answers of a server, whole and in pieces.

use proptest::prelude::*;

use super::shape::MAX_LINE;
use super::*;

const LIMIT: usize = 1 << 20;

fn feed(reader: &mut ReplyReader, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let room = reader.room();
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        reader.filled(count);
        bytes = &bytes[count..];
    }
}

fn read_all(reader: &mut ReplyReader, into: &mut Vec<Value>) -> Result<(), String> {
    while let Some(value) = reader.next(Shape::Message)? {
        into.push(value);
    }
    Ok(())
}

/// Generates an answer as bytes, as Redis writes it.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|n| format!(":{n}\r\n").into_bytes()),
        "[A-Za-z ]{0,20}".prop_map(|text| format!("+{text}\r\n").into_bytes()),
        "[A-Z]{1,10} [a-z ]{0,20}".prop_map(|text| format!("-{text}\r\n").into_bytes()),
        Just(b"$-1\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|text| {
            let mut bytes = format!("${}\r\n", text.len()).into_bytes();
            bytes.extend(text);
            bytes.extend(b"\r\n");
            bytes
        }),
    ];
    let message = prop::collection::vec(leaf.clone(), 0..4).prop_map(|parts| {
        let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
        bytes.extend(parts.concat());
        bytes
    });
    prop_oneof![leaf, message, Just(b"*-1\r\n".to_vec())]
}

/// Generates a byte, often one that has a meaning in an answer.
fn odd_byte() -> impl Strategy<Value = u8> {
    let meaning = b"*$:\r\n".map(Just);
    let [array, text, number, carriage_return, line_feed] = meaning;
    let digit = b'0'..=b'9';
    prop_oneof![
        array,
        text,
        number,
        carriage_return,
        line_feed,
        digit,
        any::<u8>()
    ]
}

proptest! {
    #[test]
    fn pieces_do_not_change_the_answers(
        answers in prop::collection::vec(answers(), 1..8),
        cuts in prop::collection::vec(1usize..50, 1..40),
    ) {
        let parsed = answers.iter().map(|bytes| redis::parse_redis_value(bytes).unwrap());
        let expected: Vec<Value> = parsed.collect();
        let all = answers.concat();
        let mut reader = ReplyReader::new(LIMIT);
        let mut got = Vec::new();
        let mut rest = all.as_slice();
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (piece, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            feed(&mut reader, piece);
            read_all(&mut reader, &mut got).unwrap();
            rest = later;
        }
        prop_assert_eq!(got, expected);
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn no_bytes_make_the_reader_fail(bytes in prop::collection::vec(odd_byte(), 0..200)) {
        let mut reader = ReplyReader::new(LIMIT);
        feed(&mut reader, &bytes);
        let _ = read_all(&mut reader, &mut Vec::new());
    }
}

fn refused(shape: Shape, bytes: &[u8]) -> bool {
    let mut reader = ReplyReader::new(LIMIT);
    feed(&mut reader, bytes);
    reader.next(shape).is_err()
}

#[test]
fn a_too_large_answer_is_refused_before_it_is_allocated() {
    for bytes in [
        "$99999999999\r\n",
        "*2147483647\r\n",
        "$-2\r\n",
        "*-7\r\n",
        "$1114113\r\n",
        "!x\r\n",
        "+a\n",
        ":x\r\n",
        "$1\r\nabc",
        "*5\r\n",
        "*1\r\n*1\r\n",
        "*2\r\n:1\r\n*0\r\n",
    ] {
        for shape in [Shape::Short, Shape::Text, Shape::Message] {
            assert!(refused(shape, bytes.as_bytes()), "{shape:?} {bytes:?}");
        }
    }
    assert!(refused(Shape::Text, &vec![b'+'; MAX_LINE + 2]));
}

#[test]
fn the_ranges_of_a_scattered_cluster_are_read() {
    let slots = 16_384;
    let range = "*3\r\n:1\r\n:1\r\n*4\r\n$1\r\nh\r\n:1\r\n$2\r\nid\r\n*0\r\n";
    let answer = format!("*{slots}\r\n{}", range.repeat(slots));
    let mut reader = ReplyReader::new(16 << 20);
    feed(&mut reader, answer.as_bytes());
    let Ok(Some(Value::Array(ranges))) = reader.next(Shape::Nodes) else {
        panic!("it is refused or unfinished");
    };
    assert_eq!(ranges.len(), slots);
    assert!(refused(Shape::Listing, answer.as_bytes()));
    assert!(refused(Shape::Nodes, b"*20000000\r\n:1\r\n"));
}

#[test]
fn an_answer_has_the_shape_of_its_command() {
    let text = |size: usize| format!("${size}\r\n{}\r\n", "x".repeat(size)).into_bytes();
    let message = |size: usize| [b"*3\r\n:1\r\n:2\r\n", &*text(size)].concat();
    let cases = [
        // For each: the bytes, and whether they are valid as a short answer, as a text and as a
        // message.
        (b":1\r\n".to_vec(), [true, true, true]),
        (b"$-1\r\n".to_vec(), [true, true, true]),
        (b"-ERR no\r\n".to_vec(), [true, true, true]),
        (text(100), [true, true, true]),
        (text(MAX_LINE), [false, true, true]),
        (text(LIMIT - 100), [false, true, true]),
        (text(LIMIT), [false, false, true]),
        (text(LIMIT + MAX_LINE), [false, false, false]),
        (message(100), [false, false, true]),
        (message(LIMIT - 100), [false, false, true]),
        (b"*0\r\n".to_vec(), [false, false, true]),
        (b"*-1\r\n".to_vec(), [false, false, true]),
        (b"*1\r\n*1\r\n:1\r\n".to_vec(), [false, false, false]),
        (b"*20000000\r\n:1\r\n:1\r\n".to_vec(), [false, false, false]),
    ];
    for (bytes, accepted) in cases {
        let shapes = [Shape::Short, Shape::Text, Shape::Message];
        let got = shapes.map(|shape| !refused(shape, &bytes));
        let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(20)]).into_owned();
        assert_eq!(got, accepted, "{begin:?} of {}", bytes.len());
    }
}

/// Returns what a reader of small answers makes of these bytes.
fn read_short(bytes: &[u8]) -> Result<Option<Value>, String> {
    let mut reader = ReplyReader::new(LIMIT);
    feed(&mut reader, bytes);
    reader.next(Shape::Short)
}

#[test]
fn a_push_is_returned_in_its_place() {
    let payload = "x".repeat(MAX_LINE * 2);
    let push = format!(
        ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${}\r\n{payload}\r\n",
        payload.len()
    );
    let bytes = format!(":1\r\n{push}_\r\n{push}$1\r\na\r\n");
    for piece in [1, 7, 1000, bytes.len()] {
        let (got, outcome) = super::answers(bytes.as_bytes().chunks(piece), Shape::Short, LIMIT);
        assert_eq!(outcome, Ok(()));
        assert!(
            matches!(
                &*got,
                [
                    Value::Int(1),
                    Value::Push { .. },
                    Value::Nil,
                    Value::Push { data, .. },
                    Value::BulkString(_),
                ] if data[1] == Value::BulkString(payload.clone().into_bytes())
            ),
            "{piece}"
        );
    }
}

#[test]
fn an_odd_or_too_large_push_is_refused() {
    let text = |size: usize| format!("${size}\r\n{}\r\n", "x".repeat(size));
    let too_large = format!(">2\r\n+message\r\n{}", text(LIMIT + MAX_LINE));
    for bytes in [
        ">0\r\n",
        ">-1\r\n",
        ">x\r\n",
        ">5\r\n",
        ">99999999999\r\n",
        ">1\r\n>1\r\n",
        ">1\r\n*1\r\n",
        "*1\r\n>1\r\n:1\r\n",
        "%1\r\n:1\r\n:2\r\n",
        "_x\r\n",
        &too_large,
    ] {
        let begin: String = bytes.chars().take(20).collect();
        assert!(read_short(bytes.as_bytes()).is_err(), "{begin:?}");
    }
    for bytes in [">1\r\n", ">3\r\n+message\r\n", "_\r", ">"] {
        assert_eq!(read_short(bytes.as_bytes()), Ok(None), "{bytes:?}");
    }
}

#[test]
fn a_greeting_may_be_a_map() {
    let mut reader = ReplyReader::new(LIMIT);
    let modules = "*1\r\n%2\r\n+name\r\n+a\r\n+args\r\n*0\r\n";
    feed(
        &mut reader,
        format!("%2\r\n+proto\r\n:3\r\n+modules\r\n{modules}:7\r\n").as_bytes(),
    );
    assert!(matches!(reader.next(Shape::Hello), Ok(Some(Value::Map(_)))));
    assert_eq!(reader.next(Shape::Short), Ok(Some(Value::Int(7))));
    for bytes in ["%600\r\n", "%9999999999999999999\r\n", "%-2\r\n"] {
        let mut reader = ReplyReader::new(LIMIT);
        feed(&mut reader, bytes.as_bytes());
        assert!(reader.next(Shape::Hello).is_err(), "{bytes:?}");
    }
}

#[test]
fn unexpected_answers_are_bounded() {
    let mut reader = ReplyReader::new(LIMIT);
    reader.allow_unread(unread(10, false, LIMIT));
    feed(&mut reader, &vec![b':'; MAX_LINE + 10 * 1024]);
    assert!(!reader.is_overfull());
    feed(&mut reader, b":");
    assert!(reader.is_overfull());
    reader.allow_unread(unread(0, true, LIMIT));
    assert!(!reader.is_overfull());
}

#[test]
fn the_buffer_fits_a_large_answer() {
    let size = LIMIT - 1000;
    let mut reader = ReplyReader::new(LIMIT);
    feed(&mut reader, format!("${size}\r\n").as_bytes());
    assert_eq!(reader.next(Shape::Text), Ok(None));
    feed(&mut reader, &vec![b'x'; size]);
    feed(&mut reader, b"\r\n");
    assert!(reader.buffer.len() <= LIMIT);
    assert!(matches!(
        reader.next(Shape::Text),
        Ok(Some(Value::BulkString(_)))
    ));
}

#[test]
fn a_large_buffer_is_released() {
    let mut reader = ReplyReader::new(LIMIT);
    let text = "x".repeat(LARGE * 2);
    feed(
        &mut reader,
        format!("${}\r\n{text}\r\n", text.len()).as_bytes(),
    );
    assert_eq!(
        reader.next(Shape::Text),
        Ok(Some(Value::BulkString(text.into_bytes())))
    );
    assert!(reader.room().len() <= RESTING);
}

/// Returns how many bytes the scanner looks at before it has the whole answer.
fn looked_at(answer: &[u8], piece: usize, shape: Shape) -> usize {
    let mut scanner = Scanner::default();
    let mut arrived = 0;
    while arrived < answer.len() {
        arrived = (arrived + piece).min(answer.len());
        let whole = scanner.scan(&answer[..arrived], shape, LIMIT);
        let end = whole.map(|whole| whole.map(|whole| whole.end));
        assert_eq!(end, Ok((arrived == answer.len()).then_some(arrived)));
    }
    scanner.looked_at
}

#[test]
fn each_byte_is_looked_at_once_in_whatever_pieces_it_arrives() {
    // A byte is looked at twice: in the search for the end of a line, and when a number is read.
    const MOST: usize = 2;
    let text = |size: usize| format!("${size}\r\n{}\r\n", "x".repeat(size));
    let zeros = "0".repeat(50_000);
    let elements = text(60).repeat(500);
    let cases = [
        (Shape::Short, format!("+{}\r\n", "x".repeat(60_000))),
        (Shape::Text, format!("-ERR {}\r\n", "\r".repeat(60_000))),
        (Shape::Message, format!(":{zeros}1\r\n")),
        (Shape::Text, format!("${zeros}9\r\n123456789\r\n")),
        (Shape::Message, format!("*{zeros}1\r\n{}", text(10))),
        (Shape::Message, format!("*3\r\n{}", text(20_000).repeat(3))),
        (Shape::Hello, format!("*500\r\n{elements}")),
        (
            Shape::Hello,
            format!("{}{elements}", "*1\r\n".repeat(9) + "*500\r\n"),
        ),
        (Shape::Hello, "*2\r\n+a\r\n".repeat(90) + ":1\r\n"),
    ];
    for (shape, answer) in cases {
        let begin: String = answer.chars().take(20).collect();
        for piece in [1, 2, 7, 1_000, answer.len()] {
            let looked_at = looked_at(answer.as_bytes(), piece, shape);
            let most = MOST * answer.len();
            assert!(
                looked_at <= most,
                "{looked_at} of {begin:?} in pieces of {piece}"
            );
        }
    }
}

#[test]
fn the_bytes_of_a_text_are_not_looked_at() {
    let size = LIMIT / 2;
    let answer = format!("${size}\r\n{}\r\n", "\n".repeat(size));
    for piece in [1_000, answer.len()] {
        assert!(looked_at(answer.as_bytes(), piece, Shape::Text) < 30);
    }
}

#[test]
fn the_longest_line_does_not_depend_on_the_pieces() {
    for (more, refused) in [(0, false), (1, true), (2, true), (RESTING, true)] {
        // The first character and the carriage return count, too.
        let line = format!("+{}\r\n", "x".repeat(MAX_LINE - 2 + more));
        for piece in [1, 1_000, line.len()] {
            let (answers, outcome) =
                super::answers(line.as_bytes().chunks(piece), Shape::Text, LIMIT);
            assert_eq!(
                outcome.is_err(),
                refused,
                "{more} more in pieces of {piece}"
            );
            assert_eq!(answers.is_empty(), refused);
        }
    }
}
