//! `report`: the versions and settings that belong in a bug report.

use std::fmt::Write as _;

use celery_client::Endpoint;
use celery_protocol::repr;
use serde_json::Value;

use super::conf;
use crate::control::answer::{Answer, ok};
use crate::control::node::Node;

pub(super) fn run(node: &Node) -> Answer {
    let config = &node.config;
    let settings = conf::settings(config);
    let results = settings.get("result_backend");
    let results = results.and_then(Value::as_str).unwrap_or_default();
    // The names of kombu's transports.
    let transport = match &config.broker {
        Endpoint::Redis(_) => "redis",
        Endpoint::Amqp(_) => "amqp",
    };
    let mut report = format!(
        "\nsoftware -> celery-worker:{} (native)\nplatform -> system:{} arch:{}\n\
         settings -> transport:{transport} results:{results}\n\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
    );
    for (name, value) in settings {
        let value = repr::value(&value.to_string(), repr::MAX_CHARS);
        // Writing to a string cannot fail.
        let _written = writeln!(report, "{name}: {value}");
    }
    ok(&report)
}
