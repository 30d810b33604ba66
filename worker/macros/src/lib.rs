//! The `#[task]` attribute of celery-worker. It is documented where it is exported, in that crate.
//!
//! The attribute turns a function into a function of the same name without parameters that returns the task's
//! definition; the written function lives on inside it. Nothing is registered behind the author's back.

mod expand;
mod options;

use proc_macro::TokenStream;

/// Makes a function a Celery task. See `celery_worker::task`.
#[proc_macro_attribute]
pub fn task(attributes: TokenStream, item: TokenStream) -> TokenStream {
    let function = syn::parse_macro_input!(item as syn::ItemFn);
    options::Options::parse(attributes.into())
        .and_then(|options| expand::expand(options, function))
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}
