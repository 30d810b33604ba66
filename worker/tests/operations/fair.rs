//! Fair turns between tenants that have a queue each.

use celery_protocol::message::{EncodeOptions, Task};
use celery_testkit::{Process, Redis, RedisOptions};
use serde_json::value::RawValue;

use crate::door::Door;
use crate::world::*;

/// The calls of the large tenant.
const MANY: usize = 10_000;
/// The calls of the small one.
const FEW: usize = 10;

/// Sends calls to the queue of a tenant.
fn send(redis: &Redis, door: &Door, tenant: &str, calls: usize) {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let queue = format!("tenant.{tenant}");
    let ids: Vec<String> = (0..calls).map(|n| format!("{tenant}-{n}")).collect();
    for ids in ids.chunks(500) {
        let mut push = vec!["LPUSH".to_owned(), queue.clone()];
        push.extend(ids.iter().map(|id| {
            let task = Task::new(id, "proj.occupy", raw(&door.args(tenant)), raw("{}"));
            let message = task.encode_redis(&EncodeOptions::new(&queue, id)).unwrap();
            String::from_utf8(message).unwrap()
        }));
        let push: Vec<&str> = push.iter().map(String::as_str).collect();
        redis.cli(&push).unwrap();
    }
}

/// The ten calls of a tenant are done before a hundredth of the ten thousand of another one, which
/// came first and keeps all slots of two workers busy.
#[test]
fn a_small_tenant_does_not_wait_for_a_large_one() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let door = Door::open();
    send(&redis, &door, "large", MANY);
    let options = ["-Q", "tenant.large,tenant.small"];
    let options = [&options[..], &["-c", "4", "--prefetch-multiplier", "1"]].concat();
    let workers: Vec<Process> = (0..2)
        .map(|_| start(&mut command(&redis, &options)))
        .collect();
    door.wait_for(8);
    send(&redis, &door, "small", FEW);
    let (mut large, mut small) = (0, 0);
    while small < FEW {
        let oldest = door.seen().open[0].key.clone();
        *(if oldest == "small" {
            &mut small
        } else {
            &mut large
        }) += 1;
        assert!(
            large < MANY / 100,
            "{small} calls of the small tenant are done"
        );
        door.release();
        door.wait_for(8);
    }
    drop(workers);
}
