//! Makes the node's name.

/// Returns the host's name.
pub(super) fn host() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// Expands a node's name as Celery does: `%h` is the whole host name, `%n` its first part, `%d` the
/// rest.
pub(super) fn node_name(pattern: &str, host: &str) -> String {
    let (first, domain) = host.split_once('.').unwrap_or((host, ""));
    let mut name = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match (c, c == '%') {
            (_, true) => match chars.next() {
                Some('h') => name.push_str(host),
                Some('n') => name.push_str(first),
                Some('d') => name.push_str(domain),
                Some('%') | None => name.push('%'),
                Some(other) => name.extend(['%', other]),
            },
            (c, false) => name.push(c),
        }
    }
    if name.contains('@') {
        name
    } else {
        format!("{name}@{host}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_names() {
        assert_eq!(node_name("celery@%h", "a.b.c"), "celery@a.b.c");
        assert_eq!(node_name("w1@%n", "a.b.c"), "w1@a");
        assert_eq!(node_name("%n@%d", "a.b.c"), "a@b.c");
        assert_eq!(node_name("w%%1", "a"), "w%1@a");
    }
}
