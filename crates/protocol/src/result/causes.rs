//! The chain of causes in the text of a Python traceback.
//!
//! Python prints the oldest exception first, and between two exceptions a line that says how they
//! belong together. The text is not a format: messages may have any lines. So a part that does not
//! look like Python's ends the chain, and so does a text whose last exception is not the stored one.

/// What Python prints between an exception and the one that was raised from it (`raise … from …`).
const DIRECT: &str = "\n\nThe above exception was the direct cause of the following exception:\n\n";
/// What Python prints between an exception and the one that was raised while it was handled.
const CONTEXT: &str = "\n\nDuring handling of the above exception, another exception occurred:\n\n";
/// The first line of a traceback.
const TRACEBACK: &str = "Traceback (most recent call last):\n";
/// The longest chain to read. The exceptions closest to the failure come first.
const LONGEST: usize = 32;

/// An exception that led to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cause {
    /// The class, without its module.
    pub exc_type: String,
    /// The class's module. Python leaves out `builtins`.
    pub exc_module: String,
    /// The exception as text: Python's `str(exc)`.
    pub message: String,
    /// The part of the traceback that belongs to the exception.
    pub traceback: String,
}

/// Returns the causes of the exception of this type whose traceback this is, the closest first.
pub(super) fn causes(traceback: &str, exc_type: &str) -> Vec<Cause> {
    let mut parts = split(traceback.trim_end_matches('\n')).into_iter().rev();
    match parts.next().and_then(read) {
        Some(failure) if is_of_type(&failure, exc_type) => {
            parts.map_while(read).take(LONGEST).collect()
        }
        _ => Vec::new(),
    }
}

/// Splits a text at the lines between two exceptions.
fn split(traceback: &str) -> Vec<&str> {
    traceback
        .split(DIRECT)
        .flat_map(|part| part.split(CONTEXT))
        .collect()
}

/// Returns `true` if the printed name belongs to the stored class. A class inside another is printed
/// with a dot, which cannot be told from that of a module.
fn is_of_type(failure: &Cause, exc_type: &str) -> bool {
    let printed = failure.exc_type.as_str();
    exc_type == printed
        || exc_type
            .rsplit_once('.')
            .is_some_and(|(_, last)| last == printed)
}

/// Reads a part: the frames, if there are any, and the exception.
fn read(part: &str) -> Option<Cause> {
    let text = match part.strip_prefix(TRACEBACK) {
        Some(rest) => after_frames(rest)?,
        None => part,
    };
    let (first, rest) = match text.split_once('\n') {
        Some((first, rest)) => (first, Some(rest)),
        None => (text, None),
    };
    let (name, begin) = match first.split_once(": ") {
        Some((name, begin)) => (name, begin),
        // An exception without a message, or with one that begins with a line end.
        None => (first.strip_suffix(':').unwrap_or(first), ""),
    };
    if !is_name(name) {
        return None;
    }
    let message = match rest {
        Some(rest) => format!("{begin}\n{rest}"),
        None => begin.to_owned(),
    };
    let (exc_module, exc_type) = name.rsplit_once('.').unwrap_or(("builtins", name));
    Some(Cause {
        exc_type: exc_type.to_owned(),
        exc_module: exc_module.to_owned(),
        message,
        traceback: part.to_owned(),
    })
}

/// Returns the text after the frames, whose lines all begin with spaces.
fn after_frames(text: &str) -> Option<&str> {
    let mut rest = text;
    while rest.starts_with(' ') {
        rest = rest.split_once('\n')?.1;
    }
    Some(rest)
}

/// Returns `true` for a class name as Python prints it: identifiers with dots between them.
fn is_name(name: &str) -> bool {
    let is_identifier = |part: &str| {
        part == "<locals>"
            || part
                .chars()
                .next()
                .is_some_and(|first| first == '_' || first.is_alphabetic())
                && part.chars().all(|c| c == '_' || c.is_alphanumeric())
    };
    name.split('.').all(is_identifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: &str = "Traceback (most recent call last):\n  File \"/app/tasks.py\", line 33, in f\n    {}['k']\n    ~~^^^^^\n";

    /// Returns the causes as `module.type: message`.
    fn names(traceback: &str, exc_type: &str) -> Vec<String> {
        causes(traceback, exc_type)
            .into_iter()
            .map(|cause| format!("{}.{}: {}", cause.exc_module, cause.exc_type, cause.message))
            .collect()
    }

    #[test]
    fn a_chain_is_read_from_the_failure_to_its_oldest_cause() {
        let text = format!(
            "{FRAMES}KeyError: 'k'{DIRECT}{FRAMES}app.errors.Broken: first\nsecond: line{CONTEXT}\
             {FRAMES}ValueError: boom\n"
        );
        assert_eq!(
            names(&text, "ValueError"),
            [
                "app.errors.Broken: first\nsecond: line",
                "builtins.KeyError: 'k'"
            ]
        );
        let first = causes(&text, "ValueError").remove(0);
        assert!(first.traceback.starts_with("Traceback") && first.traceback.ends_with("line"));
    }

    #[test]
    fn a_cause_may_have_no_traceback_or_no_message() {
        let text = format!("ValueError: boom{DIRECT}{FRAMES}celery.exceptions.ChordError: x");
        assert_eq!(names(&text, "ChordError"), ["builtins.ValueError: boom"]);
        let text = format!("{FRAMES}StopIteration{CONTEXT}{FRAMES}RuntimeError");
        assert_eq!(names(&text, "RuntimeError"), ["builtins.StopIteration: "]);
        let text = format!("{FRAMES}a.B.<locals>.C: x{CONTEXT}{FRAMES}a.Outer.Inner: y");
        assert_eq!(names(&text, "Outer.Inner"), ["a.B.<locals>.C: x"]);
    }

    #[test]
    fn without_a_cause_there_is_none() {
        for text in [
            "",
            "\n",
            "anything",
            "ValueError: x",
            &format!("{FRAMES}ValueError: x"),
        ] {
            assert_eq!(names(text, "ValueError"), [""; 0], "{text:?}");
        }
    }

    #[test]
    fn a_text_that_is_not_understood_has_no_cause() {
        let failure = format!("{FRAMES}ValueError: x");
        for cause in [
            "",
            "two words: x",
            "  + Exception Group Traceback (most recent call last):\n  | ExceptionGroup: x (1)",
            "Traceback (most recent call last):\n  File",
            "Traceback (most recent call last):\n",
            "1Error: x",
            "a..b: x",
            "thread 'main' panicked at src/main.rs:1:1:\nx",
        ] {
            let text = format!("KeyError: 1{CONTEXT}{cause}{DIRECT}{failure}");
            assert_eq!(names(&text, "ValueError"), [""; 0], "{cause:?}");
        }
        // The text is of another exception than the stored one.
        let text = format!("KeyError: 1{CONTEXT}{failure}");
        for exc_type in ["TypeError", "", "Value", "Error", "KeyError"] {
            assert_eq!(names(&text, exc_type), [""; 0], "{exc_type:?}");
        }
    }

    #[test]
    fn the_chain_is_bounded() {
        let text = format!(
            "{}ValueError: x",
            format!("KeyError: 1{CONTEXT}").repeat(1000)
        );
        assert_eq!(names(&text, "ValueError").len(), LONGEST);
    }
}
