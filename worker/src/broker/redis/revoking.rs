//! Stores the state REVOKED of tasks that no worker has begun.

use std::sync::Arc;

use celery_client::aio::{Failure, Pipeline, Supervised, scripts};
use celery_protocol::result::ResultDoc;

use super::answer::{bytes, readable};
use super::connector::Store;
use super::layout::Layout;
use super::session::MAX_TAGS;

/// The states of tasks that no worker has begun.
const OPEN: [&str; 4] = ["PENDING", "RECEIVED", "RETRY", "REJECTED"];

/// The connection of remote control to the server of the results, if it is not the broker.
pub(crate) struct RevokedResults {
    link: Supervised,
    layout: Arc<Layout>,
}

impl Store {
    /// Returns the connection of remote control. It opens when it is first used.
    pub(crate) fn revoked(&self) -> RevokedResults {
        RevokedResults {
            link: self.link_aside("control"),
            layout: self.layout(),
        }
    }
}

impl RevokedResults {
    /// Stores documents, each with the id of its task.
    pub(crate) async fn store(&mut self, documents: &[(&str, Vec<u8>)]) {
        if let Err(failure) = store(&mut self.link, &self.layout, documents).await {
            warn(&failure);
            if !is_for_good(&failure) {
                self.link.failed(&failure);
            }
        }
    }
}

/// Logs that documents could not be stored.
pub(super) fn warn(failure: &Failure) {
    tracing::warn!("Failed to mark tasks as revoked in the backend: {failure}");
}

/// Returns `true` if another connection would get the same answer.
pub(super) fn is_for_good(failure: &Failure) -> bool {
    failure.is_lasting() || matches!(failure, Failure::Answer(_))
}

/// Stores documents on a connection, except those of tasks that a worker has begun.
pub(super) async fn store(
    link: &mut Supervised,
    layout: &Layout,
    documents: &[(&str, Vec<u8>)],
) -> Result<(), Failure> {
    let documents = not_begun(link, layout, documents).await?;
    let script = if layout.form.is_plain() {
        &scripts::REVOKE_RESULTS
    } else {
        &scripts::STORE_RESULTS
    };
    for chunk in documents.chunks(MAX_TAGS) {
        let arguments = 1 + 2 * chunk.len();
        let mut call = scripts::call(script, chunk.len(), arguments, 400 * chunk.len());
        for (id, _) in chunk {
            call.arg(layout.keys.result(id));
        }
        call.arg(layout.result_ttl);
        for (_, document) in chunk {
            call.arg(&*layout.in_form(document));
        }
        link.connection().await.run(script, &call).await?;
        link.worked();
    }
    Ok(())
}

/// Returns the documents of tasks that no worker has begun, if results are not stored as plain JSON.
/// Plain JSON is left to the script.
async fn not_begun<'d, 'i>(
    link: &mut Supervised,
    layout: &Layout,
    documents: &'d [(&'i str, Vec<u8>)],
) -> Result<Vec<&'d (&'i str, Vec<u8>)>, Failure> {
    if layout.form.is_plain() {
        return Ok(documents.iter().collect());
    }
    let mut open = Vec::with_capacity(documents.len());
    for chunk in documents.chunks(MAX_TAGS) {
        let mut call = Pipeline::new();
        for (id, _) in chunk {
            call.cmd("GET").arg(layout.keys.result(id));
        }
        let answers = link.connection().await.each(&call).await?;
        for (document, answer) in chunk.iter().zip(readable(answers)?) {
            let is_open = match answer.map(bytes) {
                Some(None) => true,
                Some(Some(stored)) => ResultDoc::decode_any(&stored)
                    .is_ok_and(|stored| OPEN.contains(&stored.status.as_str())),
                None => false,
            };
            if is_open {
                open.push(document);
            }
        }
    }
    Ok(open)
}
