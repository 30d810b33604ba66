//! A bound on work: the time of every reader grows with its input, not with the square of it.
//!
//! The work is counted in steps, which are reads of memory. The compiler adds a call of a function below
//! to each of them; see `scripts/fuzz` for the flag. So the outcome does not depend on the machine or
//! its load.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{READERS, endpoint, members, reply, statement};

static STEPS: AtomicU64 = AtomicU64::new(0);

/// Defines the functions that the compiler calls at each read of a size. It adds no calls inside of
/// functions whose names begin so.
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

/// Parts of a recipe end with this byte, which no reader gives a meaning to.
const END: u8 = 0x1e;

/// Stands for the number of the repetition, so that repeated names can differ.
const NUMBER: u8 = b'#';

/// Repetitions of a recipe's middle part. Between these, the work may grow by [`GROWTH`].
const FEW: usize = 512;
const MANY: usize = 8 * FEW;

/// Eight times is linear; a square would be 64 times.
const GROWTH: u64 = 12;

/// Work that begins beyond a size, such as an index over many names, in steps for each byte.
const SLACK: u64 = 64;

/// What a reader of YAML may need beside that. Its parser takes the square of the collections in flow style, of which
/// no more than 4,096 are read.
const YAML: u64 = 4_096 * 4_096 * 32;

/// The readers that may meet YAML.
const READ_YAML: [&str; 3] = ["body", "result", "serializer"];

/// The longest middle part, so that a text stays below one MiB.
const LONGEST: usize = 200;

/// A recipe for a text: the number of a reader, then the beginning, a part to be repeated, and the end.
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
    let others: [fn(&[u8]); 4] = [members, reply, endpoint, statement];
    let others = others.map(|read| ("", read));
    let mut readers = READERS.iter().copied().chain(others).cycle();
    let Some((name, read)) = readers.nth(usize::from(kind)) else {
        return;
    };
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
    let most = few * GROWTH + text.len() as u64 * SLACK + beside;
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
