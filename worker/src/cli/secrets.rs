//! Masks the URLs that the user gave, in messages that quote them.
//!
//! A message may quote an argument or a variable in the wrong place, such as the broker's URL
//! without `-b` before it. Settings that can hold a URL mask it themselves; this module masks the
//! rest.

use celery_client::mask::mask;

/// Returns the message with every argument and variable that may hold a URL masked.
pub(super) fn hidden(message: &str) -> String {
    let arguments = std::env::args_os().skip(1);
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.to_string_lossy();
        (name.starts_with("CELERY_") || name == "DATABASE_URL").then_some(value)
    });
    let given = arguments.chain(variables);
    hidden_in(
        message,
        given.map(|value| value.to_string_lossy().into_owned()),
    )
}

fn hidden_in(message: &str, given: impl Iterator<Item = String>) -> String {
    let mut secrets: Vec<(String, String)> = Vec::new();
    for value in given {
        let value = match value.split_once('=') {
            Some((option, value)) if option.starts_with('-') => value.to_owned(),
            _ => value,
        };
        // The value of a short option may follow it directly.
        let value = match value.strip_prefix('-') {
            Some(letters) if !letters.starts_with('-') => letters.get(1..).unwrap_or_default(),
            _ => &value,
        };
        if !value.contains('@') && !value.contains("://") {
            continue;
        }
        // clap quotes the parts of a list one by one.
        let parts = value.split(',').filter(|_| value.contains(','));
        secrets.extend(parts.map(|part| (part.to_owned(), "**".to_owned())));
        secrets.push((value.to_owned(), mask(value)));
    }
    // Mask the whole value first: masking a part would hide where the value is.
    secrets.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
    let mut shown = message.to_owned();
    for (secret, mask) in &secrets {
        if secret.len() < 3 {
            continue;
        }
        shown = shown.replace(secret.as_str(), mask);
        shown = shown.replace(&secret.escape_debug().to_string(), mask);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_values_are_masked_where_a_message_quotes_them() {
        for (message, given, shown) in [
            (
                "unrecognized subcommand 'redis://:hunter2@h'",
                "redis://:hunter2@h",
                "unrecognized subcommand 'redis://:**@h'",
            ),
            (
                "invalid value 'redis://:hunter2@h' for '-c'",
                "-credis://:hunter2@h",
                "invalid value 'redis://:**@h' for '-c'",
            ),
            (
                "unexpected argument '--brokr=redis://:hunter2@h'",
                "--brokr=redis://:hunter2@h",
                "unexpected argument '--brokr=redis://:**@h'",
            ),
            (
                "invalid value 'hunter2@h' for '--queue-weights'",
                "--queue-weights=redis://:hu,hunter2@h",
                "invalid value '**' for '--queue-weights'",
            ),
            ("no such file 'a'", "a", "no such file 'a'"),
        ] {
            let given = std::iter::once(given.to_owned());
            assert_eq!(hidden_in(message, given), shown);
        }
    }
}
