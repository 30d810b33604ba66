//! Result documents as PHP values.

use celery_protocol::json as lenient;
use celery_protocol::result::ResultDoc;
use ext_php_rs::types::{ZendHashTable, Zval};

use crate::ffi::json::Objects;
use crate::ffi::throw::Thrown;
use crate::ffi::value;
use crate::values;

/// The result document that a worker stored for a task.
pub(crate) struct Document {
    pub(crate) doc: ResultDoc,
    /// The whole document as strict JSON.
    pub(crate) text: String,
}

impl Document {
    /// Decodes the document that the result backend holds.
    pub(crate) fn read(task_id: &str, stored: &[u8]) -> Result<Self, Thrown> {
        let unreadable = |reason: &dyn std::fmt::Display| {
            Thrown::celery(format!(
                "The stored result of task {task_id} cannot be read: {reason}."
            ))
        };
        let doc = ResultDoc::decode_any(stored).map_err(|error| unreadable(&error))?;
        let text = if stored.first() == Some(&b'{') {
            lenient::normalise(stored)
                .map_err(|error| unreadable(&error))?
                .into_owned()
        } else {
            // The stored document was compressed, or written by another serializer.
            String::from_utf8(doc.encode()).map_err(|error| unreadable(&error))?
        };
        Ok(Document { doc, text })
    }

    /// Returns `true` if the task has ended.
    pub(crate) fn is_final(&self) -> bool {
        self.doc.status.ready()
    }

    /// Decodes the task's result.
    pub(crate) fn value(&self) -> Result<Zval, Thrown> {
        values::decode(&self.doc.result)
    }

    /// Decodes the whole document as `json_decode` does.
    pub(crate) fn decoded(&self, objects: Objects) -> Result<Zval, Thrown> {
        values::decode_as(&self.text, objects)
    }
}

/// Returns the value of `getAsyncResultMessage()`.
pub(crate) fn result_message(document: &Document) -> Result<Zval, Thrown> {
    let mut array = ZendHashTable::new();
    let failed = |error| Thrown::celery(format!("The result message could not be made: {error}."));
    array
        .insert("complete_result", document.decoded(Objects::AsArrays)?)
        .map_err(failed)?;
    array
        .insert("body", value::large_string(document.text.as_bytes())?)
        .map_err(failed)?;
    let mut answer = Zval::new();
    answer.set_hashtable(array);
    Ok(answer)
}
