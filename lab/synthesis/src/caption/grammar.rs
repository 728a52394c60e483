//! Sentences, and which of what is seen goes into them.

use super::clauses::{self, Subject};
use super::sentences::{Remaining, clauses_of, join, remaining, sentence, words};
use super::{phrases, vocabulary};
use crate::facts::{Facts, View};
use crate::randomness::Randomness;

/// Bounds of a caption's length, in words.
pub(crate) const MIN_WORDS: usize = 8;
pub(crate) const MAX_WORDS: usize = 45;

/// How a first sentence is built.
#[derive(Debug, Clone, Copy)]
enum Opening {
    /// "A man with short hair is wearing a shirt and jeans."
    Wearing,
    /// "The man wears a shirt, jeans and boots."
    Wears,
    /// "A man in a shirt and jeans is walking."
    Acting,
    /// "Wearing a shirt and jeans, the man is walking."
    Participle,
    /// "A man is walking, dressed in a shirt and jeans."
    ActingFirst,
    /// "There is a man in a shirt and jeans."
    ThereIs,
    /// "Seen from behind, a man has on a shirt with jeans."
    View,
    /// "A shirt and jeans are worn by a man."
    WornBy,
    /// "This man is dressed in a shirt and jeans and carries a bag."
    Dressed,
}

/// One caption.
pub(crate) fn caption(randomness: &mut Randomness, facts: &Facts<'_>) -> String {
    let (noun, is_gender_told) = vocabulary::person(randomness, facts.person.gender, facts.person.age);
    let subject = Subject::of(facts.person.gender, is_gender_told);
    let mut remaining = remaining(randomness, facts);
    let mut sentences = vec![opening(randomness, facts, (noun, subject), &mut remaining)];
    let mut clauses = clauses_of(randomness, remaining, subject);
    while !clauses.is_empty() {
        let take = randomness.weighted([(1, 0.4), (2, 0.45), (3, 0.15)]).min(clauses.len());
        let group: Vec<String> = clauses.drain(..take).collect();
        sentences.push(sentence(randomness, &group, subject));
    }
    let mut text = join(&sentences);
    while (words(&text) > MAX_WORDS || sentences.len() > 3) && sentences.len() > 1 {
        sentences.pop();
        text = join(&sentences);
    }
    if words(&text) < MIN_WORDS {
        // Too little is seen, or was chosen, for a description: say what can always be said.
        let view = match facts.view {
            View::Front => "from the front",
            View::Back => "from behind",
            View::Left | View::Right => "from the side",
        };
        sentences.push(subject.say(&format!("{} {{is}} seen {view} here", subject.pronoun()), true));
        text = join(&sentences);
    }
    text
}

/// What is said of the clothes: upper and lower ones, nearly always both.
fn clothes(randomness: &mut Randomness, facts: &Facts<'_>) -> Vec<String> {
    let mut clothes = Vec::new();
    if facts.upper && randomness.chance(0.98) {
        clothes.push(phrases::upper(randomness, facts));
    }
    if facts.lower && (clothes.is_empty() || randomness.chance(0.93)) {
        clothes.extend(phrases::lower(randomness, facts));
    }
    if clothes.is_empty() && facts.upper {
        clothes.push(phrases::upper(randomness, facts));
    }
    clothes
}

fn opening(
    randomness: &mut Randomness,
    facts: &Facts<'_>,
    (noun, subject): (&str, Subject),
    remaining: &mut Remaining,
) -> String {
    let mut clothes = clothes(randomness, facts);
    let someone = if randomness.chance(0.72) { phrases::with_article(noun) } else { format!("the {noun}") };
    if clothes.is_empty() {
        let action = remaining.action.take().unwrap_or_else(|| clauses::action(randomness, facts));
        return subject.say(&format!("{someone} {{is}} {action}"), false);
    }
    let opening = randomness.weighted([
        (Opening::Wearing, 0.2),
        (Opening::Wears, 0.18),
        (Opening::Acting, 0.15),
        (Opening::Participle, 0.12),
        (Opening::ActingFirst, 0.1),
        (Opening::ThereIs, 0.06),
        (Opening::View, 0.07),
        (Opening::WornBy, 0.03),
        (Opening::Dressed, 0.14),
    ]);
    let pair = |randomness: &mut Randomness, clothes: &[String]| match clothes {
        [upper, lower] => {
            let joint = if randomness.chance(0.7) { "and" } else { "with" };
            format!("{upper} {joint} {lower}")
        }
        other => phrases::list(other),
    };
    let mut hair = |randomness: &mut Randomness, share: f32| {
        if randomness.chance(share) { remaining.hair.take() } else { None }
    };
    let template = match opening {
        Opening::Wearing => {
            let with = hair(randomness, 0.75).map_or(String::new(), |hair| format!(" with {hair}"));
            format!("{someone}{with} {{is}} wearing {}", pair(randomness, &clothes))
        }
        Opening::Wears => {
            if randomness.chance(0.6) {
                clothes.extend(remaining.shoes.take());
            }
            let verb = randomness.pick(["{wears}", "{wears}", "{has} on"]);
            format!("{someone} {verb} {}", phrases::list(&clothes))
        }
        Opening::Acting => {
            let action = remaining.action.take().unwrap_or_else(|| clauses::action(randomness, facts));
            format!("{someone} in {} {{is}} {action}", pair(randomness, &clothes))
        }
        Opening::Participle => {
            let verb = randomness.pick(["wearing", "dressed in", "clad in"]);
            let action = remaining.action.take().unwrap_or_else(|| clauses::action(randomness, facts));
            format!("{verb} {}, {someone} {{is}} {action}", phrases::list(&clothes))
        }
        Opening::ActingFirst => {
            let action = remaining.action.take().unwrap_or_else(|| clauses::action(randomness, facts));
            let verb = randomness.pick(["wearing", "dressed in"]);
            format!("{someone} {{is}} {action}, {verb} {}", pair(randomness, &clothes))
        }
        Opening::ThereIs => {
            let with = hair(randomness, 0.4).map_or(String::new(), |hair| format!(" with {hair}"));
            format!("there is {}{with} in {}", phrases::with_article(noun), pair(randomness, &clothes))
        }
        Opening::View => {
            let view = match facts.view {
                View::Front => randomness.pick(["seen from the front", "facing the camera"]),
                View::Back => randomness.pick(["seen from behind", "viewed from the back"]),
                View::Left | View::Right => randomness.pick(["seen from the side", "in profile"]),
            };
            let verb = randomness.pick(["{wears}", "{has} on", "{is} dressed in"]);
            format!("{view}, {someone} {verb} {}", pair(randomness, &clothes))
        }
        Opening::WornBy => {
            let verb = if clothes.len() > 1 || !starts_singular(&clothes[0]) { "are" } else { "is" };
            format!("{} {verb} worn by {someone}", phrases::list(&clothes))
        }
        Opening::Dressed => {
            let someone = if randomness.chance(0.4) { format!("this {noun}") } else { someone };
            let also = match remaining.belongings.pop() {
                Some(carried) => format!(" and {carried}"),
                None => String::new(),
            };
            let verb = randomness.pick(["{is} dressed in", "{is} wearing", "{wears}"]);
            format!("{someone} {verb} {}{also}", pair(randomness, &clothes))
        }
    };
    subject.say(&template, false)
}

fn starts_singular(phrase: &str) -> bool {
    phrase.starts_with("a ") || phrase.starts_with("an ")
}
