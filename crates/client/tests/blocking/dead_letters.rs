//! Reading dead letters, putting them back, and deleting them.

use celery_client::redis::blocking::Client;
use celery_client::redis::dead_letters::Replayed;
use celery_testkit::Redis;

use super::{at_leisure, cli, client, old_redis, queued, redis};

/// Adds a dead letter of the queue `q` with this place and message.
fn add(redis: &Redis, place: &str, raw: &str) {
    let fields = [
        "queue",
        "q",
        "id",
        "i",
        "task",
        "t",
        "cause",
        "unregistered",
    ];
    let entry = [&["XADD", "celery.dead", place][..], &fields, &["raw", raw]].concat();
    cli(redis, &entry);
}

fn newest(client: &mut Client, before: Option<&str>, limit: usize) -> Vec<String> {
    let mut places = Vec::new();
    at_leisure(|wait| {
        client.newest_dead_letters(before, limit, wait, |letter| places.push(letter.place))
    })
    .unwrap();
    places
}

fn replay(client: &mut Client, place: &str) -> Replayed {
    at_leisure(|wait| client.replay_dead_letter(place, wait)).unwrap()
}

#[test]
fn letters_are_read_newest_first_in_pages() {
    for redis in [redis(), old_redis()] {
        let mut client = client(&redis);
        assert!(newest(&mut client, None, 10).is_empty());
        let all: Vec<String> = (1..=120).map(|nth| format!("{nth}-0")).collect();
        for place in &all {
            add(&redis, place, "{}");
        }
        let newest_first: Vec<String> = all.iter().rev().cloned().collect();
        let count = at_leisure(|wait| client.count_dead_letters(wait));
        assert_eq!(count, Ok(120));
        assert_eq!(newest(&mut client, None, 1000), newest_first);
        for limit in [0, 1, 49, 50, 51, 100, 119, 120] {
            assert_eq!(newest(&mut client, None, limit), newest_first[..limit]);
        }
        assert_eq!(newest(&mut client, Some("101-0"), 60), newest_first[20..80]);
        assert!(newest(&mut client, Some("1-0"), 60).is_empty());

        let letter = at_leisure(|wait| client.dead_letter("7-0", wait)).unwrap();
        let letter = letter.unwrap();
        assert_eq!((&*letter.place, letter.raw()), ("7-0", &b"{}"[..]));
        assert_eq!(letter.field("cause"), "unregistered");
        assert_eq!(letter.field("nothing"), "");
        let none = at_leisure(|wait| client.dead_letter("7-1", wait)).unwrap();
        assert!(none.is_none());
    }
}

#[test]
fn a_letter_is_put_back_once() {
    let redis = redis();
    let mut client = client(&redis);
    add(&redis, "1-0", r#"{"a":1}"#);
    add(&redis, "2-0", r#"{"b":1}"#);
    assert_eq!(replay(&mut client, "1-0"), Replayed::Done);
    assert_eq!(replay(&mut client, "1-0"), Replayed::Gone);
    assert_eq!(queued(&redis, "q"), ["a"]);
    assert_eq!(newest(&mut client, None, 10), ["2-0"]);

    // The script is sent again where the server has forgotten it.
    cli(&redis, &["SCRIPT", "FLUSH"]);
    cli(&redis, &["CLIENT", "KILL", "TYPE", "normal"]);
    assert_eq!(replay(&mut client, "2-0"), Replayed::Done);
    assert_eq!(queued(&redis, "q"), ["a", "b"]);
}

#[test]
fn a_letter_without_a_message_stays() {
    let redis = redis();
    let mut client = client(&redis);
    let fields = ["queue", "q", "cause", "follow-up", "raw", "{}"];
    cli(
        &redis,
        &[&["XADD", "celery.dead", "1-0"][..], &fields].concat(),
    );
    assert!(matches!(
        replay(&mut client, "1-0"),
        Replayed::Impossible(_)
    ));
    assert_eq!(newest(&mut client, None, 10), ["1-0"]);
}

#[test]
fn a_letter_is_deleted() {
    let redis = redis();
    let mut client = client(&redis);
    add(&redis, "1-0", "{}");
    let mut delete = |place| at_leisure(|wait| client.delete_dead_letter(place, wait));
    assert_eq!(delete("1-0"), Ok(true));
    assert_eq!(delete("1-0"), Ok(false));
    assert_eq!(cli(&redis, &["XLEN", "celery.dead"]), "0");
}
