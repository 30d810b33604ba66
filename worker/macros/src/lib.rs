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
    fn misuse_is_told_of_in_words() {
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
        ] {
            assert_eq!(told(attributes, item), Ok(()), "{item}");
        }
    }
}
