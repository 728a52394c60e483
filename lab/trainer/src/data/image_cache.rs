//! Images that were decoded and resized once and are kept for the next epoch, as far as memory is granted.

use super::image_files::ImageFiles;
use crate::{InputSettings, LoadingSettings, TrainError};
use descry_model::RgbImage;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Images of a split by index, shared by threads. Nothing is locked while an image is read: two threads that want the
/// same one at the same time both read it.
///
/// What is kept has no influence on what comes out, only on how long it takes.
#[derive(Debug)]
pub(crate) struct ImageCache {
    files: ImageFiles,
    paths: Vec<PathBuf>,
    slots: Vec<OnceLock<Slot>>,
    /// Images that may still be kept. Below 0 for moments in which threads find that there is no room.
    room: AtomicIsize,
    max_unreadable_images: usize,
    unreadable: Mutex<Unreadable>,
}

#[derive(Debug)]
enum Slot {
    Kept(Arc<RgbImage>),
    /// It failed once and is not tried again, so that it is counted and logged once.
    Unreadable,
}

#[derive(Debug, Default)]
struct Unreadable {
    count: usize,
    /// Index of the last one, and why it could not be read.
    last: Option<(usize, String)>,
}

impl ImageCache {
    /// A cache for these files that keeps as many images as fit into `loading.cache_mib` and nothing yet.
    pub(crate) fn new(paths: Vec<PathBuf>, input: &InputSettings, loading: &LoadingSettings) -> Self {
        let files = ImageFiles::new(input, loading);
        let image_bytes = files.height_px.saturating_mul(files.width_px).saturating_mul(3);
        let room = loading.cache_mib.saturating_mul(1 << 20) / (image_bytes.saturating_add(size_of::<RgbImage>()));
        Self {
            files,
            slots: paths.iter().map(|_| OnceLock::new()).collect(),
            paths,
            room: AtomicIsize::new(isize::try_from(room).unwrap_or(isize::MAX)),
            max_unreadable_images: loading.max_unreadable_images,
            unreadable: Mutex::default(),
        }
    }

    /// An image of the size in the settings; `None` for one that cannot be read while that is still tolerated.
    ///
    /// # Errors
    /// [`TrainError::TooManyUnreadableImages`] beyond `loading.max_unreadable_images`.
    pub(crate) fn image(&self, index: usize) -> Result<Option<Arc<RgbImage>>, TrainError> {
        match self.slots[index].get() {
            Some(Slot::Kept(image)) => return Ok(Some(Arc::clone(image))),
            Some(Slot::Unreadable) => return self.check_limit().map(|()| None),
            None => {}
        }
        match self.files.read(&self.paths[index]) {
            Ok(image) => {
                let image = Arc::new(image);
                self.keep(index, &image);
                Ok(Some(image))
            }
            Err(error) => {
                self.note_unreadable(index, &error);
                self.check_limit().map(|()| None)
            }
        }
    }

    /// Tries images again that could not be read before the run went on: those that still cannot are counted before its
    /// next step, as if it had not been interrupted.
    ///
    /// # Errors
    /// [`TrainError::TooManyUnreadableImages`] beyond `loading.max_unreadable_images`.
    pub(crate) fn retry(&self, images: &[usize]) -> Result<(), TrainError> {
        images.iter().filter(|&&image| image < self.slots.len()).try_for_each(|&image| self.image(image).map(drop))
    }

    /// Images that could not be read so far, by index.
    pub(crate) fn unreadable(&self) -> Vec<usize> {
        let is_unreadable = |index: &usize| matches!(self.slots[*index].get(), Some(Slot::Unreadable));
        (0..self.slots.len()).filter(is_unreadable).collect()
    }

    /// Images that could not be read so far, each counted once.
    pub(crate) fn unreadable_count(&self) -> usize {
        self.lock().count
    }

    fn keep(&self, index: usize, image: &Arc<RgbImage>) {
        let has_room = self.room.fetch_sub(1, Ordering::Relaxed) > 0;
        if !has_room || self.slots[index].set(Slot::Kept(Arc::clone(image))).is_err() {
            self.room.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn note_unreadable(&self, index: usize, error: &io::Error) {
        let mut unreadable = self.lock();
        if self.slots[index].set(Slot::Unreadable).is_ok() {
            tracing::warn!(path = %self.paths[index].display(), %error, "an image cannot be read and is left out");
            unreadable.count += 1;
            unreadable.last = Some((index, error.to_string()));
        }
    }

    fn check_limit(&self) -> Result<(), TrainError> {
        let unreadable = self.lock();
        match &unreadable.last {
            Some((index, reason)) if unreadable.count > self.max_unreadable_images => {
                Err(TrainError::TooManyUnreadableImages {
                    count: unreadable.count,
                    limit: self.max_unreadable_images,
                    path: self.paths[*index].clone(),
                    reason: reason.clone(),
                })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Unreadable> {
        // Nothing in it is left half done by a panic.
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fixture;
    use std::fs;
    use std::path::Path;

    fn files(folder: &Path, count: usize) -> Vec<PathBuf> {
        let paths: Vec<PathBuf> = (0..count).map(|index| folder.join(format!("{index}.bmp"))).collect();
        for (index, path) in paths.iter().enumerate() {
            fixture::write_image(path, 8, 16, index);
        }
        paths
    }

    #[test]
    fn what_is_kept_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let paths = files(folder.path(), 2);
        let keeping = ImageCache::new(paths.clone(), &fixture::input(), &fixture::loading(1));
        let without_room = LoadingSettings { cache_mib: 0, ..fixture::loading(1) };
        let forgetting = ImageCache::new(paths.clone(), &fixture::input(), &without_room);
        let first = keeping.image(0).unwrap().unwrap();
        assert_eq!(forgetting.image(0).unwrap().unwrap(), first);
        fs::remove_file(&paths[0]).unwrap();
        assert_eq!(keeping.image(0).unwrap().unwrap(), first);
        assert_ne!(keeping.image(1).unwrap().unwrap(), first);
        assert!(forgetting.image(0).unwrap().is_none());
        assert_eq!((keeping.unreadable_count(), forgetting.unreadable_count()), (0, 1));
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let folder = tempfile::tempdir().unwrap();
        let paths = files(folder.path(), 3);
        // Two images of 600x400 fit into 2 MiB, three do not.
        let input = InputSettings { height_px: 600, width_px: 400, ..fixture::input() };
        let loading = LoadingSettings { cache_mib: 2, max_unreadable_images: 3, ..fixture::loading(1) };
        let cache = ImageCache::new(paths.clone(), &input, &loading);
        for (index, path) in paths.iter().enumerate() {
            assert!(cache.image(index).unwrap().is_some());
            fs::remove_file(path).unwrap();
        }
        let kept = (0..3).filter(|&index| cache.image(index).unwrap().is_some()).count();
        assert_eq!((kept, cache.unreadable_count()), (2, 1));
    }

    #[test]
    fn an_unreadable_image_counts_once_and_too_many_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let paths = files(folder.path(), 3);
        fs::write(&paths[0], b"no image").unwrap();
        fs::write(&paths[2], b"no image").unwrap();
        let loading = LoadingSettings { max_unreadable_images: 1, ..fixture::loading(1) };
        let cache = ImageCache::new(paths.clone(), &fixture::input(), &loading);
        for _ in 0..3 {
            assert!(cache.image(0).unwrap().is_none());
            assert!(cache.image(1).unwrap().is_some());
        }
        assert_eq!(cache.unreadable_count(), 1);
        let error = cache.image(2).unwrap_err();
        let TrainError::TooManyUnreadableImages { count: 2, limit: 1, path, reason } = &error else {
            panic!("{error}");
        };
        assert_eq!(path, &paths[2]);
        assert!(reason.contains("not a readable image"), "{reason}");
        assert!(cache.image(0).is_err(), "the limit stays passed");
        assert!(cache.image(1).unwrap().is_some());
    }

    #[test]
    fn unreadable_images_stay_counted_when_a_run_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let paths = files(folder.path(), 4);
        fs::write(&paths[0], b"no image").unwrap();
        fs::write(&paths[3], b"no image").unwrap();
        let before = ImageCache::new(paths.clone(), &fixture::input(), &fixture::loading(1));
        assert!(before.image(3).unwrap().is_none() && before.image(0).unwrap().is_none());
        assert_eq!(before.unreadable(), [0, 3]);

        let after = ImageCache::new(paths.clone(), &fixture::input(), &fixture::loading(1));
        // A place that there is not comes from a damaged file or another data set.
        after.retry(&[0, 3, 4]).unwrap();
        assert_eq!((after.unreadable(), after.unreadable_count()), (vec![0, 3], 2));
        assert!(after.image(3).unwrap().is_none());
        assert_eq!(after.unreadable_count(), 2, "none is counted twice");

        let strict = LoadingSettings { max_unreadable_images: 1, ..fixture::loading(1) };
        let error = ImageCache::new(paths.clone(), &fixture::input(), &strict).retry(&[0, 3]).unwrap_err();
        assert!(matches!(error, TrainError::TooManyUnreadableImages { count: 2, limit: 1, .. }), "{error}");
        fixture::write_image(&paths[3], 8, 16, 3);
        let repaired = ImageCache::new(paths, &fixture::input(), &strict);
        repaired.retry(&[0, 3]).unwrap();
        assert_eq!(repaired.unreadable(), [0]);
    }
}
