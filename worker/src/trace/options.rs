//! The values of the settings of traces: where the collector is, what it is told about the worker,
//! and how many traces are recorded.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use super::context::TraceId;

/// The path of OTLP's traces below the URL of a collector.
const PATH: &str = "/v1/traces";

/// The settings of traces.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) collector: Collector,
    /// The authorities that its certificate is verified against. `None`: the system's.
    pub(crate) certificate: Option<PathBuf>,
    /// The headers of each request, such as a key.
    pub(crate) headers: Pairs,
    /// The attributes of the resource, in addition to those that follow from the worker.
    pub(crate) resource: Pairs,
    /// The name of the service.
    pub(crate) service: String,
    /// The name of the node.
    pub(crate) node: String,
}

/// The URL of a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Collector {
    pub(crate) is_tls: bool,
    /// The host as a URL has it: an IPv6 address is in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The path of the requests, with the query.
    pub(crate) path: String,
}

impl Collector {
    /// Reads the URL of a collector. The path of traces is added, unless it is there.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
        let is_tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(format!("{other:?} is not http or https")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("credentials belong into --otlp-headers".to_owned());
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or("it has no host")?.to_owned();
        let mut path = url.path().trim_end_matches('/').to_owned();
        if !path.ends_with(PATH) {
            path.push_str(PATH);
        }
        if let Some(query) = url.query() {
            path = format!("{path}?{query}");
        }
        Ok(Collector {
            is_tls,
            host,
            port: url.port_or_known_default().ok_or("it has no port")?,
            path,
        })
    }

    /// Returns the host and the port, as the header `host` has them.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Shows no query: it may be a key.
impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let query = if query.is_empty() { "" } else { "?***" };
        write!(f, "{scheme}://{}{path}{query}", self.authority())
    }
}

/// Names with values, as OpenTelemetry's variables have them: `name=value,name=value`, with
/// percent-encoded values.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Pairs(pub(crate) Vec<(String, String)>);

impl Pairs {
    /// Reads pairs. The error names no value: it may be a key.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim);
        let pair = |(number, part): (usize, &str)| {
            let pair = part.split_once('=').map(|(name, value)| {
                let value = percent_decode_str(value.trim()).decode_utf8();
                let value = value.map_err(|_| format!("the value of {name} is not UTF-8"))?;
                Ok((name.trim().to_owned(), value.into_owned()))
            });
            match pair {
                Some(Ok((name, _))) if name.is_empty() => {
                    Err(format!("pair {} has no name", number + 1))
                }
                Some(pair) => pair,
                None => Err(format!("pair {} is not name=value", number + 1)),
            }
        };
        let parts = parts.enumerate().filter(|(_, part)| !part.is_empty());
        parts.map(pair).collect::<Result<_, _>>().map(Pairs)
    }

    /// Returns the names, each with stars for its value.
    pub(crate) fn masked(&self) -> String {
        let pairs = self.0.iter().map(|(name, _)| format!("{name}=***"));
        pairs.collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        for (place, (name, value)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(
                f,
                "{comma}{name}={}",
                utf8_percent_encode(value, NON_ALPHANUMERIC)
            )?;
        }
        Ok(())
    }
}

/// Shows no value: it may be a key.
impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pairs({})", self.masked())
    }
}

/// The share of traces that are recorded, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio(f64);

impl Ratio {
    pub(crate) fn new(share: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&share) {
            return Ok(Ratio(share));
        }
        Err(format!("{share} is not between 0 and 1"))
    }

    /// Returns `true` if this trace is recorded. As OpenTelemetry wants it, the number of the trace
    /// decides.
    #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
    pub(super) fn takes(self, trace: TraceId) -> bool {
        // As many bits as a float keeps, out of the 63 that OpenTelemetry's samplers look at.
        const BITS: u32 = 53;
        let number = (trace.0 >> 10) & ((1 << BITS) - 1);
        (number as f64) < self.0 * (1_u64 << BITS) as f64
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_collector_gets_the_path_of_traces() {
        for (url, shown) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            ("https://otlp.example", "https://otlp.example:443/v1/traces"),
            ("http://[::1]:4318/otlp", "http://[::1]:4318/otlp/v1/traces"),
            (
                "https://api.example/otlp/v1/traces?k=v",
                "https://api.example:443/otlp/v1/traces?***",
            ),
        ] {
            assert_eq!(Collector::parse(url).unwrap().to_string(), shown);
        }
        for wrong in [
            "",
            "localhost:4318",
            "grpc://host",
            "http://u:p@host",
            "http://",
        ] {
            assert!(Collector::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pairs_are_read_as_opentelemetry_writes_them_and_shown_without_values() {
        let pairs = Pairs::parse("api-key=a%2Cb, team = mails ,").unwrap();
        let expected = [("api-key", "a,b"), ("team", "mails")];
        assert_eq!(
            pairs.0,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(format!("{pairs:?}"), "Pairs(api-key=***,team=***)");
        assert_eq!(Pairs::parse(&pairs.to_string()).unwrap(), pairs);
        for wrong in ["secret", "=secret", "a=1,secret", "a=%ff"] {
            let error = Pairs::parse(wrong).unwrap_err();
            assert!(
                !error.contains("secret") && !error.contains("ff"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_share_of_the_traces_is_taken_by_their_numbers() {
        assert!(Ratio::new(1.1).is_err() && Ratio::new(f64::NAN).is_err());
        for (share, taken) in [
            (0.0, [false; 3]),
            (0.5, [true, true, false]),
            (1.0, [true; 3]),
        ] {
            let ratio = Ratio::new(share).unwrap();
            let numbers = [1 << 100, 1 << 61, (1 << 63) - 1];
            let numbers = numbers.map(|number| ratio.takes(TraceId(number)));
            assert_eq!(numbers, taken, "{share}");
        }
    }
}
