//! Reads the bindings of a named exchange, which kombu keeps in Redis as a set of strings.

/// The most bytes of a member. A longer one cannot name a queue: three names and two separators are
/// shorter. The limit is low because a member with many separators is split in many ways.
const MAX_MEMBER_BYTES: usize = 1_024;

/// A member of kombu's binding set: a routing key or pattern, and the queue that its messages go
/// to.
#[derive(Debug)]
pub(crate) struct Binding {
    routing_key: String,
    pattern: Option<regex::Regex>,
    queue: String,
}

impl Binding {
    /// Reads a member: routing key, pattern and queue, joined by `separator`.
    ///
    /// Names may contain the separator, such as `a:b` where it is a colon. kombu cannot read such a
    /// member. Here the first choice is a split into equal routing key and queue, as in the binding
    /// that Celery declares for every queue. The second choice is the first split without a
    /// pattern, or with one that kombu writes (`^…$`).
    pub(crate) fn read(member: &str, separator: &str) -> Option<Self> {
        if member.len() > MAX_MEMBER_BYTES {
            return None;
        }
        let ways = || ways_to_split(member, separator);
        let own = ways().find(|(key, pattern, queue)| pattern.is_empty() && key == queue);
        let (routing_key, pattern, queue) = match own {
            Some(own) => own,
            None if member.matches(separator).count() == 2 => ways().next()?,
            None => ways().find(|(_, pattern, _)| is_pattern(pattern))?,
        };
        let pattern = match pattern {
            "" => None,
            pattern => regex::RegexBuilder::new(pattern)
                .size_limit(1 << 16)
                .build()
                .ok(),
        };
        Some(Binding {
            routing_key: routing_key.into(),
            pattern,
            queue: queue.into(),
        })
    }

    /// Returns `true` if a message with this key goes to the queue: by equality, or by the pattern
    /// of a topic exchange.
    pub(crate) fn leads(&self, routing_key: &str) -> bool {
        self.routing_key == routing_key
            || self
                .pattern
                .as_ref()
                .is_some_and(|p| p.is_match(routing_key))
    }

    /// Returns the queue.
    pub(crate) fn queue(&self) -> String {
        self.queue.clone()
    }
}

/// Returns `true` for the empty pattern of a direct exchange, and for the form that kombu gives to
/// a topic.
fn is_pattern(pattern: &str) -> bool {
    pattern.is_empty() || (pattern.starts_with('^') && pattern.ends_with('$'))
}

/// Returns every way to split a member into three parts at two separators, the shortest first part
/// first.
fn ways_to_split<'m>(
    member: &'m str,
    separator: &'m str,
) -> impl Iterator<Item = (&'m str, &'m str, &'m str)> {
    let splits = move |text: &'m str| {
        let starts = text.char_indices().map(|(at, _)| at);
        starts.filter_map(move |at| {
            let (before, rest) = text.split_at_checked(at)?;
            Some((before, rest.strip_prefix(separator)?))
        })
    };
    splits(member).flat_map(move |(key, rest)| {
        let two = splits(rest).map(move |(pattern, queue)| (key, pattern, queue));
        two.filter(|(_, _, queue)| !queue.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KOMBUS: &str = "\u{6}\u{16}";

    fn read(member: &str, separator: &str) -> Option<(String, Option<String>, String)> {
        let binding = Binding::read(member, separator)?;
        let pattern = binding.pattern.map(|pattern| pattern.as_str().to_owned());
        Some((binding.routing_key, pattern, binding.queue))
    }

    #[test]
    fn bindings_lead_by_key_or_pattern() {
        let direct = Binding::read("celery\u{6}\u{16}\u{6}\u{16}celery", KOMBUS).unwrap();
        assert!(direct.leads("celery") && !direct.leads("other"));
        let topic = "image.#\u{6}\u{16}^image\\..*?$\u{6}\u{16}photos";
        let topic = Binding::read(topic, KOMBUS).unwrap();
        assert!(topic.leads("image.resize") && !topic.leads("imagexresize"));
        assert_eq!(topic.queue, "photos");
        assert!(Binding::read("nonsense", KOMBUS).is_none());
        assert!(Binding::read(&format!("{}::q", "x".repeat(2_000)), ":").is_none());
    }

    #[test]
    fn names_may_contain_the_separator() {
        for (member, separator, routing_key, pattern, queue) in [
            ("q::q", ":", "q", None, "q"),
            ("key::q", ":", "key", None, "q"),
            ("a:b::a:b", ":", "a:b", None, "a:b"),
            ("a::b::a::b", ":", "a::b", None, "a::b"),
            ("a:::a:", ":", "a:", None, "a:"),
            ("---q", "-", "", None, "-q"),
            ("a:b::c", ":", "a:b", None, "c"),
            ("k:^a:.*$:q", ":", "k", Some("^a:.*$"), "q"),
        ] {
            let (key, found, to) = read(member, separator).unwrap();
            let found = (key.as_str(), found.as_deref(), to.as_str());
            assert_eq!(found, (routing_key, pattern, queue), "{member}");
        }
    }
}
