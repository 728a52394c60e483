//! Which member gets the next piece of work: the less loaded of two that are drawn.
//!
//! Two draws instead of the least loaded of all, so that many services that look at the same members do not all run to the
//! same one (Mitzenmacher, 2001). tower's balancer does the same over connections; it knows no fingerprints, no priorities
//! and no member that asks for a pause.

use super::member::Member;
use super::standing::Standing;
use crate::encoder_client::Work;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Draws among those members that stand best.
pub(super) fn choose<'a>(
    members: impl Iterator<Item = &'a Arc<Member>>,
    work: &Work,
) -> Option<(&'a Arc<Member>, Standing)> {
    let standing: Vec<(&Arc<Member>, Standing)> = members.map(|member| (member, member.standing(work))).collect();
    let best = standing.iter().map(|(_, standing)| *standing).min()?;
    let best_members: Vec<&Arc<Member>> =
        standing.into_iter().filter(|(_, standing)| *standing == best).map(|(member, _)| member).collect();
    if best == Standing::Full {
        // Who has room first.
        return best_members.into_iter().min_by_key(|member| member.full_for(work)).map(|member| (member, best));
    }
    let (first, second) = two_of(best_members.len(), draw());
    let (first, second) = (best_members.get(first)?, best_members.get(second)?);
    let lighter = if second.load(work).is_lighter_than(first.load(work)) { second } else { first };
    Some((lighter, best))
}

/// Two different places of `count`, the same one twice of one.
fn two_of(count: usize, random: u64) -> (usize, usize) {
    let count = count.max(1) as u64;
    let first = (random >> 32) % count;
    let second = if count == 1 { 0 } else { (first + 1 + (random & u64::from(u32::MAX)) % (count - 1)) % count };
    (first as usize, second as usize)
}

/// A number from a sequence without visible order (splitmix64); nothing that is drawn here is a secret.
fn draw() -> u64 {
    static STATE: AtomicU64 = AtomicU64::new(0);
    let mut mixed = STATE.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn every_pair_is_drawn_about_as_often() {
        for count in [1, 2, 3, 8] {
            let mut pairs: HashMap<(usize, usize), u32> = HashMap::new();
            let draws = 20_000;
            for _ in 0..draws {
                let (first, second) = two_of(count, draw());
                assert!(first < count && second < count && (count == 1 || first != second));
                *pairs.entry((first, second)).or_default() += 1;
            }
            let expected = f64::from(draws) / (count * count.saturating_sub(1)).max(1) as f64;
            for (pair, drawn) in &pairs {
                assert!((f64::from(*drawn) - expected).abs() < 0.3 * expected, "{pair:?} {drawn} of {expected}");
            }
            assert_eq!(pairs.len(), (count * count.saturating_sub(1)).max(1));
        }
    }
}
