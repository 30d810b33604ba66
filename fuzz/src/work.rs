//! A limit on work: the time of every reader grows linearly with its input, not with its square.
//!
//! Work is counted in steps, which are reads of memory. The compiler adds a call of a function
//! below to each of them; `scripts/fuzz` has the flag. The outcome therefore does not depend on the
//! machine or its load.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{READERS, endpoint, members, reply, statement};

static STEPS: AtomicU64 = AtomicU64::new(0);

/// Defines the functions that the compiler calls, one for each size of read. It adds no calls
/// inside functions whose names have their prefix.
macro_rules! counted {
    ($($name:ident),*) => {
        $(
            /// Counts a step.
            #[unsafe(no_mangle)]
            pub extern "C" fn $name(_address: *const u8) {
                STEPS.fetch_add(1, Ordering::Relaxed);
            }
        )*
    };
}

counted!(
    __sanitizer_cov_load1,
    __sanitizer_cov_load2,
    __sanitizer_cov_load4,
    __sanitizer_cov_load8,
    __sanitizer_cov_load16
);

/// The byte that ends a part of a recipe; it means nothing to any reader.
const END: u8 = 0x1e;

/// A placeholder for the number of the repetition, so that repeated names can differ.
const NUMBER: u8 = b'#';

/// The lower number of repetitions of a recipe's middle part; the work is compared with that of
/// eight times as many. It may grow by [`GROWTH`].
const FEW: usize = 512;
const MANY: usize = 8 * FEW;

/// The largest growth accepted: eight times is linear, and the square would be 64 times.
const GROWTH: u64 = 12;

/// The steps for each byte that are allowed for work that only large inputs cause, such as an index
/// over many names.
const SLACK: u64 = 64;

/// The steps for each byte of a Redis answer. redis-rs' parser takes about 220 for short elements,
/// after their array is complete.
const PARSED: u64 = 512;

/// The additional steps for a reader of YAML. Its parser takes the square of the number of
/// collections in flow style, of which at most 4,096 are read.
const YAML: u64 = 4_096 * 4_096 * 32;

/// The readers that may meet YAML.
const READ_YAML: [&str; 3] = ["body", "result", "serializer"];

/// The name of a reader, and the reader.
type Reader = (&'static str, fn(&[u8]));

/// The readers that stand in no list of a crate.
const OTHERS: [Reader; 4] = [
    ("members", members),
    ("reply", reply),
    ("endpoint", endpoint),
    ("statement", statement),
];

/// The longest middle part, so that a text stays below one MiB.
const LONGEST: usize = 200;

/// Builds a text from a recipe and reads it. The recipe is the number of a reader, a beginning, a
/// part to repeat, and an end.
pub fn work(recipe: &[u8]) {
    let Some((&kind, recipe)) = recipe.split_first() else {
        return;
    };
    let mut parts = recipe.splitn(3, |byte| *byte == END);
    let (Some(before), Some(part), Some(after)) = (parts.next(), parts.next(), parts.next()) else {
        return;
    };
    if part.len() > LONGEST {
        return;
    }
    let mut readers = READERS.iter().copied().chain(OTHERS).cycle();
    let Some((name, read)) = readers.nth(usize::from(kind)) else {
        return;
    };
    let slack = if name == "reply" { PARSED } else { SLACK };
    let beside = if READ_YAML.contains(&name) { YAML } else { 0 };
    let text = |count| {
        let mut text = before.to_vec();
        (0..count).for_each(|nth| numbered(part, nth, &mut text));
        text.extend_from_slice(after);
        text
    };
    let steps = |text: &[u8]| {
        let before = STEPS.load(Ordering::Relaxed);
        read(text);
        STEPS.load(Ordering::Relaxed) - before
    };
    let few = steps(&text(FEW));
    assert!(few > 0, "the target is built without the count of steps");
    let text = text(MANY);
    let many = steps(&text);
    let most = few * GROWTH + text.len() as u64 * slack + beside;
    assert!(many <= most, "{few} steps became {many}, more than {most}");
}

fn numbered(part: &[u8], nth: usize, text: &mut Vec<u8>) {
    for &byte in part {
        match byte {
            NUMBER => text.extend_from_slice(nth.to_string().as_bytes()),
            _ => text.push(byte),
        }
    }
}
