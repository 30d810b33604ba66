//! `parseUrl()`: the parts of a server's URL.

use celery_client::mask::mask;
use celery_client::redis::RedisUrl;
use celery_client::{Endpoint, Secret};
use ext_php_rs::types::Zval;

use super::settings::unusable;
use crate::ffi::call::Call;
use crate::ffi::class::{Param, required};
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;
use crate::ffi::value::{self, Key};

pub(super) fn parameters() -> [Param; 1] {
    [required("url").typed(Type::STRING).sensitive()]
}

/// Implements `parseUrl()`.
pub(super) fn parse(call: &mut Call<'_>) -> Result<(), Thrown> {
    let bytes = call.argument(0).and_then(value::bytes).unwrap_or_default();
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(call.refuse(0, "must be valid UTF-8"));
    };
    let wrong = |why| unusable(&format!("The URL cannot be used: {why}."));
    let endpoint = Endpoint::from_url(text).map_err(wrong)?;
    let display = display(&endpoint, text);
    let url = match &endpoint {
        Endpoint::Redis(_) => RedisUrl::parse(text).map_err(wrong)?,
        Endpoint::Amqp(_) => RedisUrl::default(),
    };
    let tls = match &endpoint {
        Endpoint::Redis(redis) => redis.tls().is_some(),
        Endpoint::Amqp(rabbitmq) => rabbitmq.tls().is_some(),
    };
    let scheme = display.split("://").next().unwrap_or_default();
    let (sentinels, master) = match url.sentinels.as_deref() {
        Some(sentinels) => (
            Some(sentinels.nodes().iter().map(ToString::to_string)),
            sentinels.master().map(str::to_owned),
        ),
        None => (None, None),
    };
    let nodes = url.cluster.as_deref();
    let nodes = nodes.map(|cluster| cluster.nodes().iter().map(ToString::to_string));
    let texts =
        |texts: Vec<String>| value::list(texts.iter().map(|it| value::string(it.as_bytes())));
    let text = |text: Option<String>| text.map(|text| value::string(text.as_bytes()));
    let number = |number: Option<i64>| number.map(long);
    let steps = |steps: &[u8]| value::list(steps.iter().map(|&step| long(step.into())));
    let parts = [
        ("tls", Some(truth(tls))),
        ("host", text(url.host)),
        ("port", number(url.port.map(i64::from))),
        ("path", text(url.socket)),
        ("username", text(url.username)),
        (
            "password",
            url.password
                .as_ref()
                .map(Secret::reveal)
                .map(|it| value::string(it.as_bytes())),
        ),
        ("database", number(url.database.map(i64::from))),
        ("ssl", Some(options(url.tls_given)?)),
        (
            "priority_steps",
            url.priority_steps
                .map(|it| steps(it.as_slice()))
                .transpose()?,
        ),
        (
            "sep",
            url.separator
                .map(|it| value::string(it.as_str().as_bytes())),
        ),
        ("scheme", text(Some(scheme.to_owned()))),
        ("display", text(Some(display.clone()))),
        (
            "sentinels",
            sentinels.map(|it| texts(it.collect())).transpose()?,
        ),
        ("master_name", text(master)),
        ("cluster", nodes.map(|it| texts(it.collect())).transpose()?),
        ("prefix", text(url.key_prefix)),
    ];
    let entries = parts.into_iter().map(|(name, part)| {
        (
            value::string(name.as_bytes()),
            part.unwrap_or_else(Zval::null),
        )
    });
    call.give(value::map(entries)?);
    Ok(())
}

/// Returns the address for people.
fn display(endpoint: &Endpoint, url: &str) -> String {
    match endpoint {
        // With kombu's password, a user alone would be shown, and it may be a token.
        Endpoint::Amqp(_) if has_only_a_user(url) || url.split(';').any(has_only_a_user) => {
            mask(url)
        }
        _ => endpoint.display_url(),
    }
}

/// Returns `true` if the login of a URL, or of a part of a list, has no password.
fn has_only_a_user(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.rsplit_once('@')
        .is_some_and(|(login, _)| !login.contains(':'))
}

/// Returns TLS options under their names, those of truth values as such.
fn options(given: Vec<(&'static str, String)>) -> Result<Zval, Thrown> {
    let entries = given.into_iter().map(|(name, text)| {
        let option = match name {
            "verify_peer" | "verify_peer_name" => truth(!text.is_empty()),
            _ => value::string(text.as_bytes()),
        };
        (value::string(name.as_bytes()), option)
    });
    Ok(value::map(entries)?)
}

fn truth(is_true: bool) -> Zval {
    let mut value = Zval::new();
    value.set_bool(is_true);
    value
}

fn long(number: i64) -> Zval {
    Key::Index(number).to_zval()
}
