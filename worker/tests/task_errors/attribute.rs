//! Mistakes in `#[task]` that the attribute itself finds. After `//~` stand the text at which the
//! compiler points, and a part of what it says.

use celery_worker::{Args, Batch, Context, State, task};

#[task(name = "")] //~ `""` a task needs a name
async fn empty_name() {}

#[task(name = "a\nb")] //~ `"a\nb"` a name has no control characters
async fn name_of_two_lines() {}

#[task(nam = "x")] //~ `nam` expected name, max_retries
async fn unknown_option() {}

#[task(name = 5)] //~ `5` expected string literal
async fn name_that_is_a_number() {}

#[task(
    time_limit = "10s",
    soft_time_limit = "11s", //~ `"11s"` soft_time_limit must be less than or equal to time_limit
)]
async fn soft_limit_above_the_hard_one() {}

#[task(time_limit = "10")] //~ `"10"` expected a time such as
async fn time_without_a_unit() {}

#[task(max_retries = "never")] //~ `"never"` expected a number or "unlimited"
async fn retries_that_are_a_word() {}

#[task(fleet_rate_limit = "10/d")] //~ `"10/d"` expected a rate such as
async fn rate_in_a_day() {}

#[task(max_concurrency = 1, limit_by = "tenant")] //~ `"tenant"` the function has no parameter of this name
async fn limit_by_no_parameter(user: u64) {}

#[task(unique = "10m", unique_by("user", "order.id"))] //~ `"order.id"` the function has no parameter of this name
async fn unique_by_no_parameter(user: u64) {}

#[task(batch(size = 0))] //~ `0` a batch holds at least one call
async fn empty_batch(calls: Batch<(u64,)>) {}

#[task]
async fn default_before_a_required_argument(
    #[default(1)] a: u8,
    context: Context,
    b: u16, //~ `u16` a required argument cannot follow one with a default
) {
}

#[task]
async fn default_of_the_rest(#[default(1)] rest: Args) {} //~ `Args` only an argument has a default

#[task]
async fn argument_without_a_name((a, b): (u8, u8)) {} //~ `(u8, u8)` an argument needs a plain name

#[task]
async fn batch_without_the_option(calls: Batch<(u64,)>) {} //~ `Batch` Batch needs #[task(batch(…))]

#[task(batch(size = 2))]
async fn batch_beside_an_argument(calls: Batch<(u64,)>, n: u64) {} //~ `u64` a task in batches takes one Batch<…> and any State<…>

#[task(batch(size = 2))]
fn batch_that_blocks(calls: Batch<(u64,)>) {} //~ `batch_that_blocks` a task in batches must be async

#[task]
async fn generic<T>(n: T) {} //~ `<` a task cannot be generic

fn main() {}
