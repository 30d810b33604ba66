//! What the URLs of several nodes have in common: `scheme://a:1;scheme://b:2/0?parameters`.
//!
//! Each node has its scheme. Login, database and parameters may be with any of them.

use crate::error::ConfigError;

/// A kind of list, and what errors say about it.
pub(super) struct Kind {
    pub(super) scheme: &'static str,
    pub(super) default_port: u16,
    /// The name of a list.
    pub(super) name: &'static str,
    /// The reason why a node without its scheme is refused.
    pub(super) no_scheme: &'static str,
    /// The names of two logins and of two databases that differ.
    pub(super) logins: &'static str,
    pub(super) databases: &'static str,
}

impl Kind {
    /// Returns the text after the scheme of a node that is not the first one.
    pub(super) fn own_scheme<'t>(&self, node: &'t str) -> Result<&'t str, ConfigError> {
        match node.trim().split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(self.scheme) => Ok(rest),
            _ => Err(ConfigError::Value {
                name: self.name,
                reason: self.no_scheme,
            }),
        }
    }
}

/// Notes a value that several nodes may have, if they have the same one.
pub(super) fn agree<T: PartialEq>(
    known: &mut Option<T>,
    value: T,
    what: &'static str,
) -> Result<(), ConfigError> {
    match known {
        Some(known) if *known != value => Err(ConfigError::Contradiction { what }),
        _ => {
            *known = Some(value);
            Ok(())
        }
    }
}
