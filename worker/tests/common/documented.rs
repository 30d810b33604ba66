//! Reads rules from the documentation, for tests that try them.

/// Returns the rules of the worker's user in `docs/reference/redis.md`, without its name and
/// password.
pub fn worker_rights() -> Vec<&'static str> {
    let documentation = include_str!("../../../docs/reference/redis.md");
    let (_, rule) = documentation
        .split_once("ACL SETUSER worker on '>PASSWORD'")
        .unwrap();
    let (rule, _) = rule.split_once("```").unwrap();
    let words = rule.split_whitespace().filter(|word| *word != "\\");
    words.map(|word| word.trim_matches('\'')).collect()
}
