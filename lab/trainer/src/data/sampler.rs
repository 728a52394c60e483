//! The order in which an epoch goes through the pairs.

use super::pairs::TrainingPairs;
use super::randomness::{Purpose, Randomness};
use crate::SamplerSettings;
use std::collections::{BTreeMap, VecDeque};

/// Indices of pairs, one list for each step of an epoch. The same for the same arguments.
///
/// Random: every pair once; the last batch is what is left, as PyTorch's `DataLoader` does by default. Identity: see
/// [`SamplerSettings::Identity`]; there is no batch at all where `pairs` has fewer identities than a batch needs.
pub(crate) fn epoch_batches(
    pairs: &TrainingPairs,
    sampler: SamplerSettings,
    batch_size: usize,
    seed: u64,
    epoch: usize,
) -> Vec<Vec<usize>> {
    let mut randomness = Randomness::new(seed, Purpose::Order, epoch, 0);
    match sampler {
        SamplerSettings::Random => {
            let mut order: Vec<usize> = (0..pairs.len()).collect();
            randomness.shuffle(&mut order);
            order.chunks(batch_size.max(1)).map(<[usize]>::to_vec).collect()
        }
        SamplerSettings::Identity { instances } => {
            let instances = instances.max(1);
            let groups = identity_groups(pairs, instances, &mut randomness);
            identity_batches(groups, (batch_size / instances).max(1), &mut randomness)
        }
    }
}

/// Groups of `instances` pairs for each identity, as `RandomIdentitySampler` of the re-identification codes makes them:
/// a rest that fills no group waits for another epoch; an identity with fewer pairs gets one group, drawn with
/// replacement.
fn identity_groups(pairs: &TrainingPairs, instances: usize, randomness: &mut Randomness) -> Vec<VecDeque<Vec<usize>>> {
    let mut by_identity: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for pair in 0..pairs.len() {
        by_identity.entry(pairs.identity_of(pair)).or_default().push(pair);
    }
    by_identity
        .into_values()
        .map(|mut own| {
            if own.len() < instances {
                own = (0..instances).map(|_| own[randomness.index(own.len())]).collect();
            }
            randomness.shuffle(&mut own);
            own.chunks_exact(instances).map(<[usize]>::to_vec).collect()
        })
        .collect()
}

/// Batches of one group from each of some identities, until too few identities have a group left.
fn identity_batches(
    mut groups: Vec<VecDeque<Vec<usize>>>,
    identities_per_batch: usize,
    randomness: &mut Randomness,
) -> Vec<Vec<usize>> {
    let mut available: Vec<usize> = (0..groups.len()).collect();
    let mut batches = Vec::new();
    while available.len() >= identities_per_batch {
        let mut batch = Vec::new();
        for position in 0..identities_per_batch {
            let other = position + randomness.index(available.len() - position);
            available.swap(position, other);
            batch.extend(groups[available[position]].pop_front().unwrap_or_default());
        }
        available.retain(|&identity| !groups[identity].is_empty());
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn identities() -> impl Strategy<Value = Vec<i64>> {
        proptest::collection::vec(-3_i64..12, 1..150)
    }

    proptest! {
        #[test]
        fn random_order_has_every_pair_once(
            identities in identities(), batch_size in 1_usize..40, seed in any::<u64>(),
        ) {
            let pairs = TrainingPairs::of_identities(&identities);
            let batches = epoch_batches(&pairs, SamplerSettings::Random, batch_size, seed, 3);
            let (last, full) = batches.split_last().unwrap();
            prop_assert!(full.iter().all(|batch| batch.len() == batch_size));
            prop_assert!((1..=batch_size).contains(&last.len()));
            let mut all = batches.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..identities.len()).collect::<Vec<_>>());
        }

        #[test]
        fn identity_batches_hold_the_same_number_of_each(
            identities in identities(), instances in 1_usize..6, persons in 1_usize..8, seed in any::<u64>(),
        ) {
            let pairs = TrainingPairs::of_identities(&identities);
            let sampler = SamplerSettings::Identity { instances };
            // One more than a multiple: the rest of a batch size that cannot be filled is left out.
            let batch_size = if instances == 1 { persons } else { persons * instances + 1 };
            let batches = epoch_batches(&pairs, sampler, batch_size, seed, 3);
            let count = |identity: i64| identities.iter().filter(|&&other| other == identity).count();
            let mut uses: HashMap<usize, usize> = HashMap::new();
            let mut groups_left: HashMap<i64, usize> =
                identities.iter().map(|&identity| (identity, (count(identity) / instances).max(1))).collect();
            for batch in &batches {
                prop_assert_eq!(batch.len(), persons * instances);
                let mut in_batch: HashMap<i64, usize> = HashMap::new();
                for &pair in batch {
                    *in_batch.entry(identities[pair]).or_default() += 1;
                    *uses.entry(pair).or_default() += 1;
                }
                prop_assert_eq!(in_batch.len(), persons);
                for (identity, number) in in_batch {
                    prop_assert_eq!(number, instances);
                    *groups_left.get_mut(&identity).unwrap() -= 1;
                }
            }
            prop_assert!(groups_left.values().filter(|&&left| left > 0).count() < persons);
            for (pair, number) in uses {
                prop_assert!(number == 1 || count(identities[pair]) < instances);
            }
        }
    }

    #[test]
    fn epochs_and_seeds_differ_and_repeat() {
        let identities: Vec<i64> = (0..60).map(|pair| pair / 6).collect();
        let pairs = TrainingPairs::of_identities(&identities);
        for sampler in [SamplerSettings::Random, SamplerSettings::Identity { instances: 2 }] {
            let batches = |seed, epoch| epoch_batches(&pairs, sampler, 8, seed, epoch);
            assert_eq!(batches(1, 1), batches(1, 1));
            assert_ne!(batches(1, 1), batches(1, 2));
            assert_ne!(batches(1, 1), batches(2, 1));
        }
    }
}
