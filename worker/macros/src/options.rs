//! The options in the brackets of `#[task(…)]`.

use std::time::Duration;

use proc_macro2::TokenStream;
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::{LitInt, LitStr, Result};

/// The options as written; an omitted option is `None`.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<String>,
    pub(crate) max_retries: Option<u32>,
    pub(crate) retry_delay: Option<Duration>,
    pub(crate) soft_time_limit: Option<Duration>,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) batch: Option<Batch>,
}

/// The option `batch(size = …, linger = …)`.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) size: Option<usize>,
    pub(crate) linger: Option<Duration>,
}

impl Options {
    pub(crate) fn parse(attributes: TokenStream) -> Result<Self> {
        let mut options = Options::default();
        let parser = syn::meta::parser(|meta| options.read(&meta));
        parser.parse2(attributes)?;
        Ok(options)
    }

    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("name") {
            self.name = Some(meta.value()?.parse::<LitStr>()?.value());
        } else if meta.path.is_ident("max_retries") {
            self.max_retries = Some(meta.value()?.parse::<LitInt>()?.base10_parse()?);
        } else if meta.path.is_ident("retry_delay") {
            self.retry_delay = Some(duration(meta)?);
        } else if meta.path.is_ident("soft_time_limit") {
            self.soft_time_limit = Some(duration(meta)?);
        } else if meta.path.is_ident("time_limit") {
            self.time_limit = Some(duration(meta)?);
        } else if meta.path.is_ident("batch") {
            let mut batch = Batch::default();
            meta.parse_nested_meta(|meta| batch.read(&meta))?;
            self.batch = Some(batch);
        } else {
            return Err(meta.error(
                "expected name, max_retries, retry_delay, soft_time_limit, time_limit or batch(…)",
            ));
        }
        Ok(())
    }
}

impl Batch {
    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("size") {
            let size = meta.value()?.parse::<LitInt>()?;
            match size.base10_parse()? {
                0 => {
                    return Err(syn::Error::new(
                        size.span(),
                        "a batch holds at least one call",
                    ));
                }
                n => self.size = Some(n),
            }
        } else if meta.path.is_ident("linger") {
            self.linger = Some(duration(meta)?);
        } else {
            return Err(meta.error("expected size or linger"));
        }
        Ok(())
    }
}

/// Parses the value of an option that is a time: `"10s"`, `"5ms"`, `"2m"`, `"1h"`.
fn duration(meta: &ParseNestedMeta<'_>) -> Result<Duration> {
    let text = meta.value()?.parse::<LitStr>()?;
    parse_duration(&text.value())
        .ok_or_else(|| syn::Error::new(text.span(), "expected a time such as \"10s\" or \"5ms\""))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("10s"), Some(Duration::from_secs(10)));
        assert_eq!(parse_duration("5ms"), Some(Duration::from_millis(5)));
        assert_eq!(parse_duration("1h"), Some(Duration::from_hours(1)));
        for wrong in ["", "10", "s", "1.5s", "-1s", "1d", "99999999999999999999s"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
