//! Defines the setting of how messages are claimed.

use super::checked::{Checked, quoted};
use crate::broker::ClaimMode;

impl Checked for ClaimMode {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        match given.as_str() {
            "adaptive" => Ok(ClaimMode::Adaptive),
            "script" => Ok(ClaimMode::Script),
            "native" => Ok(ClaimMode::Native),
            other => Err(format!("{other:?} is not one of adaptive, script, native")),
        }
    }

    fn written(&self) -> Option<String> {
        let name = match self {
            ClaimMode::Adaptive => "adaptive",
            ClaimMode::Script => "script",
            ClaimMode::Native => "native",
        };
        Some(quoted(name))
    }
}
