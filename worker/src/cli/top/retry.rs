//! Sends a failed task again, from what its stored result says of it.
//!
//! A result describes its task only if the worker that stored it has `result_extended`. The new
//! message has the task's id, so a client that waits for it gets the new outcome. Options of the old
//! message that a result does not hold, such as callbacks, a chain or a time limit, are not sent.

use celery_client::aio::{Connection, Failure, Value, scripts};
use celery_client::redis::sha1;
use celery_protocol::message::{EncodeOptions, Task};
use celery_protocol::names::{check_queue_name, check_task_id, check_task_name};
use celery_protocol::redis_keys::Keys;
use celery_protocol::result::{ResultDoc, State, StoredForm};
use uuid::Uuid;

use super::super::redis::{command, raw};
use super::routes::{Route, queue_of};

/// The largest stored result that is read. Its arguments would not fit into a message otherwise.
const MOST_BYTES: usize = 64 << 20;

/// Sends a task again. Returns its queue, or why it cannot be sent.
///
/// The message is sent only if the result is still the one that was read, and the result takes the
/// state RETRY in the same step. So one failure is sent again once, however often it is asked for.
pub(super) async fn retry(
    connection: &mut Connection,
    keys: &Keys,
    id: &str,
    routes: &[&Route],
) -> Result<Result<String, String>, Failure> {
    let most = MOST_BYTES.to_string();
    let read = command(&["GETRANGE", &keys.result(id), "0", &most]);
    let stored = raw(connection.query(&read).await?);
    let (doc, routing_key) = match failed(&stored, id) {
        Ok(failed) => failed,
        Err(why) => return Ok(Err(why.to_owned())),
    };
    let queue = match queue_of(connection, keys, routes, &routing_key).await? {
        Ok(queue) => queue,
        Err(why) => return Ok(Err(why)),
    };
    let tag = Uuid::new_v4().to_string();
    let (message, waiting) = match message(doc, &stored, &queue, &tag) {
        Ok(planned) => planned,
        Err(why) => return Ok(Err(why.to_owned())),
    };
    let list = keys.queue(&queue, 0);
    // As each sender does, so that kombu finds the queue.
    let sets = [keys.binding(&queue), keys.binding_permanent(&queue)];
    let size = message.len() + waiting.len();
    let mut call = scripts::call(&scripts::SEND_AGAIN, 4, 8, size);
    call.arg(keys.result(id)).arg(list).arg(&sets);
    call.arg(sha1(&stored)).arg(&waiting).arg(&message);
    call.arg(keys.own_binding_member(&queue));
    match connection.run(&scripts::SEND_AGAIN, &call).await? {
        Value::Int(1) => Ok(Ok(queue)),
        _ => Ok(Err("its result has changed meanwhile".to_owned())),
    }
}

/// Returns the document of a failed task, and the routing key that it came with.
fn failed(stored: &[u8], id: &str) -> Result<(ResultDoc, String), &'static str> {
    if stored.is_empty() {
        return Err("the broker's database has no result of it");
    }
    if stored.len() > MOST_BYTES {
        return Err("its result is too large");
    }
    let mut doc = ResultDoc::decode_any(stored).map_err(|_| "its result cannot be read")?;
    if doc.status != State::Failure {
        return Err("it is not failed any more");
    }
    if check_task_id(id).is_err() {
        return Err("its id cannot be used");
    }
    id.clone_into(&mut doc.task_id);
    let Some(extended) = &doc.extended else {
        return Err("its worker runs without result_extended");
    };
    let routing_key = extended.queue.clone();
    let routing_key = routing_key.ok_or("its result has no queue")?;
    Ok((doc, routing_key))
}

/// Returns the message of the task that a result describes, and the result that says that the task
/// runs again, in the form of the stored one.
fn message(
    mut doc: ResultDoc,
    stored: &[u8],
    queue: &str,
    tag: &str,
) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
    let extended = doc.extended.clone().unwrap_or_default();
    let name = extended.name.ok_or("its result has no name")?;
    let (Some(args), Some(kwargs)) = (extended.args, extended.kwargs) else {
        return Err("its result has no arguments");
    };
    if check_task_name(&name).is_err() || check_queue_name(queue).is_err() {
        return Err("its name or queue cannot be used");
    }
    let mut task = Task::new(&doc.task_id, name, args, kwargs);
    task.group.clone_from(&doc.group_id);
    task.parent_id.clone_from(&doc.parent_id);
    let options = EncodeOptions::new(queue, tag);
    let encoded = task.encode_redis(&options);
    let encoded = encoded.map_err(|_| "its arguments are not a list and an object")?;
    doc.status = State::Retry;
    doc.date_done = None;
    let json = doc.encode();
    let waiting = StoredForm::of(stored).write(&json);
    let waiting = waiting.map_err(|_| "its result cannot be written")?;
    Ok((encoded, waiting.into_owned()))
}

#[cfg(test)]
mod tests {
    use celery_protocol::RawValue;
    use celery_protocol::compression::Compression;
    use celery_protocol::result::{ExceptionDoc, Extended};
    use celery_protocol::serializer::Serializer;
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

    fn planned(stored: &[u8]) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
        let (doc, routing_key) = super::failed(stored, "an-id")?;
        message(doc, stored, &routing_key, "tag")
    }

    #[test]
    fn the_message_is_that_of_the_result() {
        for form in [
            StoredForm::default(),
            StoredForm {
                serializer: Serializer::Msgpack,
                compression: Some(Compression::Zlib),
            },
        ] {
            let json = failed().encode();
            let stored = form.write(&json).unwrap();
            let (sent, waiting) = planned(&stored).unwrap();
            let task = Task::decode_redis(&sent).unwrap();
            assert_eq!((&*task.id, &*task.name), ("an-id", "proj.add"));
            assert_eq!((task.args.get(), task.kwargs.get()), ("[1,2]", "{}"));
            // A client that waits for the task sees that it runs again, and still why it failed.
            assert_eq!(StoredForm::of(&waiting), form);
            let waiting = ResultDoc::decode_any(&waiting).unwrap();
            assert_eq!(waiting.status, State::Retry);
            assert_eq!(waiting.result.get(), failed().result.get());
            assert_eq!(waiting.date_done, None);
        }
    }

    #[test]
    fn what_cannot_be_sent_says_why() {
        let without = |change: fn(&mut ResultDoc)| {
            let mut doc = failed();
            change(&mut doc);
            planned(&doc.encode()).unwrap_err()
        };
        let changed = |change: fn(&mut Extended)| {
            let mut doc = failed();
            change(doc.extended.as_mut().unwrap());
            planned(&doc.encode()).unwrap_err()
        };
        assert!(planned(b"").unwrap_err().contains("no result"));
        assert!(planned(b"\xff").unwrap_err().contains("be read"));
        assert!(without(|doc| doc.status = State::Success).contains("not failed"));
        assert!(without(|doc| doc.extended = None).contains("result_extended"));
        assert!(changed(|it| it.name = None).contains("no name"));
        assert!(changed(|it| it.queue = None).contains("no queue"));
        assert!(changed(|it| it.args = None).contains("no arguments"));
        assert!(changed(|it| it.queue = Some(String::new())).contains("cannot be used"));
        assert!(changed(|it| it.kwargs = Some(raw("[]"))).contains("an object"));
    }
}
