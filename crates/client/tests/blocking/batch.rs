//! Batches: which tasks share a command, and what a refusal or a lost connection means for each.

use celery_client::ClientError;
use celery_client::redis::blocking::{Post, Publish};
use celery_testkit::wait_for;

use super::publish::half_server;
use super::{
    PLENTY, SOME_TRIES, at_leisure, calls, cli, client, client_of, posts, queued, redis, within,
};

/// Makes posts of this size.
fn large_posts(count: usize, size: usize) -> Vec<Post> {
    let large = |post: Post| Post {
        envelope: vec![b'x'; size],
        ..post
    };
    posts(count).into_iter().map(large).collect()
}

#[test]
fn tasks_to_one_list_share_commands_and_keep_their_order() {
    let redis = redis();
    let mut batch = posts(100);
    for nth in [40, 41, 90] {
        batch[nth].priority = 3;
    }
    let outcomes =
        at_leisure(|wait| client(&redis).publish_batch(&batch, Publish::Confirmed, wait));
    assert!(outcomes.iter().all(Result::is_ok) && outcomes.len() == 100);
    // 0 to 39, 40 and 41, 42 to 89, 90, 91 to 99.
    assert_eq!(calls(&redis, "lpush"), 5);
    let (urgent, others): (Vec<_>, Vec<_>) = batch.iter().partition(|post| post.priority == 0);
    for (list, posts) in [("q", urgent), ("q\u{6}\u{16}3", others)] {
        let ids: Vec<_> = posts.iter().map(|post| post.task_id.clone()).collect();
        assert_eq!(queued(&redis, list), ids);
    }
}

#[test]
fn a_command_holds_a_limited_number_of_bytes() {
    for (count, size, commands) in [(1, 10, 1), (300, 1000, 5), (3, 100_000, 3), (9000, 1, 3)] {
        let redis = redis();
        let batch = large_posts(count, size);
        let outcomes =
            at_leisure(|wait| client(&redis).publish_batch(&batch, Publish::Confirmed, wait));
        assert!(outcomes.iter().all(Result::is_ok));
        assert_eq!(calls(&redis, "lpush"), commands, "{count} of {size} bytes");
        assert_eq!(cli(&redis, &["LLEN", "q"]), count.to_string());
    }
}

#[test]
fn all_tasks_of_a_refused_command_are_refused() {
    let redis = redis();
    cli(&redis, &["SET", "occupied", "no list"]);
    let mut batch = posts(9);
    for post in &mut batch[3..6] {
        post.queue = "occupied".into();
    }
    let outcomes =
        at_leisure(|wait| client(&redis).publish_batch(&batch, Publish::Confirmed, wait));
    for (nth, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(()) => assert!(!(3..6).contains(&nth)),
            Err(error) => {
                assert!((3..6).contains(&nth) && !error.outcome_unknown, "{error:?}");
                assert_eq!(error.task_id, format!("t{nth}"));
            }
        }
    }
    assert_eq!(queued(&redis, "q"), ["t0", "t1", "t2", "t6", "t7", "t8"]);
}

#[test]
fn a_batch_on_a_full_or_read_only_server_is_repeated_as_a_whole() {
    let refusals: [&[&str]; 2] = [
        &["CONFIG", "SET", "maxmemory", "1"],
        &["REPLICAOF", "127.0.0.1", "1"],
    ];
    for refusal in refusals {
        let redis = redis();
        cli(&redis, refusal);
        let refused = within(SOME_TRIES, |wait| {
            client(&redis).publish_batch(&posts(20), Publish::Confirmed, wait)
        });
        assert_eq!(refused.len(), 20);
        for outcome in refused {
            let error = outcome.unwrap_err();
            assert!(!error.outcome_unknown, "{error:?}");
        }
        cli(&redis, &["CONFIG", "SET", "maxmemory", "0"]);
        cli(&redis, &["REPLICAOF", "NO", "ONE"]);
        assert_eq!(cli(&redis, &["LLEN", "q"]), "0");
        let repeated = std::thread::scope(|scope| {
            cli(&redis, refusal);
            let batch = scope.spawn(|| {
                at_leisure(|wait| {
                    client(&redis).publish_batch(&posts(20), Publish::Confirmed, wait)
                })
            });
            wait_for(PLENTY, "a refusal", || {
                cli(&redis, &["INFO", "errorstats"]).contains("count=")
            })
            .unwrap();
            cli(&redis, &["CONFIG", "SET", "maxmemory", "0"]);
            cli(&redis, &["REPLICAOF", "NO", "ONE"]);
            batch.join().unwrap()
        });
        assert!(repeated.iter().all(Result::is_ok), "{repeated:?}");
        assert_eq!(queued(&redis, "q").len(), 20);
    }
}

#[test]
fn a_user_may_post_to_some_lists_of_a_batch() {
    let redis = redis();
    cli(
        &redis,
        &[
            "ACL",
            "SETUSER",
            "shop",
            "on",
            ">x",
            "~q",
            "~_kombu.*",
            "+sadd",
            "+lpush",
            "+hello",
        ],
    );
    let url = redis.url().replace("redis://", "redis://shop:x@");
    let mut batch = posts(6);
    for post in &mut batch[..2] {
        post.queue = "other".into();
    }
    let outcomes =
        at_leisure(|wait| client_of(&url).publish_batch(&batch, Publish::Confirmed, wait));
    let refused: Vec<bool> = outcomes.iter().map(Result::is_err).collect();
    assert_eq!(refused, [true, true, false, false, false, false]);
    assert!(
        outcomes
            .iter()
            .filter_map(|outcome| outcome.as_ref().err())
            .all(|error| {
                matches!(&*error.cause, ClientError::Server(answer) if answer.code() == "NOPERM")
                    && !error.outcome_unknown
            })
    );
    assert_eq!(queued(&redis, "q"), ["t2", "t3", "t4", "t5"]);
}

#[test]
fn tasks_whose_command_was_not_answered_have_an_unknown_outcome() {
    // The server answers the two bindings and the first command, and closes the connection.
    let (url, server) = half_server("*0\r\n", "t5", ":1\r\n:1\r\n:3\r\n");
    let mut batch = posts(6);
    for post in &mut batch[3..] {
        post.priority = 9;
    }
    let outcomes = within(PLENTY, |wait| {
        client_of(&url).publish_batch(&batch, Publish::Confirmed, wait)
    });
    server.join().unwrap();
    let unknown: Vec<Option<bool>> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().err().map(|error| error.outcome_unknown))
        .collect();
    let (known, lost) = (None, Some(true));
    assert_eq!(unknown, [known, known, known, lost, lost, lost]);
}
