//! Several servers of a RabbitMQ as one endpoint.

use super::AmqpEndpoint;
use crate::endpoint::url::UrlText;
use crate::error::ConfigError;

/// Limit for the servers of a list: more than a cluster sensibly has.
const MOST: usize = 16;

impl AmqpEndpoint {
    /// Reads a list of URLs.
    pub(super) fn read_list(text: &str) -> Result<Self, ConfigError> {
        const NOT_A_LIST: ConfigError = ConfigError::Value {
            name: "list of RabbitMQs",
            reason: "it must be whole URLs with a semicolon between them, as in \
                     amqp://a;amqp://b",
        };
        let one = |part| {
            let url = UrlText::split(part).map_err(|_| NOT_A_LIST)?;
            // Commas, for example, divide nothing here.
            if url.is_list() {
                return Err(NOT_A_LIST);
            }
            Self::read(&url)
        };
        let mut all = text.split(';').map(one).collect::<Result<Vec<_>, _>>()?;
        if all.len() > MOST {
            return Err(ConfigError::Value {
                name: "list of RabbitMQs",
                reason: "it has more than 16 servers",
            });
        }
        let mut first = all.remove(0);
        first.others = all;
        Ok(first)
    }

    /// Returns the servers of the list in their order; a single server is a list of one.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.others)
    }

    /// Returns `true` for a list of several servers.
    pub(crate) fn is_list(&self) -> bool {
        !self.others.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_servers_with_their_own_logins() {
        let list = read("amqp://u:p@a:1/v; amqps://w:q@[::1] ;pyamqp://c//");
        let shown = "amqp://u:********@a:1/v;amqps://w:********@[::1]:5671//;\
                     amqp://guest:********@c:5672//";
        assert_eq!(list.display_url(), shown);
        assert!(list.is_list());
        let hosts: Vec<_> = list.hosts().map(AmqpEndpoint::host_and_port).collect();
        assert_eq!(hosts, ["a:1", "[::1]:5671", "c:5672"]);
        let turned = read("pyamqp://c//;amqp://u:other@a:1/v;amqps://w:q@[::1]");
        assert_eq!(list.identity(), turned.identity());
        assert_ne!(list.identity(), read("amqp://u:p@a:1/v").identity());
        assert!(!format!("{list:?} {list}").contains(":p@"));
        let trusting = list.with_default_ca_file(std::path::Path::new("/ca.pem"));
        let of_second = trusting.hosts().nth(1).and_then(AmqpEndpoint::tls).unwrap();
        assert!(of_second.ca_file.is_some());
        let many = vec!["amqp://h"; MOST + 1].join(";");
        assert!(AmqpEndpoint::from_url(&many).is_err());
        assert!(AmqpEndpoint::from_url(&many[..many.len() - 9]).is_ok());
    }

    fn read(urls: &str) -> AmqpEndpoint {
        AmqpEndpoint::from_url(urls).unwrap_or_else(|error| panic!("{urls}: {error}"))
    }
}
