//! Health follows the dependencies: with the encoder or the store down, or an audit log that cannot be written, no search can
//! be answered.

use crate::SearchError;
use crate::audit::Trail;
use crate::encoder_pool::EncoderPool;
use crate::metrics;
use descry_model::Fingerprint;
use descry_serving::Health;
use descry_store::{Generation, StoreError, VectorStore};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PAUSE: Duration = Duration::from_secs(2);
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// Galleries that are named one by one in the log.
const NAMED_GALLERIES: usize = 10;

/// How often the encoders are asked whether they run other models than the galleries'.
const NAMING_PAUSE: Duration = Duration::from_secs(30);

/// Asks all dependencies again and again and tells the health service, until `shutdown`.
pub(crate) async fn watch(
    (encoders, store, trail): (EncoderPool, Arc<dyn VectorStore>, Option<Trail>),
    health: Health,
    shutdown: CancellationToken,
) {
    let mut was_ready = None;
    loop {
        let audited = async {
            match &trail {
                Some(trail) => {
                    let ready = trail.ready().await;
                    metrics::show_audit(ready.is_ok());
                    ready
                }
                None => Ok(()),
            }
        };
        let probe =
            async { encoders.ready().await.and(store.ready().await.map_err(SearchError::from)).and(audited.await) };
        let probed = tokio::select! {
            probed = tokio::time::timeout(PROBE_LIMIT, probe) => probed,
            () = shutdown.cancelled() => break,
        };
        // What cannot be written to can still be searched: that is shown, and does not end the service's readiness.
        metrics::show_condition(store.condition());
        let too_slow = || SearchError::DeadlineExceeded { activity: "probing the encoder and the store" };
        let ready = match probed.unwrap_or_else(|_| Err(too_slow())) {
            Ok(()) => true,
            // Who has too much to do is there; another instance would get no less.
            Err(SearchError::Overloaded { .. } | SearchError::Store(StoreError::Overloaded { .. })) => true,
            Err(error) => {
                if was_ready != Some(false) {
                    tracing::warn!(%error, "not ready");
                }
                false
            }
        };
        if was_ready != Some(ready) {
            health.set_ready(ready).await;
            tracing::info!(ready, "readiness changed");
        }
        was_ready = Some(ready);
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.cancelled() => break,
        }
    }
    health.set_ready(false).await;
}

/// Says which galleries cannot be searched because no encoder runs their model, and says it again when others run: nobody
/// else would before somebody asks. Until `shutdown`.
pub(crate) async fn name_unsearchable(encoders: EncoderPool, store: Arc<dyn VectorStore>, shutdown: CancellationToken) {
    let naming = async {
        let mut named_for = None;
        loop {
            // An encoder that does not answer may run any model; nothing is said until it does.
            if let Ok(running) = encoders.models().await
                && named_for.as_ref() != Some(&running)
                && let Ok(galleries) = store.galleries().await
            {
                let unsearchable = galleries.iter().filter(|gallery| !running.contains(&gallery.fingerprint));
                name(unsearchable, &running);
                named_for = Some(running);
            }
            tokio::time::sleep(NAMING_PAUSE).await;
        }
    };
    tokio::select! {
        () = naming => {}
        () = shutdown.cancelled() => {}
    }
}

fn name<'a>(galleries: impl Iterator<Item = &'a Generation>, running: &[Fingerprint]) {
    let mut count = 0_usize;
    for gallery in galleries {
        count += 1;
        if count <= NAMED_GALLERIES {
            let (name, model) = (gallery.gallery.clone(), gallery.fingerprint.clone());
            let error = SearchError::NoEncoder { name, model, running: running.to_vec() };
            tracing::warn!(%error, "a gallery cannot be searched or added to");
        }
    }
    if count > NAMED_GALLERIES {
        tracing::warn!(count, "galleries cannot be searched or added to; the first of them are named above");
    }
}
