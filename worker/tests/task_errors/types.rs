//! Mistakes in the types of a task's parameters, at which the compiler points. After `//~` stand the
//! text, and a part of what the compiler says.

use celery_worker::{Args, Batch, TaskResult, task};

/// A type that no message can give.
struct Odd;

#[task]
async fn argument(a: u8, odd: Odd) -> u8 { //~ `Odd` the trait bound
    a
}

#[task]
async fn optional(odd: Option<Odd>) {} //~ `Option` the trait bound

#[task]
async fn with_a_default(#[default(Odd)] odd: Odd) {} //~ `Odd` the trait bound

#[task]
async fn default_of_another_type(#[default("text")] n: u8) {} //~ `"text"` `match` arms have incompatible types

#[task]
fn blocking(odd: Odd) {} //~ `Odd` the trait bound

#[task]
async fn rest(rest: Args<Odd>) {} //~ `Args` the trait bound

#[task]
async fn borrowed(text: &str) {} //~ `&` is not general enough

fn main() {}
