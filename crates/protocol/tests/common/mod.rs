//! Messages and results captured from Python Celery 5.7, and helpers to compare with them.

#![allow(dead_code, unreachable_pub, reason = "each test uses its own part")]
#![allow(
    clippy::unwrap_used,
    reason = "a fixture that cannot be read is a failed test"
)]

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use celery_protocol::compression::Compression;
use serde_json::Value;

/// A fixture file.
pub struct Fixture {
    pub name: String,
    pub json: Value,
}

/// Returns all files of a folder. There must be exactly `count`, so that none is forgotten.
pub fn folder(name: &str, count: usize) -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), count, "files in {}", folder.display());
    files
        .into_iter()
        .map(|path| Fixture {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            json: parsed(&std::fs::read(&path).unwrap()),
        })
        .collect()
}

impl Fixture {
    /// Returns the elements of all lists in the broker, each with the list's key.
    pub fn queued(&self) -> Vec<(String, Vec<u8>)> {
        let keys = self.json["redis_keys"].as_object().unwrap();
        keys.iter()
            .filter(|(_, key)| key["type"] == "list")
            .flat_map(|(name, key)| {
                let items = key["items_head_to_tail"].as_array().unwrap();
                items
                    .iter()
                    .map(move |item| (name.clone(), bytes(item, "").unwrap()))
            })
            .collect()
    }

    /// Returns the stored documents whose keys begin with `prefix`, each with its key.
    pub fn stored(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let keys = self.json["redis_result_keys"].as_object().unwrap();
        keys.iter()
            .filter(|(name, key)| name.contains(prefix) && key["type"] == "string")
            .map(|(name, key)| (name.clone(), bytes(key, "value").unwrap()))
            .collect()
    }

    /// Returns the documents published on result channels, each with its channel.
    pub fn published(&self) -> Vec<(String, Vec<u8>)> {
        let Some(messages) = self.json["pubsub_result_messages"].as_array() else {
            return Vec::new();
        };
        messages
            .iter()
            .map(|message| {
                (
                    message["channel"].as_str().unwrap().to_owned(),
                    bytes(message, "data").unwrap(),
                )
            })
            .collect()
    }
}

/// Returns a member's text, or its bytes from the member ending in `_b64`. An empty name means the
/// value itself.
fn bytes(value: &Value, name: &str) -> Option<Vec<u8>> {
    let plain = if name.is_empty() { value } else { &value[name] };
    if let Some(text) = plain.as_str() {
        return Some(text.as_bytes().to_vec());
    }
    STANDARD.decode(value[format!("{name}_b64")].as_str()?).ok()
}

/// Returns a result as a worker with `result_compression` stores it.
pub fn compressed(format: Compression, document: &[u8]) -> Vec<u8> {
    let data = format.compress(document).unwrap();
    let mark = format!("\0celery-compressed\0{}\0", format.content_type());
    [mark.as_bytes(), &data].concat()
}

/// Parses a JSON text, whatever Python wrote into it.
pub fn parsed(json: &[u8]) -> Value {
    let strict = celery_protocol::json::normalise(json).unwrap();
    serde_json::from_str(&strict).unwrap_or_else(|error| panic!("{error}: {strict}"))
}

/// Returns the parsed body of an envelope whose body is JSON in base64.
pub fn decoded_body(raw: &[u8]) -> Value {
    let envelope = parsed(raw);
    parsed(&STANDARD.decode(envelope["body"].as_str().unwrap()).unwrap())
}
