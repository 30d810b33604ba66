//! Reading and changing the entries of schedules.

use std::sync::Arc;

use celery_client::redis::RedisEndpoint;
use celery_client::redis::blocking::{Client, ClientOptions, EntryChange};
use celery_protocol::schedule::NextDue;

use super::{at_leisure, cli, client, redis};

fn change<'a>(name: &'a str, read: &'a str, entry: &'a str, due: NextDue) -> EntryChange<'a> {
    EntryChange {
        name,
        read,
        entry,
        due,
    }
}

#[test]
fn entries_are_read_with_their_due_times() {
    let redis = redis();
    let mut client = client(&redis);
    assert_eq!(at_leisure(|wait| client.schedules(None, wait)).unwrap(), []);
    cli(&redis, &["HSET", "rs.beat", "a/ž", "{\"v\":1}", "b", "x"]);
    cli(&redis, &["ZADD", "rs.beat.due", "1764399600000", "a/ž"]);
    cli(&redis, &["HSET", "rs.beat.runs", "a/ž", "2 1764399500000"]);
    let mut all = at_leisure(|wait| client.schedules(None, wait)).unwrap();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    let [a, b] = &all[..] else { panic!("{all:?}") };
    assert_eq!((&*a.name, &*a.entry), ("a/ž", "{\"v\":1}"));
    assert_eq!(a.due, Some(1_764_399_600_000));
    assert_eq!(a.runs, Some((2, 1_764_399_500_000)));
    assert_eq!((&*b.entry, b.due, b.runs), ("x", None, None));
    let one = at_leisure(|wait| client.schedules(Some("b"), wait)).unwrap();
    assert_eq!(one, std::slice::from_ref(b));
    let none = at_leisure(|wait| client.schedules(Some("c"), wait)).unwrap();
    assert_eq!(none, []);
}

#[test]
fn a_change_needs_the_entry_that_was_read() {
    let redis = redis();
    let endpoint = RedisEndpoint::from_url(&redis.url()).unwrap();
    let endpoint = Arc::new(endpoint.with_key_prefix("mine:"));
    let mut client = Client::new(endpoint, ClientOptions::default());
    let mut write =
        |change: EntryChange<'_>| at_leisure(|wait| client.change_schedule(&change, wait)).unwrap();
    assert!(write(change("a", "", "one", NextDue::Compute)));
    assert_eq!(cli(&redis, &["ZSCORE", "mine:rs.beat.due", "a"]), "0");
    assert!(!write(change("a", "", "two", NextDue::Compute)));
    assert!(!write(change("a", "other", "two", NextDue::Compute)));
    cli(&redis, &["ZADD", "mine:rs.beat.due", "7", "a"]);
    // A script that Redis has forgotten is sent again.
    cli(&redis, &["SCRIPT", "FLUSH"]);
    assert!(write(change("a", "one", "two", NextDue::Keep)));
    assert_eq!(cli(&redis, &["ZSCORE", "mine:rs.beat.due", "a"]), "7");
    assert!(write(change("a", "two", "three", NextDue::Stop)));
    assert_eq!(cli(&redis, &["ZCARD", "mine:rs.beat.due"]), "0");
    assert_eq!(cli(&redis, &["HGET", "mine:rs.beat", "a"]), "three");
    assert!(write(change("a", "three", "", NextDue::Stop)));
    assert_eq!(cli(&redis, &["EXISTS", "mine:rs.beat"]), "0");
}

#[test]
fn keys_of_another_type_are_an_error() {
    let redis = redis();
    cli(&redis, &["SET", "rs.beat", "text"]);
    let mut client = client(&redis);
    let read = at_leisure(|wait| client.schedules(None, wait));
    assert!(read.unwrap_err().to_string().contains("WRONGTYPE"));
    let change = change("a", "", "one", NextDue::Compute);
    let written = at_leisure(|wait| client.change_schedule(&change, wait));
    assert!(written.unwrap_err().to_string().contains("WRONGTYPE"));
}
