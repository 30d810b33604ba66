//! Claims by native commands on a real Redis, interrupted at each step.

use std::collections::BTreeSet;
use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};

use std::time::Duration;

use celery_protocol::redis_keys::Keys;
use celery_testkit::{Redis, RedisOptions};

use super::*;
use crate::broker::QueueOrder;
use crate::broker::redis::layout::testing::connector;
use crate::broker::redis::moving::LARGE;

/// The lease of the sweepers.
const LEASE: Duration = Duration::from_secs(30);

fn session(redis: &Redis, mode: ClaimMode) -> Session {
    let order = QueueOrder::Priority;
    let connector = connector(redis, Keys::default(), &["q", "r"], &order);
    connector.session("fetch").claiming(mode)
}

fn start() -> (Redis, Session) {
    let redis = RedisOptions::new().start().unwrap();
    let session = session(&redis, ClaimMode::Native);
    (redis, session)
}

fn texts(claim: &Claim) -> Vec<String> {
    let text = |it: &Claimed| String::from_utf8_lossy(&it.message.0).into_owned();
    claim.messages.iter().map(text).collect()
}

fn ask(redis: &Redis, words: &[&str]) -> String {
    redis.cli(words).unwrap().trim().replace('\n', " ")
}

/// Asserts how many messages are held, and that no held list is left.
fn held(redis: &Redis, count: usize) {
    let count = count.to_string();
    assert_eq!(ask(redis, &["HLEN", "unacked"]), count);
    assert_eq!(ask(redis, &["ZCARD", "unacked_index"]), count);
    assert_eq!(ask(redis, &["KEYS", "rs.held.*"]), "");
}

/// Returns how often Redis has carried out a command.
fn calls(redis: &Redis, command: &str) -> usize {
    let stats = ask(redis, &["INFO", "commandstats"]);
    let (_, rest) = stats
        .split_once(&format!("cmdstat_{command}:calls="))
        .unwrap_or(("", "0,"));
    rest.split(',').next().unwrap().parse().unwrap()
}

async fn plan(session: &mut Session) -> Plan {
    match session
        .look(&session.layout.consumed(), Ask::only(10), &[])
        .await
        .unwrap()
        .next
    {
        Next::Move(plan) => plan,
        other => panic!("{other:?}"),
    }
}

/// Moves messages as a claim does that ends after this step.
async fn only_move(session: &mut Session) -> (Plan, String, Vec<Vec<u8>>) {
    let plan = plan(session).await;
    session.calls += 1;
    let header = Header::text(&session.layout, session.calls, &plan.time, &plan.list);
    let moved = session.move_messages(&plan, &header).await.unwrap();
    (plan, header, moved.unwrap())
}

/// Enters what [`only_move`] has moved, as that claim would.
async fn only_enter(
    session: &mut Session,
    (plan, header, moved): (Plan, String, Vec<Vec<u8>>),
) -> Result<Option<Claim>, Failure> {
    let call = session.calls;
    session.enter(call, &plan, &header, moved).await
}

#[tokio::test]
async fn messages_are_claimed_in_order_and_written_as_the_script_does() {
    let (redis, mut session) = start();
    ask(&redis, &["LPUSH", "q", "{1}", "[2]", "{3}"]);
    ask(&redis, &["LPUSH", "r", "{4}"]);
    let first = session.claim(Ask::only(10), &[]).await;
    assert_eq!(
        (texts(&first), first.dead, first.filled),
        (vec!["{1}".into(), "{3}".into()], 1, true)
    );
    let acks = [first.messages[0].tag];
    let second = session.claim(Ask::only(10), &acks).await;
    assert_eq!(
        (texts(&second), second.dead, second.filled),
        (vec!["{4}".into()], 0, false)
    );
    held(&redis, 2);
    let third = session.claim(Ask::only(10), &acks).await;
    assert_eq!((texts(&third).len(), &*third.lost), (0, &acks[..]));
    let entries = ask(&redis, &["HVALS", "unacked"]);
    assert!(entries.contains(r#"[{3},"","q"]"#) && entries.contains(r#"[{4},"","r"]"#));
    assert_eq!(calls(&redis, "lmove"), 4);
}

#[tokio::test]
async fn no_more_is_claimed_than_there_is_room_for() {
    let (redis, mut session) = start();
    ask(&redis, &["LPUSH", "q", "{1}", "{2}", "{3}"]);
    let claim = session.claim(Ask::only(2), &[]).await;
    assert_eq!((texts(&claim).len(), claim.filled), (2, true));
    assert_eq!(ask(&redis, &["LRANGE", "q", "0", "-1"]), "{3}");
}

#[tokio::test]
async fn only_queues_with_large_messages_are_moved() {
    let redis = RedisOptions::new().start().unwrap();
    let mut session = session(&redis, ClaimMode::Adaptive);
    let large = format!("{{{}}}", "x".repeat(LARGE));
    for _ in 0..2 {
        ask(&redis, &["LPUSH", "q", &large]);
        assert_eq!(session.claim(Ask::only(10), &[]).await.messages.len(), 1);
    }
    // The first one showed the size of the queue's messages.
    assert_eq!(calls(&redis, "lmove"), 1);
    ask(&redis, &["LPUSH", "r", "{1}", "{2}"]);
    assert_eq!(session.claim(Ask::only(10), &[]).await.messages.len(), 2);
    assert_eq!(calls(&redis, "lmove"), 1);
    // Its messages become small: the mean follows.
    for _ in 0..8 {
        ask(&redis, &["LPUSH", "q", "{}"]);
        session.claim(Ask::only(10), &[]).await;
    }
    assert!(
        !session
            .moving
            .is_on(&session.layout.consumed(), Instant::now())
    );
}

/// The future of a claim is dropped after each number of polls. What was sent is still carried
/// out, at that time or later.
#[tokio::test]
async fn a_claim_that_is_dropped_at_any_point_loses_nothing_and_takes_nothing_twice() {
    let (redis, mut session) = start();
    let mut finished = 0;
    for polls in 1..40 {
        ask(&redis, &["LPUSH", "q", "{1}", "{2}", "{3}"]);
        let done = {
            let mut claim = pin!(session.claim(Ask::only(10), &[]));
            let mut cx = Context::from_waker(Waker::noop());
            let mut done = None;
            for _ in 0..polls {
                if let std::task::Poll::Ready(claim) = claim.as_mut().poll(&mut cx) {
                    done = Some(claim);
                    break;
                }
                tokio::task::yield_now().await;
            }
            done
        };
        finished += usize::from(done.is_some());
        let mut taken = done.map(|claim| claim.messages).unwrap_or_default();
        while taken.len() < 3 {
            taken.extend(session.claim(Ask::only(10), &[]).await.messages);
        }
        let tags: BTreeSet<Tag> = taken.iter().map(|it| it.tag).collect();
        assert_eq!((taken.len(), tags.len()), (3, 3), "after {polls} polls");
        assert_eq!(ask(&redis, &["LLEN", "q"]), "0");
        held(&redis, 3);
        session
            .claim(Ask::only(0), &tags.into_iter().collect::<Vec<_>>())
            .await;
        held(&redis, 0);
    }
    assert!(finished < 39, "no claim was interrupted");
}

#[tokio::test]
async fn messages_of_an_unanswered_move_are_claimed_once() {
    let (redis, mut session) = start();
    ask(&redis, &["LPUSH", "q", "{1}", "{2}"]);
    only_move(&mut session).await;
    assert_eq!(ask(&redis, &["SMEMBERS", "rs.held.owners"]), "abc");
    assert_eq!(
        texts(&session.claim(Ask::only(10), &[]).await),
        ["{1}", "{2}"]
    );
    held(&redis, 2);
}

#[tokio::test]
async fn messages_of_an_unanswered_entering_are_found_by_their_tags() {
    let (redis, mut session) = start();
    ask(&redis, &["LPUSH", "q", "{1}", "{2}"]);
    let moved = only_move(&mut session).await;
    let entered = only_enter(&mut session, moved).await.unwrap().unwrap();
    // As if its answer had been lost: the list may have messages, and the tags may be in use.
    session.unanswered = Some(session.calls);
    ask(&redis, &["LPUSH", "q", "{3}"]);
    let again = session.claim(Ask::only(10), &[]).await;
    assert_eq!(texts(&again), ["{1}", "{2}", "{3}"]);
    assert_eq!(again.messages[0].tag, entered.messages[0].tag);
    held(&redis, 3);
}

#[tokio::test]
async fn what_a_sweeper_has_returned_is_not_entered() {
    let (redis, mut session) = start();
    let mut other = self::session(&redis, ClaimMode::Script);
    ask(&redis, &["LPUSH", "q", "{1}", "{2}", "{3}"]);
    let moved = only_move(&mut session).await;
    let now = other.time().await.unwrap();
    assert_eq!(other.sweep_held(now, LEASE).await.unwrap(), 0);
    let later = now + LEASE.as_secs_f64() + 1.0;
    assert_eq!(other.sweep_held(later, LEASE).await.unwrap(), 3);
    let taken = other.claim(Ask::only(2), &[]).await;
    assert_eq!(texts(&taken), ["{1}", "{2}"]);
    let entered = only_enter(&mut session, moved).await;
    assert!(entered.unwrap().is_none());
    held(&redis, 2);
    assert_eq!(texts(&session.claim(Ask::only(10), &[]).await), ["{3}"]);
    held(&redis, 3);
}

#[tokio::test]
async fn a_move_that_comes_late_is_found_by_the_next_claim() {
    let (redis, mut session) = start();
    ask(&redis, &["LPUSH", "q", "{1}", "{2}"]);
    let (plan, header, moved) = only_move(&mut session).await;
    // A server that was frozen carries out an older move, and then the new entering.
    let older = Header::text(&session.layout, 0, &plan.time, "r");
    ask(&redis, &["LPUSH", "rs.held.abc", &older, "{0}"]);
    let entered = only_enter(&mut session, (plan, header, moved)).await;
    assert!(entered.unwrap().is_none());
    assert_eq!(
        texts(&session.claim(Ask::only(10), &[]).await),
        ["{1}", "{2}"]
    );
    assert_eq!(texts(&session.claim(Ask::only(10), &[]).await), ["{0}"]);
    held(&redis, 3);
    // It comes while nothing is claimed.
    ask(&redis, &["SADD", "rs.held.owners", "abc"]);
    ask(&redis, &["LPUSH", "rs.held.abc", &older, "{4}"]);
    assert_eq!(texts(&session.claim(Ask::only(10), &[]).await), ["{4}"]);
    held(&redis, 4);
}

#[tokio::test]
async fn where_redis_refuses_the_script_claims() {
    let (redis, mut session) = start();
    ask(&redis, &["LPUSH", "q", "{1}", "{2}"]);
    ask(&redis, &["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(
        texts(&session.claim(Ask::only(10), &[]).await),
        ["{1}", "{2}"]
    );
    held(&redis, 2);
    // Memory becomes full after the messages were moved.
    session.moving.paused_until = None;
    ask(&redis, &["CONFIG", "SET", "maxmemory", "0"]);
    ask(&redis, &["LPUSH", "q", "{3}"]);
    let moved = only_move(&mut session).await;
    ask(&redis, &["CONFIG", "SET", "maxmemory", "1"]);
    let refused = only_enter(&mut session, moved).await;
    let refused = refused.unwrap_err();
    assert!(session.moving.failed(&refused, Instant::now()), "{refused}");
    assert_eq!(texts(&session.claim(Ask::only(10), &[]).await), ["{3}"]);
    held(&redis, 3);
}

#[tokio::test]
async fn a_refusal_that_passes_does_not_end_native_claims() {
    let (redis, mut session) = start();
    ask(&redis, &["LPUSH", "q", "{1}"]);
    // It refuses as a master does that has lost its replicas.
    ask(&redis, &["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let plan = plan(&mut session).await;
    let header = Header::text(&session.layout, 1, &plan.time, &plan.list);
    session.calls = 1;
    let refused = session.move_messages(&plan, &header).await.unwrap_err();
    assert!(refused.is_refusal("NOREPLICAS"), "{refused}");
    assert!(!session.moving.failed(&refused, Instant::now()));
    ask(&redis, &["CONFIG", "SET", "min-replicas-to-write", "0"]);
    let moved = calls(&redis, "lmove");
    assert_eq!(texts(&session.claim(Ask::only(10), &[]).await), ["{1}"]);
    assert!(calls(&redis, "lmove") > moved);
}

#[tokio::test]
async fn keys_of_another_type_stop_only_native_claims() {
    for key in ["rs.held.owners", "rs.held.abc"] {
        let (redis, mut session) = start();
        ask(&redis, &["SET", key, "x"]);
        ask(&redis, &["LPUSH", "q", "{1}"]);
        assert_eq!(
            texts(&session.claim(Ask::only(10), &[]).await),
            ["{1}"],
            "{key}"
        );
        assert_eq!(ask(&redis, &["GET", key]), "x");
        let mut sweeper = self::session(&redis, ClaimMode::Script);
        assert_eq!(sweeper.sweep_held(1e12, LEASE).await.unwrap(), 0);
    }
    // A list that no worker has written.
    let (redis, mut session) = start();
    ask(&redis, &["LPUSH", "rs.held.abc", "{0}"]);
    ask(&redis, &["LPUSH", "q", "{1}"]);
    assert_eq!(texts(&session.claim(Ask::only(10), &[]).await), ["{1}"]);
    assert_eq!(ask(&redis, &["LLEN", "rs.held.abc"]), "1");
}

#[tokio::test]
async fn after_a_claim_without_an_answer_the_script_claims_for_a_while() {
    let silent = Failure::Silent("no answer in 5 s".to_owned());
    let lost = Failure::Lost("broken pipe".to_owned());
    for failure in [silent, lost] {
        let (redis, mut session) = start();
        ask(
            &redis,
            &["LPUSH", "q", "{\"n\":1}", "{\"n\":2}", "{\"n\":3}"],
        );
        let first = session.claim(Ask::only(1), &[]).await;
        assert_eq!(texts(&first), ["{\"n\":1}"]);
        let moved = calls(&redis, "lmove");
        assert!(moved > 0);

        assert!(!session.moving.failed(&failure, Instant::now()));
        let second = session.claim(Ask::only(1), &[]).await;
        assert_eq!(texts(&second), ["{\"n\":2}"]);
        assert_eq!(calls(&redis, "lmove"), moved, "{failure}");

        // Later it is tried again.
        session.moving.paused_until = None;
        let third = session.claim(Ask::only(1), &[]).await;
        assert_eq!(texts(&third), ["{\"n\":3}"]);
        assert!(calls(&redis, "lmove") > moved);
        held(&redis, 3);
    }
}
