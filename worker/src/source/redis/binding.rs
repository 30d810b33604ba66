//! Where a named exchange leads, as kombu keeps it in Redis: a set of strings.

/// A member of kombu's binding set: what an exchange sends to a queue.
#[derive(Debug)]
pub(super) struct Binding {
    routing_key: String,
    pattern: Option<regex::Regex>,
    queue: String,
}

impl Binding {
    pub(super) fn read(member: &str) -> Option<Self> {
        let mut parts = member.split(celery_protocol::keys::SEPARATOR);
        let (routing_key, pattern, queue) = (parts.next()?, parts.next()?, parts.next()?);
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

    /// Whether a message with this key goes there: by equality, or by the pattern of a topic exchange.
    pub(super) fn leads(&self, routing_key: &str) -> bool {
        self.routing_key == routing_key
            || self
                .pattern
                .as_ref()
                .is_some_and(|p| p.is_match(routing_key))
    }

    /// Where it leads.
    pub(super) fn queue(&self) -> String {
        self.queue.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_lead_by_key_or_pattern() {
        let direct = Binding::read("celery\u{6}\u{16}\u{6}\u{16}celery").unwrap();
        assert!(direct.leads("celery") && !direct.leads("other"));
        let topic = Binding::read("image.#\u{6}\u{16}^image\\..*?$\u{6}\u{16}photos").unwrap();
        assert!(topic.leads("image.resize") && !topic.leads("imagexresize"));
        assert_eq!(topic.queue, "photos");
        assert!(Binding::read("nonsense").is_none());
    }
}
