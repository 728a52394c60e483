//! A batch cut into parts, each computed by a thread of its own.

use crate::TrainError;
use std::ops::Range;

/// Ranges of at most `size` pairs, of nearly the same length.
pub(crate) fn cut(pairs: usize, size: usize) -> Vec<Range<usize>> {
    let count = pairs.div_ceil(size.max(1)).max(1);
    (0..count).map(|part| part * pairs / count..(part + 1) * pairs / count).collect()
}

/// Applies `work` to all items, at most `threads` at once; the results are in the items' order.
pub(crate) fn on_threads<Item: Sync, Output: Send>(
    threads: usize,
    items: &[Item],
    work: impl Fn(&Item) -> Result<Output, TrainError> + Sync,
) -> Result<Vec<Output>, TrainError> {
    let mut results = Vec::with_capacity(items.len());
    fold_on_threads(threads, items, work, |result| {
        results.push(result);
        Ok(())
    })?;
    Ok(results)
}

/// Applies `work` to all items, at most `threads` at once, and hands over the results in the items' order: only those of
/// the threads at work are in memory.
pub(crate) fn fold_on_threads<Item: Sync, Output: Send>(
    threads: usize,
    items: &[Item],
    work: impl Fn(&Item) -> Result<Output, TrainError> + Sync,
    mut take: impl FnMut(Output) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    if threads == 1 || items.len() == 1 {
        return items.iter().try_for_each(|item| take(work(item)?));
    }
    let work = &work;
    for wave in items.chunks(threads) {
        let joined = std::thread::scope(|scope| {
            let spawn = |item| std::thread::Builder::new().spawn_scoped(scope, move || work(item));
            let started: Vec<_> = wave.iter().map(spawn).collect();
            started.into_iter().map(|thread| thread.map(|thread| thread.join())).collect::<Vec<_>>()
        });
        for result in joined {
            let refused = |error| TrainError::Thread { reason: format!("it could not be started: {error}") };
            let panicked = |_| TrainError::Thread { reason: "a part of a step panicked".to_owned() };
            take(result.map_err(refused)?.map_err(panicked)??)?;
        }
    }
    Ok(())
}
