//! Compares answers by their shape: the same members, each with a value of the same kind.

use serde_json::Value;

/// Returns the differences between two shapes, each as a path and both kinds. Paths in `allowed`
/// are passed over.
pub fn differences(python: &Value, ours: &Value, allowed: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    compare("", python, ours, allowed, &mut found);
    found
}

fn compare(path: &str, python: &Value, ours: &Value, allowed: &[&str], found: &mut Vec<String>) {
    if allowed.contains(&path) {
        return;
    }
    match (python, ours) {
        (Value::Object(python), Value::Object(ours)) => {
            for (name, value) in python {
                let path = format!("{path}.{name}");
                match ours.get(name) {
                    Some(other) => compare(&path, value, other, allowed, found),
                    None if allowed.contains(&path.as_str()) => {}
                    None => found.push(format!("{path}: missing here")),
                }
            }
            let more = ours.keys().filter(|name| !python.contains_key(*name));
            let more = more.map(|name| format!("{path}.{name}"));
            let more = more.filter(|path| !allowed.contains(&path.as_str()));
            found.extend(more.map(|path| format!("{path}: not in Python")));
        }
        (Value::Array(python), Value::Array(ours)) => {
            if let (Some(python), Some(ours)) = (python.first(), ours.first()) {
                compare(&format!("{path}[]"), python, ours, allowed, found);
            } else if python.len() != ours.len() {
                found.push(format!("{path}: {} and {} items", python.len(), ours.len()));
            }
        }
        (python, ours) if kind(python) == kind(ours) => {}
        (python, ours) => found.push(format!("{path}: {python} and {ours}")),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
