use super::*;
use crate::SamplerSettings;
use crate::data::sampler::epoch_batches;
use crate::data::{captions, fixture};
use descry_evaluation::DatasetLayout;
use ndarray::s;
use std::fs;
use std::path::Path;

/// Six persons with two images each, two captions an image: 24 pairs.
fn pairs(folder: &Path) -> Arc<TrainingPairs> {
    let images: Vec<(&str, i64)> = (0..12).map(|image| ("train", image / 2)).collect();
    fixture::write_dataset(folder, &images);
    let (tokenizer, vocabulary) = fixture::tokenizer();
    Arc::new(TrainingPairs::load(DatasetLayout::CuhkPedes, folder, &tokenizer, &vocabulary).unwrap())
}

fn cache(pairs: &TrainingPairs, loading: &LoadingSettings) -> Arc<ImageCache> {
    Arc::new(ImageCache::new(pairs.image_paths().to_vec(), &fixture::input(), loading))
}

fn plan(pairs: &TrainingPairs, batch_size: usize, threads: usize) -> LoaderPlan {
    LoaderPlan {
        input: fixture::input(),
        augmentation: fixture::augmentation(),
        loading: fixture::loading(threads),
        batches: epoch_batches(pairs, SamplerSettings::Random, batch_size, 5, 2),
        first_step: 0,
        seed: 5,
        epoch: 2,
    }
}

fn unchanged() -> AugmentationSettings {
    AugmentationSettings {
        flip_probability: 0.0,
        pad_px: 0,
        erase_probability: 0.0,
        mask_probability: 0.0,
        ..fixture::augmentation()
    }
}

fn all(mut loader: BatchLoader) -> Vec<Batch> {
    std::iter::from_fn(|| loader.next_batch()).map(Result::unwrap).collect()
}

fn run(pairs: &Arc<TrainingPairs>, cache: &Arc<ImageCache>, plan: LoaderPlan) -> Vec<Batch> {
    all(BatchLoader::start(Arc::clone(pairs), Arc::clone(cache), plan).unwrap())
}

#[test]
fn batches_depend_neither_on_threads_nor_on_where_the_epoch_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = pairs(folder.path());
    let keeping = cache(&pairs, &fixture::loading(1));
    let whole = run(&pairs, &keeping, plan(&pairs, 5, 1));
    assert_eq!(whole.iter().map(|batch| batch.step).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(whole.iter().map(|batch| batch.identities.len()).collect::<Vec<_>>(), [5, 5, 5, 5, 4]);
    assert_eq!(whole[0].pixels.dim(), (5, 3, 16, 8));
    assert_eq!(whole[0].token_ids.dim(), (5, fixture::CONTEXT_LENGTH));
    let forgetting = cache(&pairs, &LoadingSettings { cache_mib: 0, ..fixture::loading(1) });
    for threads in [0, 2, 5] {
        assert_eq!(run(&pairs, &forgetting, plan(&pairs, 5, threads)), whole, "{threads} threads");
    }
    for first_step in [1, 3, 4, 5, 6] {
        let continued = run(&pairs, &keeping, LoaderPlan { first_step, ..plan(&pairs, 5, 3) });
        assert_eq!(continued, whole.get(first_step..).unwrap_or_default(), "from step {first_step}");
    }
    // The same pairs in another epoch are changed in other ways.
    let other = run(&pairs, &keeping, LoaderPlan { epoch: 3, ..plan(&pairs, 5, 1) });
    assert_eq!(other[0].identities, whole[0].identities);
    assert_ne!(other[0].pixels, whole[0].pixels);
    assert!(other.iter().zip(&whole).any(|(other, batch)| other.token_ids != batch.token_ids));
}

#[test]
fn rows_of_a_batch_are_the_same_pair() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = pairs(folder.path());
    let cache = cache(&pairs, &fixture::loading(1));
    let plan = LoaderPlan { augmentation: unchanged(), ..plan(&pairs, 7, 2) };
    for (batch, indices) in run(&pairs, &cache, plan.clone()).iter().zip(&plan.batches) {
        let token_ids: Vec<Vec<i64>> = indices.iter().map(|&pair| pairs.token_ids_of(pair).to_vec()).collect();
        assert_eq!(batch.token_ids, captions::padded(token_ids.iter(), fixture::CONTEXT_LENGTH));
        for (row, &pair) in indices.iter().enumerate() {
            assert_eq!(batch.identities[row], pairs.identity_of(pair));
            let image = cache.image(pairs.image_of(pair)).unwrap().unwrap();
            let mut values = vec![0.0; image.samples.len()];
            Normalisation::clip(16, 8).write(&image, &mut values);
            assert_eq!(batch.pixels.slice(s![row, .., .., ..]).iter().copied().collect::<Vec<_>>(), values);
        }
    }
}

#[test]
fn pairs_without_a_readable_image_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = pairs(folder.path());
    let cache = cache(&pairs, &fixture::loading(1));
    fs::write(&pairs.image_paths()[3], b"no image").unwrap();
    fs::remove_file(&pairs.image_paths()[8]).unwrap();
    let batches = run(&pairs, &cache, plan(&pairs, 7, 3));
    assert_eq!(batches.iter().map(|batch| batch.identities.len()).sum::<usize>(), 24 - 4);
    assert!(batches.iter().all(|batch| batch.pixels.dim().0 == batch.identities.len()));
    assert_eq!(cache.unreadable_count(), 2);
    // With one pair a batch, those pairs' batches are gone and the others keep their numbers.
    let single = plan(&pairs, 1, 3);
    let expected: Vec<usize> =
        (0..24).filter(|&step| !matches!(pairs.image_of(single.batches[step][0]), 3 | 8)).collect();
    let steps: Vec<usize> = run(&pairs, &cache, single).iter().map(|batch| batch.step).collect();
    assert_eq!(steps, expected);
    assert_eq!(cache.unreadable_count(), 2);
}

#[test]
fn too_many_unreadable_images_end_the_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = pairs(folder.path());
    let strict = LoadingSettings { max_unreadable_images: 0, ..fixture::loading(1) };
    let cache = cache(&pairs, &strict);
    fs::write(&pairs.image_paths()[3], b"no image").unwrap();
    let mut loader = BatchLoader::start(Arc::clone(&pairs), cache, plan(&pairs, 4, 2)).unwrap();
    let error = std::iter::from_fn(|| loader.next_batch()).find_map(Result::err).unwrap();
    assert!(matches!(&error, TrainError::TooManyUnreadableImages { count: 1, limit: 0, .. }), "{error}");
    assert!(loader.next_batch().is_none());
}

#[test]
fn captions_longer_than_the_context_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = pairs(folder.path());
    let cache = cache(&pairs, &fixture::loading(1));
    let short = InputSettings { context_length: 3, ..fixture::input() };
    let plan = LoaderPlan { input: short, ..plan(&pairs, 4, 1) };
    let error = BatchLoader::start(pairs, cache, plan).err().unwrap();
    assert!(matches!(&error, TrainError::Setting { name, .. } if name == "input.context_length"), "{error}");
}

#[test]
fn a_pair_that_does_not_exist_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = pairs(folder.path());
    let cache = cache(&pairs, &fixture::loading(1));
    let plan = LoaderPlan { batches: vec![vec![0], vec![24]], ..plan(&pairs, 4, 1) };
    let mut loader = BatchLoader::start(pairs, cache, plan).unwrap();
    assert!(loader.next_batch().unwrap().is_ok());
    assert!(matches!(loader.next_batch().unwrap(), Err(TrainError::Thread { .. })));
}

#[test]
fn a_loader_may_be_dropped_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = pairs(folder.path());
    let cache = cache(&pairs, &fixture::loading(1));
    for taken in 0..4 {
        let mut loader = BatchLoader::start(Arc::clone(&pairs), Arc::clone(&cache), plan(&pairs, 2, 3)).unwrap();
        for _ in 0..taken {
            loader.next_batch().unwrap().unwrap();
        }
        drop(loader);
        // The threads are gone, and what they shared.
        assert_eq!((Arc::strong_count(&pairs), Arc::strong_count(&cache)), (1, 1));
    }
}
