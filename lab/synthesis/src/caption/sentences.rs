//! What follows the first sentence.

use super::clauses::{self, Subject};
use super::phrases;
use crate::facts::Facts;
use crate::randomness::Randomness;

/// What remains to be said, each at most once.
pub(super) struct Remaining {
    pub(super) hair: Option<String>,
    pub(super) headwear: Option<String>,
    pub(super) shoes: Option<String>,
    pub(super) extras: Vec<String>,
    pub(super) has_beard: bool,
    pub(super) action: Option<String>,
    pub(super) belongings: Vec<String>,
}

/// Draws what else of the facts will be told.
pub(super) fn remaining(randomness: &mut Randomness, facts: &Facts<'_>) -> Remaining {
    let mut belongings: Vec<_> = facts.belongings.iter().filter(|_| randomness.chance(0.85)).collect();
    randomness.shuffle(&mut belongings);
    let belongings = belongings.into_iter().map(|item| clauses::belonging(randomness, facts, item)).collect();
    let is_told = |randomness: &mut Randomness, fact: bool, share: f32| fact && randomness.chance(share);
    Remaining {
        hair: is_told(randomness, facts.hair, 0.72).then(|| phrases::hair(randomness, facts)),
        headwear: if is_told(randomness, facts.headwear, 0.85) { clauses::headwear(randomness, facts) } else { None },
        shoes: is_told(randomness, facts.shoes, 0.74).then(|| phrases::shoes(randomness, facts)),
        extras: clauses::extras(randomness, facts),
        has_beard: is_told(randomness, facts.beard, 0.6),
        action: randomness.chance(0.6).then(|| clauses::action(randomness, facts)),
        belongings,
    }
}

/// Predicates for what the first sentence did not say, in random order.
pub(super) fn clauses_of(randomness: &mut Randomness, remaining: Remaining, subject: Subject) -> Vec<String> {
    let mut clauses = Vec::new();
    if let Some(hair) = remaining.hair {
        let is_bald = hair.contains("bald") && randomness.chance(0.6);
        clauses.push(if is_bald { "{is} bald".to_owned() } else { format!("{{has}} {hair}") });
    }
    clauses.extend(remaining.headwear);
    if let Some(shoes) = remaining.shoes {
        clauses.push(match randomness.index(3) {
            0 => format!("{{has}} {shoes} on {{his}} feet"),
            _ => format!("{{wears}} {shoes}"),
        });
    }
    let mut extras = remaining.extras;
    if remaining.has_beard && randomness.chance(0.5) {
        clauses.push("{has} a beard".to_owned());
    } else if remaining.has_beard {
        clauses.push("{is} bearded".to_owned());
    }
    randomness.shuffle(&mut extras);
    if !extras.is_empty() {
        clauses.push(format!("{{wears}} {}", phrases::list(&extras)));
    }
    clauses.extend(remaining.belongings);
    if let Some(action) = remaining.action.filter(|_| randomness.chance(0.7)) {
        clauses.push(format!("{{is}} {action}"));
    }
    randomness.shuffle(&mut clauses);
    // One sentence more than fits is cut off later; what stands first is what stays.
    clauses.into_iter().map(|clause| subject.say(&clause, true)).collect()
}

/// A later sentence: the pronoun and its predicates.
pub(super) fn sentence(randomness: &mut Randomness, predicates: &[String], subject: Subject) -> String {
    let mut predicates = merged(predicates);
    let is_verb_of_state = |text: &String| text.starts_with("is ") || text.starts_with("are ");
    let first = predicates.first_mut().filter(|first| !is_verb_of_state(first));
    if let Some(first) = first.filter(|_| randomness.chance(0.14)) {
        *first = format!("also {first}");
    }
    format!("{} {}", subject.pronoun(), phrases::list(&predicates))
}

/// Everything worn after one verb: nobody says "wears a cap and wears boots".
fn merged(predicates: &[String]) -> Vec<String> {
    let mut merged: Vec<String> = Vec::with_capacity(predicates.len());
    for predicate in predicates {
        let worn = ["wears ", "wear "].into_iter().find_map(|verb| Some((verb, predicate.strip_prefix(verb)?)));
        let earlier = worn.and_then(|(verb, _)| merged.iter_mut().find(|earlier| earlier.starts_with(verb)));
        match (earlier, worn) {
            (Some(earlier), Some((_, thing))) if !earlier.contains(" and ") => *earlier += &format!(" and {thing}"),
            _ => merged.push(predicate.clone()),
        }
    }
    merged
}

/// Capital letters and full stops.
pub(super) fn join(sentences: &[String]) -> String {
    let finished: Vec<String> = sentences
        .iter()
        .map(|sentence| {
            let mut letters = sentence.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters).chain(['.']).collect()
        })
        .collect();
    finished.join(" ")
}

pub(crate) fn words(text: &str) -> usize {
    text.split_whitespace().count()
}
