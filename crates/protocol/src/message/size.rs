//! The memory that a task takes, for memory budgets.

use super::Task;

/// A message as a broker carries it.
pub trait Carried {
    /// Returns about the number of bytes of the message.
    fn size(&self) -> usize;
}

impl Carried for Vec<u8> {
    fn size(&self) -> usize {
        self.len()
    }
}

impl Task {
    /// Returns the number of bytes of all its texts, each of which can be of any length. Rust's own
    /// overhead is not counted.
    pub fn size(&self) -> usize {
        let embed = &self.embed;
        let properties = &self.properties;
        let strings = [
            &self.id,
            &self.name,
            &self.delivery_info.exchange,
            &self.delivery_info.routing_key,
        ];
        let optional = [
            &self.shadow,
            &self.group,
            &self.root_id,
            &self.parent_id,
            &self.argsrepr,
            &self.kwargsrepr,
            &self.lang,
            &self.origin,
            &self.delivery_tag,
            &properties.correlation_id,
            &properties.reply_to,
            &properties.expiration,
        ];
        let follow_ups = [
            &embed.callbacks,
            &embed.errbacks,
            &embed.chain,
            &embed.chord,
        ]
        .map(Option::as_deref);
        let fields = [&self.stamps, &self.headers, &embed.extra, &properties.extra];
        let original = self.original_arguments.as_deref();
        let original = original.map(|original| original.strict.iter().chain(&original.received));

        let raw = [&self.args, &self.kwargs].map(|json| json.get().len());
        let strings = strings.iter().map(|text| text.len());
        let optional = optional.into_iter().flatten().map(String::len);
        let stamp_names = self.stamped_headers.iter().flatten().map(String::len);
        let follow_ups = follow_ups
            .into_iter()
            .flatten()
            .map(|json| json.get().len());
        let fields = fields.into_iter().map(super::super::fields::Fields::size);
        let original = original.into_iter().flatten().map(|text| text.len());
        raw.into_iter()
            .chain(strings)
            .chain(optional)
            .chain(stamp_names)
            .chain(follow_ups)
            .chain(fields)
            .chain(original)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts a text of a hundred bytes into each place of a message in turn.
    #[test]
    fn every_text_counts() {
        let message = |place: &str, long: &str| {
            let text = r#"{"body":"[[\"ARGS\"],{\"a\":\"KWARGS\"},{\"callbacks\":[\"CALL\"],\"errbacks\":[\"ERR\"],\"chain\":[\"CHAIN\"],\"chord\":{\"a\":\"CHORD\"},\"x\":\"EMBED\"}]","headers":{"task":"TASK","id":"ID","shadow":"SHADOW","group":"GROUP","root_id":"ROOT","parent_id":"PARENT","argsrepr":"AREPR","kwargsrepr":"KREPR","lang":"LANG","origin":"ORIGIN","stamped_headers":["STAMPED"],"stamps":{"STAMP":"VALUE"},"HEADER":"HVALUE"},"properties":{"correlation_id":"CORR","reply_to":"REPLY","expiration":"EXP","delivery_tag":"TAG","delivery_info":{"exchange":"EXCH","routing_key":"KEY"},"PROP":"PVALUE"}}"#;
            let raw = text.replacen(&format!("{place}\""), &format!("{long}\""), 1);
            let raw = raw.replacen(&format!("{place}\\"), &format!("{long}\\"), 1);
            Task::decode_redis(raw.as_bytes()).unwrap().size()
        };
        let short = message("none", "");
        for place in [
            "ARGS", "KWARGS", "CALL", "ERR", "CHAIN", "CHORD", "EMBED", "TASK", "ID", "SHADOW",
            "GROUP", "ROOT", "PARENT", "AREPR", "KREPR", "LANG", "ORIGIN", "STAMPED", "STAMP",
            "VALUE", "HEADER", "HVALUE", "CORR", "REPLY", "EXP", "TAG", "EXCH", "KEY", "PROP",
            "PVALUE",
        ] {
            let long = "x".repeat(100 + place.len());
            assert_eq!(message(place, &long), short + 100, "{place}");
        }
    }
}
