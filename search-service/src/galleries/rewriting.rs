//! Which images are being changed at this moment.
//!
//! What is known of an image is read, changed and written again. Two such changes of one image, each begun before the
//! other's end, would lose one of them, though both were acknowledged; so the second waits for the first. Instances of
//! the service do not wait for each other: who lets several of them change one image at once gets one of the changes.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Images by gallery and id.
#[derive(Debug, Default)]
pub(super) struct Rewriting {
    images: Mutex<HashSet<(String, String)>>,
    given_back: Notify,
}

/// Held from reading what is known of some images until it is written.
#[derive(Debug)]
pub(super) struct Held {
    rewriting: Arc<Rewriting>,
    images: Vec<(String, String)>,
}

impl Rewriting {
    /// Waits until nobody changes any of the images. All are taken at once, so two who want the same ones in another
    /// order do not wait for each other for ever.
    pub(super) async fn hold<'a>(self: &Arc<Self>, gallery: &str, image_ids: impl Iterator<Item = &'a str>) -> Held {
        // An id may be named twice.
        let wanted: HashSet<(String, String)> = image_ids.map(|id| (gallery.to_owned(), id.to_owned())).collect();
        loop {
            // Before looking, so that nothing that is given back meanwhile goes unheard.
            let given_back = self.given_back.notified();
            tokio::pin!(given_back);
            given_back.as_mut().enable();
            {
                let mut images = self.images();
                if images.is_disjoint(&wanted) {
                    images.extend(wanted.iter().cloned());
                    return Held { rewriting: Arc::clone(self), images: wanted.into_iter().collect() };
                }
            }
            given_back.await;
        }
    }

    fn images(&self) -> MutexGuard<'_, HashSet<(String, String)>> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut images = self.rewriting.images();
        for image in &self.images {
            images.remove(image);
        }
        drop(images);
        self.rewriting.given_back.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn an_image_is_changed_by_one_at_a_time() {
        let rewriting = Arc::new(Rewriting::default());
        let first = rewriting.hold("lobby", ["a", "b", "a"].into_iter()).await;
        let mut second = Box::pin(rewriting.hold("lobby", ["b", "c"].into_iter()));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(rewriting.hold("yard", ["a"].into_iter()).now_or_never().is_some(), "another gallery is no concern");
        assert!(rewriting.hold("lobby", ["c"].into_iter()).now_or_never().is_some(), "who waits holds nothing");
        drop(first);
        let second = second.await;
        assert!(rewriting.hold("lobby", ["a"].into_iter()).now_or_never().is_some());
        drop(second);
        assert!(rewriting.images().is_empty(), "what nobody holds is forgotten");
    }
}
