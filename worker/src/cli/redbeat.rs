//! Copies the entries of RedBeat, a scheduler of Celery that keeps them in Redis.
//!
//! RedBeat has a hash for each entry, whose field `definition` is JSON; see `redbeat/decoder.py` and
//! `redbeat/schedulers.py` of celery-redbeat 2. It keeps the times in the app's zone, which it does
//! not store.

use celery_client::aio::{Failure, Value};
use celery_protocol::schedule::{NextDue, Options, check_name};
use serde_json::{Map, Value as Json, json};

use super::beat::Schedules;
use super::redis::{escaped, items, raw, text};
use crate::beat::Zoned;
use crate::database::Zone;
use crate::printable::one_line;

/// The keys that one call of `SCAN` looks at.
const COUNT: &str = "1000";

/// Copies the entries below a prefix that do not exist yet. Returns `false` if one was not copied.
pub(super) async fn import(
    schedules: &mut Schedules,
    prefix: &str,
    zone: Option<&Zone>,
) -> Result<bool, Failure> {
    let pattern = format!("{}*", escaped(prefix));
    let (mut cursor, mut copied, mut is_good) = ("0".to_owned(), 0, true);
    loop {
        let words = [
            "SCAN", &cursor, "MATCH", &pattern, "COUNT", COUNT, "TYPE", "hash",
        ];
        let mut answer = items(schedules.ask(&words).await?).into_iter();
        cursor = answer.next().as_ref().map(text).unwrap_or_default();
        for key in answer.next().map(items).unwrap_or_default() {
            let key = text(&key);
            let definition = schedules.ask(&["HGET", &key, "definition"]).await?;
            if definition == Value::Nil {
                continue;
            }
            match read(&raw(definition), zone) {
                Ok((name, entry, left_out)) => {
                    let shown = one_line(&name).into_owned();
                    let due = if entry.enabled {
                        NextDue::Compute
                    } else {
                        NextDue::Stop
                    };
                    if schedules.write(&name, b"", &entry.json(), due).await? {
                        copied += 1;
                        println!("{shown}: copied");
                    } else {
                        println!("{shown}: there is such an entry already");
                    }
                    for option in left_out {
                        let option = one_line(&option).into_owned();
                        println!("{shown}: the option {option} has no meaning here");
                    }
                }
                Err(cause) => {
                    is_good = false;
                    eprintln!("celery-worker: {}: {}", one_line(&key), one_line(&cause));
                }
            }
        }
        if cursor == "0" || cursor.is_empty() {
            println!("{copied} copied");
            return Ok(is_good);
        }
    }
}

/// Reads a definition. Returns the name, the entry, and the options that were left out.
fn read(definition: &[u8], zone: Option<&Zone>) -> Result<(String, Zoned, Vec<String>), String> {
    let mut found: Map<String, Json> =
        serde_json::from_slice(definition).map_err(|error| error.to_string())?;
    let mut take = |name: &str| found.remove(name).filter(|value| !value.is_null());
    let Some(Json::String(name)) = take("name") else {
        return Err("it has no name".to_owned());
    };
    check_name(&name).map_err(|error| error.to_string())?;
    let schedule = schedule(take("schedule"))?;
    let (options, left_out) = options(take("options"))?;
    let entry = json!({
        "v": 1,
        "task": take("task"),
        "schedule": schedule,
        "timezone": zone.map(ToString::to_string),
        "args": take("args").unwrap_or_else(|| json!([])),
        "kwargs": take("kwargs").unwrap_or_else(|| json!({})),
        "options": options,
        "enabled": take("enabled").unwrap_or(Json::Bool(true)),
    });
    let entry = Zoned::read(entry.to_string().as_bytes());
    Ok((name, entry.map_err(|error| error.to_string())?, left_out))
}

fn schedule(value: Option<Json>) -> Result<Json, String> {
    let Some(Json::Object(mut members)) = value else {
        return Err("it has no schedule".to_owned());
    };
    match members.remove("__type__") {
        Some(Json::String(kind)) if kind == "interval" || kind == "crontab" => {
            Ok(Json::Object(members))
        }
        Some(Json::String(kind)) => Err(format!("a schedule of type {kind} is not supported")),
        _ => Err("its schedule has no type".to_owned()),
    }
}

/// Returns the options, and the names of those that were left out.
fn options(value: Option<Json>) -> Result<(Json, Vec<String>), String> {
    let mut given = match value {
        None => Map::new(),
        Some(Json::Object(given)) => given,
        Some(_) => return Err("its options are not an object".to_owned()),
    };
    // An exchange and a routing key together stand for the queue of that name.
    if !given.contains_key("queue")
        && given.contains_key("exchange")
        && let Some(key) = given.remove("routing_key")
    {
        given.remove("exchange");
        given.insert("queue".to_owned(), key);
    }
    let (mut kept, mut left_out) = (Map::new(), Vec::new());
    for (name, value) in given {
        if value.is_null() {
            continue;
        }
        if Options::NAMES.contains(&&*name) {
            kept.insert(name, value);
        } else {
            left_out.push(name);
        }
    }
    Ok((Json::Object(kept), left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(definition: Json) -> Result<(String, Json, Vec<String>), String> {
        let (name, entry, left_out) = read(definition.to_string().as_bytes(), None)?;
        Ok((
            name,
            serde_json::from_slice(&entry.json()).unwrap(),
            left_out,
        ))
    }

    #[test]
    fn definitions_become_entries() {
        let (name, interval, left_out) = entry(json!({
            "name": "often", "task": "proj.look", "args": null, "kwargs": null,
            "options": { "queue": "q", "retry": true, "expires": null },
            "schedule": { "__type__": "interval", "every": 30.0, "relative": true },
            "enabled": true,
        }))
        .unwrap();
        assert_eq!(
            (name.as_str(), left_out),
            ("often", vec!["retry".to_owned()])
        );
        assert_eq!(
            interval["schedule"],
            json!({ "every": 30.0, "relative": true })
        );
        assert_eq!(interval["options"], json!({ "queue": "q" }));
        let (_, crontab, _) = entry(json!({
            "name": "nightly", "task": "proj.clean", "args": [1], "kwargs": { "a": 2 },
            "options": { "exchange": "x", "routing_key": "night" },
            "schedule": {
                "__type__": "crontab", "minute": "0", "hour": 4, "day_of_week": "mon-fri",
                "day_of_month": "*", "month_of_year": [1, 7],
            },
            "enabled": false,
        }))
        .unwrap();
        assert_eq!(crontab["options"], json!({ "queue": "night" }));
        assert_eq!(crontab["schedule"]["month_of_year"], json!([1, 7]));
        assert_eq!(
            (&crontab["enabled"], crontab.get("origin")),
            (&Json::Bool(false), None)
        );
    }

    #[test]
    fn what_cannot_be_copied_is_named() {
        let base =
            json!({ "name": "n", "task": "t", "schedule": { "__type__": "interval", "every": 1 } });
        for (member, value, part) in [
            (
                "schedule",
                json!({ "__type__": "rrule", "freq": 1 }),
                "of type rrule",
            ),
            ("schedule", json!({ "every": 1 }), "has no type"),
            ("schedule", json!(null), "has no schedule"),
            ("name", json!(null), "has no name"),
            ("task", json!(null), "invalid type: null"),
            ("options", json!([]), "not an object"),
            (
                "options",
                json!({ "expires": { "__type__": "datetime" } }),
                "invalid type: map",
            ),
        ] {
            let mut definition = base.clone();
            definition[member] = value;
            let error = entry(definition).unwrap_err();
            assert!(error.contains(part), "{member}: {error}");
        }
        assert!(read(b"\"text\"", None).is_err() && read(b"{", None).is_err());
    }

    #[test]
    fn a_prefix_is_not_a_pattern() {
        assert_eq!(escaped("redbeat:"), "redbeat:");
        assert_eq!(escaped("a*[b]?\\"), "a\\*\\[b\\]\\?\\\\");
    }
}
