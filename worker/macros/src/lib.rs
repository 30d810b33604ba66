//! The `#[task]` attribute of celery-worker. That crate exports and documents it.
//!
//! The attribute keeps the function as it is written. Beside it, it puts a type of the same name
//! whose only function, `task`, returns the task's definition. Nothing is registered implicitly.

mod expand;
mod options;

use proc_macro::TokenStream;

/// Makes a function a Celery task. See `celery_worker::task`.
#[proc_macro_attribute]
pub fn task(attributes: TokenStream, item: TokenStream) -> TokenStream {
    let function = syn::parse_macro_input!(item as syn::ItemFn);
    options::Options::parse(attributes.into())
        .and_then(|options| expand::expand(options, function))
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the compiler's error.
    fn told(attributes: &str, item: &str) -> Result<(), String> {
        let options = options::Options::parse(attributes.parse().unwrap());
        let function = syn::parse_str(item).unwrap();
        options
            .and_then(|options| expand::expand(options, function))
            .map(drop)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn misuse_is_explained() {
        for (attributes, item, words) in [
            (
                "nam = \"x\"",
                "async fn t() {}",
                "expected name, max_retries",
            ),
            ("name = 5", "async fn t() {}", "expected string literal"),
            ("max_retries = -1", "async fn t() {}", "invalid digit"),
            (
                "time_limit = \"10\"",
                "async fn t() {}",
                "expected a time such as",
            ),
            (
                "max_retries = \"never\"",
                "fn t() {}",
                "a number or \"unlimited\"",
            ),
            ("retry_backoff = 0", "fn t() {}", "at least one second"),
            (
                "retry_backoff = false",
                "fn t() {}",
                "leave retry_backoff out",
            ),
            ("autoretry_for()", "fn t() {}", "the name of an exception"),
            ("throws(KeyError)", "fn t() {}", "expected string literal"),
            (
                "max_concurrency = 0",
                "fn t() {}",
                "a number from 1 to 10000",
            ),
            (
                "fleet_rate_limit = \"10/d\"",
                "fn t() {}",
                "expected a rate such as",
            ),
            (
                "max_concurrency = 1, limit_by = \"b\"",
                "fn t(c: Context, a: u8) {}",
                "no parameter of this name",
            ),
            (
                "limit_by = 0",
                "fn t(a: u8) {}",
                "needs max_concurrency or fleet_rate_limit",
            ),
            ("unique_by = 0", "fn t(a: u8) {}", "unique_by needs unique"),
            ("unique = \"always\"", "fn t(a: u8) {}", "a time such as"),
            ("unique = \"0s\"", "fn t(a: u8) {}", "a time such as"),
            (
                "unique = \"1m\", unique_by(\"a\", \"b.c\")",
                "fn t(a: u8) {}",
                "no parameter of this name",
            ),
            (
                "unique = \"1m\", unique_by()",
                "fn t(a: u8) {}",
                "expected an argument",
            ),
            ("acks_late = 1", "fn t() {}", "expected boolean literal"),
            ("name = \"\"", "async fn t() {}", "a task needs a name"),
            (
                "name = \"a\\nb\"",
                "async fn t() {}",
                "no control characters",
            ),
            (
                &format!("name = \"{}\"", "x".repeat(256)),
                "async fn t() {}",
                "at most 255 bytes",
            ),
            (
                "soft_time_limit = \"2s\", time_limit = \"1s\"",
                "async fn t() {}",
                "must be less than or equal",
            ),
            (
                "time_limit = \"999ms\", soft_time_limit = \"1s\"",
                "fn t() {}",
                "must be less than or equal",
            ),
            (
                "",
                "async fn t(#[default(1)] a: u8, b: u8) {}",
                "cannot follow one with a default",
            ),
            (
                "",
                "fn t(a: u8, #[default(1)] b: u8, c: Context, d: String) {}",
                "cannot follow one with a default",
            ),
        ] {
            let told = told(attributes, item).expect_err(item);
            assert!(told.contains(words), "{attributes} {item}: {told}");
        }
    }

    #[test]
    fn functions_that_cannot_be_tasks_are_explained() {
        for (attributes, item, words) in [
            (
                "batch(size = 0)",
                "async fn t(b: Batch<(u64,)>) {}",
                "at least one call",
            ),
            (
                "batch(seize = 1)",
                "async fn t(b: Batch<(u64,)>) {}",
                "expected size or linger",
            ),
            (
                "batch(size = 2)",
                "fn t(b: Batch<(u64,)>) {}",
                "must be async",
            ),
            (
                "batch(size = 2)",
                "async fn t(n: u64) {}",
                "takes one Batch<…> and any State<…>",
            ),
            (
                "batch(size = 2)",
                "async fn t(s: State<u8>) {}",
                "takes one Batch<…>",
            ),
            (
                "",
                "async fn t(b: Batch<(u64,)>) {}",
                "Batch needs #[task(batch(…))]",
            ),
            ("", "async fn t<T>(n: T) {}", "a task cannot be generic"),
            ("", "async fn t((a, b): (u8, u8)) {}", "needs a plain name"),
            ("", "async fn t(&self) {}", "not a method"),
            (
                "",
                "async fn t(#[default(1)] a: Args) {}",
                "only an argument has a default",
            ),
        ] {
            let told = told(attributes, item).expect_err(item);
            assert!(told.contains(words), "{attributes} {item}: {told}");
        }
    }

    #[test]
    fn tasks_have_options_and_parameters_of_each_kind() {
        for (attributes, item) in [
            (
                "name = \"x\", max_retries = 3, retry_delay = \"1s\"",
                "fn t(a: u8) {}",
            ),
            (
                "batch(size = 2, linger = \"5ms\")",
                "async fn t(b: Batch<(u64,)>, s: State<u8>) {}",
            ),
            (
                "",
                "async fn t(c: Context, #[default(1)] a: u8, r: Args, k: Kwargs) {}",
            ),
            (
                "max_retries = \"unlimited\", autoretry_for(\"OSError\", \"a.B\"), throws(\"X\"), \
                 retry_backoff = true, retry_backoff_max = \"1m\", retry_jitter = false, \
                 dont_autoretry_for(\"KeyError\"), acks_late = false, ignore_result = true",
                "fn t(a: u8) {}",
            ),
            (
                "retry_backoff = 5, acks_on_failure_or_timeout = false",
                "fn t() {}",
            ),
            (
                "max_concurrency = 2, limit_by = \"a\"",
                "fn t(c: Context, a: u8) {}",
            ),
            (
                "fleet_rate_limit = \"0.5/m\", limit_by = 1, max_concurrency = 1",
                "fn t(a: Args) {}",
            ),
            (
                "max_concurrency = 2, limit_by = \"a\"",
                "fn t(k: Kwargs) {}",
            ),
            (
                "unique = \"until_done\", unique_by(\"a.id\", 1, \"0.id\")",
                "fn t(c: Context, a: Raw, b: u8) {}",
            ),
            ("unique = \"10m\", unique_by = \"a\"", "fn t(a: u8) {}"),
            (
                "soft_time_limit = \"1m\", time_limit = \"60s\"",
                "fn t(#[default(1)] a: u8, s: State<u8>, b: Option<u8>) {}",
            ),
        ] {
            assert_eq!(told(attributes, item), Ok(()), "{item}");
        }
    }
}
