//! Sends a failed task again, from what its stored result says of it.
//!
//! A result describes its task only if the worker that stored it has `result_extended`. The new
//! message has the task's id, so a client that waits for it gets the new outcome. Options of the old
//! message that a result does not hold, such as callbacks, a chain or a time limit, are not sent.

use celery_client::aio::{Connection, Failure, Pipeline};
use celery_protocol::message::{EncodeOptions, Task};
use celery_protocol::names::{check_queue_name, check_task_id, check_task_name};
use celery_protocol::redis_keys::Keys;
use celery_protocol::result::{ResultDoc, State};
use uuid::Uuid;

use super::super::redis::{command, raw};

/// The largest stored result that is read. Its arguments would not fit into a message otherwise.
const MOST_BYTES: usize = 64 << 20;

/// Sends a task again. Returns its queue, or why it cannot be sent.
pub(super) async fn retry(
    connection: &mut Connection,
    keys: &Keys,
    id: &str,
) -> Result<Result<String, &'static str>, Failure> {
    let most = MOST_BYTES.to_string();
    let read = command(&["GETRANGE", &keys.result(id), "0", &most]);
    let stored = raw(connection.query(&read).await?);
    let tag = Uuid::new_v4().to_string();
    let (queue, message) = match message(&stored, id, &tag) {
        Ok(planned) => planned,
        Err(why) => return Ok(Err(why)),
    };
    // As each sender does, so that kombu finds the queue.
    let member = keys.own_binding_member(&queue);
    let mut send = Pipeline::new();
    for set in [keys.binding(&queue), keys.binding_permanent(&queue)] {
        send.cmd("SADD").arg(set).arg(&member);
    }
    send.cmd("LPUSH").arg(keys.queue(&queue, 0)).arg(&message);
    // A refused binding does not prevent the post.
    let answers = connection.each(&send).await?;
    answers.into_iter().next_back().transpose()?;
    Ok(Ok(queue))
}

/// Returns the queue and the message of the task that a stored result describes.
fn message(stored: &[u8], id: &str, tag: &str) -> Result<(String, Vec<u8>), &'static str> {
    if stored.is_empty() {
        return Err("the broker's database has no result of it");
    }
    if stored.len() > MOST_BYTES {
        return Err("its result is too large");
    }
    let doc = ResultDoc::decode_any(stored).map_err(|_| "its result cannot be read")?;
    if doc.status != State::Failure {
        return Err("it is not failed any more");
    }
    let Some(extended) = doc.extended else {
        return Err("its worker runs without result_extended");
    };
    let (Some(name), Some(queue)) = (extended.name, extended.queue) else {
        return Err("its result has no name or no queue");
    };
    let (Some(args), Some(kwargs)) = (extended.args, extended.kwargs) else {
        return Err("its result has no arguments");
    };
    let names = check_task_id(id).is_ok() && check_task_name(&name).is_ok();
    if !names || check_queue_name(&queue).is_err() {
        return Err("its id, name or queue cannot be used");
    }
    let mut task = Task::new(id, name, args, kwargs);
    task.group = doc.group_id;
    task.parent_id = doc.parent_id;
    let options = EncodeOptions::new(&queue, tag);
    let encoded = task.encode_redis(&options);
    let encoded = encoded.map_err(|_| "its arguments are not a list and an object")?;
    Ok((queue, encoded))
}

#[cfg(test)]
mod tests {
    use celery_protocol::RawValue;
    use celery_protocol::result::{ExceptionDoc, Extended};
    use celery_protocol::time::Timestamp;

    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn failed() -> ResultDoc {
        let exception = ExceptionDoc::new("KeyError", "x", Some("builtins"));
        let now = Timestamp::from_unix_micros(1);
        let mut doc = ResultDoc::failure("an-id", &exception, None, now);
        let mut extended = Extended::default();
        extended.name = Some("proj.add".to_owned());
        extended.args = Some(raw("[1,2]"));
        extended.kwargs = Some(raw("{}"));
        extended.queue = Some("mails".to_owned());
        doc.extended = Some(extended);
        doc
    }

    #[test]
    fn the_message_is_that_of_the_result() {
        let (queue, sent) = message(&failed().encode(), "an-id", "tag").unwrap();
        assert_eq!(queue, "mails");
        let task = Task::decode_redis(&sent).unwrap();
        assert_eq!((&*task.id, &*task.name), ("an-id", "proj.add"));
        assert_eq!((task.args.get(), task.kwargs.get()), ("[1,2]", "{}"));
    }

    #[test]
    fn what_cannot_be_sent_says_why() {
        let without = |change: fn(&mut ResultDoc)| {
            let mut doc = failed();
            change(&mut doc);
            message(&doc.encode(), "an-id", "tag").unwrap_err()
        };
        let changed = |change: fn(&mut Extended)| {
            let mut doc = failed();
            change(doc.extended.as_mut().unwrap());
            message(&doc.encode(), "an-id", "tag").unwrap_err()
        };
        assert!(
            message(b"", "an-id", "tag")
                .unwrap_err()
                .contains("no result")
        );
        assert!(
            message(b"\xff", "an-id", "tag")
                .unwrap_err()
                .contains("be read")
        );
        assert!(without(|doc| doc.status = State::Success).contains("not failed"));
        assert!(without(|doc| doc.extended = None).contains("result_extended"));
        assert!(changed(|it| it.name = None).contains("no name"));
        assert!(changed(|it| it.args = None).contains("no arguments"));
        assert!(changed(|it| it.queue = Some(String::new())).contains("cannot be used"));
        assert!(changed(|it| it.kwargs = Some(raw("[]"))).contains("an object"));
    }
}
