//! Work that one instance of the service at a time does for a gallery.
//!
//! A lease is a document of the gallery that names its holder. It is taken, renewed and given back by compare-and-set
//! (`VectorStore::replace_document`). No clock is compared with another machine's, nor with the time of day: whoever finds a
//! lease of somebody else remembers what it says, and takes it when it still says the same after [`TERM`], counted by its
//! own clock. A holder that renews it three times as often is alive.
//!
//! An instance that stops for longer than the term (a suspended machine) may go on with a last step beside the next holder
//! before it notices. What is done under a lease must be harmless when two do it; the lease saves the work, it does not
//! guard the data. The same holds where Qdrant cannot keep the promise of `replace_document`.

use crate::SearchError;
use descry_store::{Generation, VectorStore};
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A lease that was not renewed for so long belongs to nobody.
pub(crate) const TERM: Duration = Duration::from_secs(60);

/// How often a holder renews its lease.
const RENEWAL: Duration = Duration::from_secs(TERM.as_secs() / 3);

/// How often a lease is tried to be given back.
const GIVING_BACK: usize = 3;

/// What this instance knows of leases.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// What leases of others said, and since when, by gallery and key.
    seen: Mutex<HashMap<(String, String), (String, Instant)>>,
}

impl Leases {
    /// Does `work` unless another instance is at it, or gets at it meanwhile: then it is dropped where it stands, and there
    /// is no answer. Where no other instance can be, it is simply done.
    ///
    /// # Errors
    /// Those of the store, of a gallery that is gone among them.
    pub(crate) async fn alone<Done>(
        &self,
        store: &dyn VectorStore,
        gallery: &Generation,
        name: &str,
        work: impl Future<Output = Done>,
    ) -> Result<Option<Done>, SearchError> {
        if store.is_shared() { self.under_lease(store, gallery, name, work).await } else { Ok(Some(work.await)) }
    }

    async fn under_lease<Done>(
        &self,
        store: &dyn VectorStore,
        gallery: &Generation,
        name: &str,
        work: impl Future<Output = Done>,
    ) -> Result<Option<Done>, SearchError> {
        let holder = unique()?;
        let lease = Lease { store, gallery, key: format!("lease.{name}"), holder };
        if !self.take(&lease).await? {
            return Ok(None);
        }
        let done = tokio::select! {
            done = work => Some(done),
            () = lease.keep() => None,
        };
        // Where that fails the lease ends by itself.
        if let Err(error) = lease.give_back().await
            && !error.is_not_found()
        {
            tracing::warn!(gallery = gallery.gallery, name, %error, "a lease could not be given back");
        }
        Ok(done)
    }

    /// Whether it is ours now.
    async fn take(&self, lease: &Lease<'_>) -> Result<bool, SearchError> {
        let place = (lease.gallery.gallery.clone(), lease.key.clone());
        let found = lease.store.document(lease.gallery, &lease.key).await?;
        if let Some(text) = &found {
            let now = Instant::now();
            let mut seen = self.seen();
            let (known, since) = seen.entry(place.clone()).or_insert_with(|| (text.clone(), now));
            if known != text {
                (*known, *since) = (text.clone(), now);
            }
            if now.saturating_duration_since(*since) < TERM {
                return Ok(false);
            }
            tracing::warn!(gallery = place.0, lease = place.1, "a lease was not renewed; its holder is taken for gone");
        }
        self.seen().remove(&place);
        lease.put(found.as_deref(), 0).await
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<(String, String), (String, Instant)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lease while somebody wants or holds it.
struct Lease<'a> {
    store: &'a dyn VectorStore,
    gallery: &'a Generation,
    key: String,
    /// Of this one holding of it.
    holder: String,
}

impl Lease<'_> {
    async fn put(&self, expected: Option<&str>, renewal: u64) -> Result<bool, SearchError> {
        let text = Some(self.text(renewal));
        Ok(self.store.replace_document(self.gallery, &self.key, expected, text).await?)
    }

    /// No two renewals say the same, so that others see them.
    fn text(&self, renewal: u64) -> String {
        format!("{} {renewal}", self.holder)
    }

    /// Renews it; ends when that failed for so long that somebody else may take it, or has.
    async fn keep(&self) {
        let mut renewed_at = Instant::now();
        for renewal in 1.. {
            tokio::time::sleep_until(renewed_at + RENEWAL).await;
            loop {
                let (begun, expected) = (Instant::now(), self.text(renewal - 1));
                match tokio::time::timeout(RENEWAL, self.put(Some(&expected), renewal)).await {
                    Ok(Ok(true)) => {
                        renewed_at = begun;
                        break;
                    }
                    Ok(Ok(false)) => return self.lost("another instance has taken it"),
                    Ok(Err(error)) if error.is_not_found() => return self.lost("its gallery is gone"),
                    // As with an attempt whose answer got lost: the next one finds what it wants already there.
                    Ok(Err(_)) | Err(_) if renewed_at.elapsed() < TERM - RENEWAL => {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    Ok(Err(_)) | Err(_) => return self.lost("it could not be renewed"),
                }
            }
        }
    }

    fn lost(&self, reason: &'static str) {
        let (gallery, lease) = (&self.gallery.gallery, &self.key);
        tracing::warn!(gallery, lease, reason, "a lease is lost, and what was done under it is broken off");
    }

    /// Removes it if it is still ours.
    async fn give_back(&self) -> Result<(), SearchError> {
        // A renewal that was broken off may still come about in between, once.
        for _ in 0..GIVING_BACK {
            let found = self.store.document(self.gallery, &self.key).await?;
            let Some(text) = found.filter(|text| text.starts_with(&self.holder)) else { break };
            if self.store.replace_document(self.gallery, &self.key, Some(&text), None).await? {
                break;
            }
        }
        Ok(())
    }
}

/// A name that no other holding of a lease has.
fn unique() -> Result<String, SearchError> {
    use ring::rand::SecureRandom as _;
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut random = [0; 16];
    ring::rand::SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| SearchError::failed("naming a lease", std::io::Error::other("no random numbers")))?;
    Ok(format!("{:032x}-{}", u128::from_ne_bytes(random), COUNT.fetch_add(1, Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SearchConfig;
    use crate::erasure::MarkStore;
    use crate::galleries::Galleries;
    use descry_model::Fingerprint;
    use descry_store::{EmbeddedConfig, EmbeddedStore};
    use std::future::{pending, ready};
    use std::path::Path;
    use std::sync::Arc;
    use tempfile::TempDir;

    /// What two instances share. The embedded store stands in for one that can be shared.
    struct Stand {
        store: Arc<dyn VectorStore>,
        gallery: Generation,
        instances: [Leases; 2],
        _folder: TempDir,
    }

    impl Stand {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let opened = EmbeddedStore::open(&folder.path().join("galleries"), EmbeddedConfig::default()).await;
            let store: Arc<dyn VectorStore> = Arc::new(opened.unwrap());
            let model = Fingerprint::of_parts([("any", b"model".as_slice())]);
            let gallery = store.create_gallery("lobby", &model, 2).await.unwrap();
            Self { store, gallery, instances: Default::default(), _folder: folder }
        }

        async fn attempt<Done>(&self, instance: usize, work: impl Future<Output = Done>) -> Option<Done> {
            self.instances[instance].under_lease(&*self.store, &self.gallery, "sweep", work).await.unwrap()
        }

        async fn document(&self) -> Option<String> {
            self.store.document(&self.gallery, "lease.sweep").await.unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_instance_at_a_time_works_and_the_lease_goes_with_the_work() {
        let stand = Stand::new().await;
        let work = async {
            // Far longer than a term: it is renewed.
            for _ in 0..10 {
                tokio::time::sleep(TERM / 2).await;
                assert_eq!(stand.attempt(1, ready(2)).await, None);
            }
            1
        };
        assert_eq!(stand.attempt(0, work).await, Some(1));
        assert_eq!(stand.document().await, None);
        assert_eq!(stand.attempt(1, ready(2)).await, Some(2));
        assert_eq!(stand.attempt(0, ready(1)).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_died_is_followed_after_a_term() {
        let stand = Stand::new().await;
        let dying = tokio::time::timeout(Duration::from_millis(1), stand.attempt(0, pending::<()>()));
        assert!(dying.await.is_err() && stand.document().await.is_some());
        // Whenever it was left: the term begins when another one sees it.
        tokio::time::sleep(TERM * 10).await;
        assert_eq!(stand.attempt(1, ready(2)).await, None);
        tokio::time::sleep(TERM - Duration::from_secs(1)).await;
        assert_eq!(stand.attempt(1, ready(2)).await, None);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(stand.attempt(1, ready(2)).await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_lost_a_lease_stops_and_leaves_it_to_the_next() {
        let stand = Stand::new().await;
        let (others, begun) = ("another instance 7".to_owned(), Instant::now());
        let robbing = async {
            tokio::time::sleep(RENEWAL / 2).await;
            stand.store.put_document(&stand.gallery, "lease.sweep", Some(others.clone())).await.unwrap();
        };
        let (done, ()) = tokio::join!(stand.attempt(0, pending::<()>()), robbing);
        assert!(done.is_none() && begun.elapsed() <= RENEWAL + Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(stand.document().await, Some(others));
    }

    #[tokio::test(start_paused = true)]
    async fn a_gallery_that_is_deleted_ends_the_work() {
        let stand = Stand::new().await;
        let deleting = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let limits = SearchConfig::load(None).unwrap().limits;
            let marks = MarkStore::open(Arc::clone(&stand.store), Path::new("")).unwrap();
            Galleries::new(Arc::clone(&stand.store), limits, marks).delete("lobby").await.unwrap();
        };
        let (done, ()) = tokio::join!(stand.attempt(0, pending::<()>()), deleting);
        assert!(done.is_none());
        let gone = stand.instances[1].under_lease(&*stand.store, &stand.gallery, "sweep", ready(())).await;
        assert!(gone.unwrap_err().is_not_found());
    }

    #[tokio::test]
    async fn a_store_of_one_process_needs_no_lease() {
        let stand = Stand::new().await;
        let looking = async { stand.document().await };
        let seen = stand.instances[0].alone(&*stand.store, &stand.gallery, "sweep", looking).await.unwrap();
        assert_eq!(seen, Some(None));
    }
}
