//! Collects calls into batches, and starts each batch as soon as it is complete and has a slot.

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::engine::Engine;
use crate::delivery::Delivery;
use crate::task::BatchOptions;
use celery_protocol::duration::LONGEST;

/// Collects calls into batches until the executor hands over no more. Every batch holds a clone of
/// `busy` until it is done.
pub(super) async fn collect(
    engine: Engine,
    options: BatchOptions,
    mut calls: mpsc::UnboundedReceiver<Delivery>,
    busy: mpsc::Sender<()>,
) {
    let size = options.size;
    while let Some(first) = calls.recv().await {
        let mut batch = vec![first];
        let complete_at = tokio::time::Instant::now() + options.linger.min(LONGEST);
        while batch.len() < size {
            match timeout_at(complete_at, calls.recv()).await {
                Ok(Some(call)) => batch.push(call),
                Ok(None) | Err(_) => break,
            }
        }
        let Some(slot) = engine.stage.slot().await else {
            for call in batch {
                engine.stage.give_back(call);
            }
            continue;
        };
        // Calls that arrived while all slots were taken join this batch.
        while batch.len() < size {
            let Ok(call) = calls.try_recv() else { break };
            batch.push(call);
        }
        let (engine, busy) = (engine.clone(), busy.clone());
        engine.place(&batch).spawn(async move {
            let policy = &engine.def.policy;
            let begun = batch
                .into_iter()
                .map(|call| engine.stage.begin(call, policy));
            let batch = join_all(begun).await.into_iter().flatten().collect();
            // The first calls had to wait until all had begun, so some of them may not run any
            // more.
            let batch = engine.stage.still_to_run(batch);
            engine.run_until_done(batch, slot).await;
            drop(busy);
        });
    }
}
