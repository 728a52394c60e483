//! Phrases for single things, such as "a blue striped shirt with white sleeves".

use super::vocabulary;
use crate::facts::Facts;
use crate::person::belongings::Belonging;
use crate::person::body::{Eyewear, HairStyle};
use crate::person::garment::{Pattern, ShoeKind, Sleeves, UpperKind};
use crate::randomness::Randomness;

/// With "a" or "an", as the word's first letter wants it; none of our words begins with a letter that sounds otherwise.
pub(crate) fn with_article(text: &str) -> String {
    let is_vowel = text.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {text}", if is_vowel { "an" } else { "a" })
}

/// Two things with "and", more with commas.
pub(crate) fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

pub(crate) fn upper(randomness: &mut Randomness, facts: &Facts<'_>) -> String {
    let upper = &facts.person.upper;
    let noun = vocabulary::upper(randomness, upper.kind);
    let color = vocabulary::color(randomness, upper.tint.name, facts);
    let accent = vocabulary::color(randomness, upper.accent.name, facts);
    // Through infrared light accents of the same brightness cannot be told from their ground.
    let is_told = facts.pattern && randomness.chance(0.85);
    let mut words: Vec<&str> = Vec::new();
    let mut after = String::new();
    let mut color = color.to_owned();
    if is_told {
        match upper.pattern {
            Pattern::Plain => {}
            Pattern::HorizontalStripes | Pattern::VerticalStripes => {
                words.push(randomness.weighted([("striped", 0.8), (stripes(upper.pattern), 0.2)]));
                if randomness.chance(0.3) {
                    color = format!("{color} and {accent}");
                }
            }
            Pattern::Checks => words.push(randomness.pick(["checked", "plaid", "checkered"])),
            Pattern::Dots => words.push(randomness.pick(["polka dot", "dotted", "spotted"])),
            Pattern::Print => {
                let noun = randomness.pick(["print", "logo", "design"]);
                let place = randomness.pick(["on the chest", "on the front", "on it"]);
                after = if randomness.chance(0.5) {
                    format!(" with {} {noun} {place}", with_article(accent))
                } else {
                    format!(" with a {noun} {place}")
                };
            }
            Pattern::BlockedSleeves => after = format!(" with {accent} sleeves"),
            Pattern::ChestBand => {
                let noun = randomness.pick(["stripe", "band"]);
                after = format!(" with {} {noun} across the chest", with_article(accent));
                if facts.view == crate::facts::View::Back {
                    after = format!(" with {} {noun} across the back", with_article(accent));
                }
            }
        }
    }
    if let Some(sleeves) = sleeves(randomness, upper.sleeves, upper.kind) {
        words.insert(0, sleeves);
    }
    let is_open = facts.inner && upper.kind != UpperKind::SuitJacket && randomness.chance(0.3);
    if is_open {
        words.insert(0, "open");
    }
    let mut text = words.iter().map(|word| format!("{word} ")).collect::<String>();
    text = if randomness.chance(0.82) || is_open {
        format!("{color} {text}{noun}")
    } else {
        format!("{text}{color} {noun}")
    };
    if is_open {
        text = text.replacen(&format!("{color} open"), &format!("open {color}"), 1);
    }
    let mut text = with_article(&text) + &after;
    if let Some(inner) = upper.inner.filter(|_| facts.inner && randomness.chance(0.72)) {
        let color = vocabulary::color(randomness, inner.name, facts);
        let is_suit = upper.kind == UpperKind::SuitJacket;
        let noun = if is_suit { "shirt" } else { randomness.pick(["t-shirt", "shirt", "top"]) };
        text = format!("{text} over {}", with_article(&format!("{color} {noun}")));
    }
    text
}

fn stripes(pattern: Pattern) -> &'static str {
    if pattern == Pattern::VerticalStripes { "vertically striped" } else { "horizontally striped" }
}

/// Only where the noun leaves it open.
fn sleeves(randomness: &mut Randomness, sleeves: Sleeves, kind: UpperKind) -> Option<&'static str> {
    let is_open = matches!(kind, UpperKind::Shirt | UpperKind::Blouse | UpperKind::ShortDress | UpperKind::LongDress);
    if !is_open || randomness.chance(0.6) {
        return None;
    }
    Some(match sleeves {
        Sleeves::None => "sleeveless",
        Sleeves::Short => "short-sleeved",
        Sleeves::Elbow => "half-sleeved",
        Sleeves::Long => "long-sleeved",
    })
}

pub(crate) fn lower(randomness: &mut Randomness, facts: &Facts<'_>) -> Option<String> {
    let lower = facts.person.lower.as_ref()?;
    let (noun, is_pair) = vocabulary::lower(randomness, lower.kind);
    let color = vocabulary::color(randomness, lower.tint.name, facts);
    let text = format!("{color} {noun}");
    Some(match is_pair {
        true if randomness.chance(0.18) => format!("a pair of {text}"),
        true => text,
        false => with_article(&text),
    })
}

pub(crate) fn shoes(randomness: &mut Randomness, facts: &Facts<'_>) -> String {
    let shoes = &facts.person.shoes;
    let noun = vocabulary::shoes(randomness, shoes.kind);
    let color = vocabulary::color(randomness, shoes.tint.name, facts);
    let sole =
        if shoes.kind == ShoeKind::Sneakers && shoes.has_white_sole && randomness.chance(0.1) && !facts.is_infrared {
            " with white soles"
        } else {
            ""
        };
    let pair = if randomness.chance(0.12) { "a pair of " } else { "" };
    format!("{pair}{color} {noun}{sole}")
}

/// Such as "long black hair", or "a black ponytail" with its article.
pub(crate) fn hair(randomness: &mut Randomness, facts: &Facts<'_>) -> String {
    let hair = &facts.person.hair;
    let color = vocabulary::hair_color(randomness, hair.color, facts);
    match hair.style {
        HairStyle::Bald => "a bald head".to_owned(),
        HairStyle::Buzzed => format!("{} {color} hair", randomness.pick(["very short", "buzzed", "closely cropped"])),
        HairStyle::Short => format!("short {color} hair"),
        HairStyle::Curly => format!("curly {color} hair"),
        HairStyle::Bob => {
            format!("{} {color} hair", randomness.pick(["shoulder-length", "medium-length", "chin-length"]))
        }
        HairStyle::Long => format!("long {color} hair"),
        HairStyle::Ponytail => {
            if randomness.chance(0.4) {
                with_article(&format!("{color} ponytail"))
            } else {
                format!("{color} hair tied in a ponytail")
            }
        }
        HairStyle::Bun => {
            if randomness.chance(0.3) {
                format!("{color} hair tied up")
            } else {
                format!("{color} hair in a bun")
            }
        }
    }
}

pub(crate) fn headwear(randomness: &mut Randomness, facts: &Facts<'_>) -> Option<String> {
    let headwear = facts.person.headwear.as_ref()?;
    let noun = vocabulary::headwear(randomness, headwear.kind);
    let color = vocabulary::color(randomness, headwear.tint.name, facts);
    Some(with_article(&format!("{color} {noun}")))
}

pub(crate) fn eyewear(facts: &Facts<'_>) -> &'static str {
    if facts.person.face.eyewear == Eyewear::Sunglasses { "sunglasses" } else { "glasses" }
}

pub(crate) fn belonging(randomness: &mut Randomness, facts: &Facts<'_>, belonging: &Belonging) -> String {
    let noun = vocabulary::belonging(randomness, belonging.kind);
    let color = vocabulary::color(randomness, belonging.tint.name, facts);
    with_article(&format!("{color} {noun}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_and_lists_are_as_they_are_said() {
        assert_eq!(with_article("orange coat"), "an orange coat");
        assert_eq!(with_article("red coat"), "a red coat");
        let items = ["a", "b", "c"].map(str::to_owned);
        assert_eq!([list(&items[..1]), list(&items[..2]), list(&items)], ["a", "a and b", "a, b and c"]);
    }
}
