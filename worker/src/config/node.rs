//! Makes the node's name, and the names of its files.

use std::path::PathBuf;

/// Returns the host's name.
pub(super) fn host() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// Expands a node's name as Celery does: `%h` is the whole host name, `%n` its first part, `%d` the
/// rest.
pub(super) fn node_name(pattern: &str, host: &str) -> String {
    let (first, domain) = host.split_once('.').unwrap_or((host, ""));
    let name = expanded(pattern, &[('h', host), ('n', first), ('d', domain)]);
    if name.contains('@') {
        name
    } else {
        format!("{name}@{host}")
    }
}

/// Returns the queue of a node alone: Celery's `WORKER_DIRECT_QUEUE_FORMAT`, which is the same from 5.2
/// to 5.7. Celery's documentation says `.dq`.
pub(crate) fn direct_queue(node: &str) -> String {
    format!("{node}.dq2")
}

/// Expands the name of a node's file as Celery does: `%h` is the host of the node, `%n` the part
/// of its name before the `@`, `%d` the domain. `%i` and `%I`, the number of a child process, are
/// those of the main process.
pub(super) fn of_node(file: PathBuf, node: &str) -> PathBuf {
    let Some(pattern) = file.to_str() else {
        return file;
    };
    let (name, host) = node.split_once('@').unwrap_or((node, ""));
    let (_, domain) = host.split_once('.').unwrap_or((host, ""));
    let values = [
        ('h', host),
        ('n', name),
        ('d', domain),
        ('i', "0"),
        ('I', ""),
    ];
    expanded(pattern, &values).into()
}

/// Replaces each `%` and letter by the letter's value, and `%%` by `%`. Others stay.
fn expanded(pattern: &str, values: &[(char, &str)]) -> String {
    let mut text = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('%') | None => text.push('%'),
            Some(letter) => match values.iter().find(|(known, _)| *known == letter) {
                Some((_, value)) => text.push_str(value),
                None => text.extend(['%', letter]),
            },
        }
    }
    text
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
        assert_eq!(node_name("w%i", "a"), "w%i@a");
    }

    #[test]
    fn files_of_nodes() {
        for (pattern, node, file) in [
            ("/run/%n.pid", "w1@a.b.c", "/run/w1.pid"),
            ("/log/%h-%d.log", "w1@a.b.c", "/log/a.b.c-b.c.log"),
            ("/log/%n%I.log", "celery@a", "/log/celery.log"),
            ("/log/%n-%i.log", "celery@a", "/log/celery-0.log"),
            ("/log/100%%.log", "celery@a", "/log/100%.log"),
            ("/log/100%%i.log", "celery@a", "/log/100%i.log"),
            ("/log/%%I-%I.log", "celery@a", "/log/%I-.log"),
            ("/log/%%%i%x.log", "celery@a", "/log/%0%x.log"),
            ("/log/%i%", "celery@a", "/log/0%"),
        ] {
            assert_eq!(of_node(pattern.into(), node), PathBuf::from(file));
        }
    }
}
