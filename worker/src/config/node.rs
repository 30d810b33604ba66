//! Makes the node's name, and the names of its files.

use std::path::PathBuf;

/// Returns the host's name.
pub(super) fn host() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// Expands a node's name as Celery does: `%h` is the whole host name, `%n` its first part, `%d` the
/// rest.
pub(super) fn node_name(pattern: &str, host: &str) -> String {
    let (first, _) = host.split_once('.').unwrap_or((host, ""));
    let name = expanded(pattern, host, first);
    if name.contains('@') {
        name
    } else {
        format!("{name}@{host}")
    }
}

/// Expands the name of a node's file as Celery does: `%h` is the host of the node, `%n` the part
/// of its name before the `@`, `%d` the domain. `%i` and `%I`, the number of a child process, are
/// those of the main process.
pub(super) fn of_node(file: PathBuf, node: &str) -> PathBuf {
    match file.to_str() {
        Some(pattern) => {
            let (name, host) = node.split_once('@').unwrap_or((node, ""));
            expanded(&pattern.replace("%i", "0").replace("%I", ""), host, name).into()
        }
        None => file,
    }
}

fn expanded(pattern: &str, host: &str, name: &str) -> String {
    let (_, domain) = host.split_once('.').unwrap_or((host, ""));
    let mut text = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('h') => text.push_str(host),
            Some('n') => text.push_str(name),
            Some('d') => text.push_str(domain),
            Some('%') | None => text.push('%'),
            Some(other) => text.extend(['%', other]),
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
    }

    #[test]
    fn files_of_nodes() {
        for (pattern, node, file) in [
            ("/run/%n.pid", "w1@a.b.c", "/run/w1.pid"),
            ("/log/%h-%d.log", "w1@a.b.c", "/log/a.b.c-b.c.log"),
            ("/log/%n%I.log", "celery@a", "/log/celery.log"),
            ("/log/%n-%i.log", "celery@a", "/log/celery-0.log"),
            ("/log/100%%.log", "celery@a", "/log/100%.log"),
        ] {
            assert_eq!(of_node(pattern.into(), node), PathBuf::from(file));
        }
    }
}
