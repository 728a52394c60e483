use super::grammar::{MAX_WORDS, MIN_WORDS};
use super::sentences::words;
use super::*;
use crate::Domain;
use crate::facts::View;
use crate::person::body::{Eyewear, Gender};
use crate::person::garment::Pattern;
use crate::person::{Person, crowd};
use crate::pose::Gait;
use std::collections::HashSet;

fn settings() -> SynthesisSettings {
    SynthesisSettings { captions_per_image: 6, ..SynthesisSettings::default() }
}

/// Everything is seen.
fn open(person: &Person) -> Facts<'_> {
    Facts {
        person,
        view: View::Front,
        gait: Gait::Walking,
        task: None,
        is_infrared: false,
        hair: true,
        eyewear: person.face.eyewear != Eyewear::None,
        beard: person.face.has_beard,
        mask: person.face.has_mask,
        headwear: person.headwear.is_some(),
        upper: true,
        pattern: person.upper.pattern != Pattern::Plain,
        inner: person.upper.inner.is_some(),
        lower: person.lower.is_some(),
        shoes: true,
        scarf: person.scarf.is_some(),
        gloves: person.gloves.is_some(),
        belongings: person.belongings.clone(),
        obstacle: None,
    }
}

/// The words of a caption without punctuation, in lower case.
fn tokens(caption: &str) -> Vec<String> {
    caption.split(|letter: char| !letter.is_ascii_alphabetic() && letter != '-').map(str::to_lowercase).collect()
}

#[test]
fn captions_are_sentences_of_bounded_length() {
    for domain in Domain::ALL {
        for (identity, person) in crowd(5, 150, domain).iter().enumerate() {
            let captions = write(&settings(), &open(person), identity, 0);
            assert_eq!(captions.iter().collect::<HashSet<_>>().len(), 6, "{captions:?}");
            for caption in captions {
                assert!((MIN_WORDS..=MAX_WORDS).contains(&words(&caption)), "{caption}");
                assert!(caption.is_ascii() && caption.ends_with('.') && !caption.contains(['{', '}']), "{caption}");
                assert!(!caption.contains("  ") && !caption.contains(" ,") && !caption.contains(".."), "{caption}");
                let sentences: Vec<&str> = caption.trim_end_matches('.').split(". ").collect();
                assert!(sentences.len() <= 3, "{caption}");
                assert!(
                    sentences.iter().all(|sentence| sentence.starts_with(|letter: char| letter.is_ascii_uppercase()))
                );
                for pair in tokens(&caption).windows(2) {
                    let is_vowel = pair[1].starts_with(['a', 'e', 'i', 'o', 'u']);
                    let article = if is_vowel { "an" } else { "a" };
                    assert!(!["a", "an"].contains(&pair[0].as_str()) || pair[0] == article, "{caption}");
                }
            }
        }
    }
}

#[test]
fn pronouns_and_verbs_agree() {
    let (he, she) = (["he", "his", "him"], ["she", "her"]);
    let singular = ["wears", "carries", "has", "is", "holds", "pulls", "pushes"];
    let plural = ["wear", "carry", "have", "are", "hold", "pull", "push"];
    for (identity, person) in crowd(6, 300, Domain::Street).iter().enumerate() {
        for caption in write(&settings(), &open(person), identity, 0) {
            let tokens = tokens(&caption);
            let has = |words: &[&str]| tokens.iter().any(|token| words.contains(&token.as_str()));
            assert!(!(has(&he) && has(&she)) && !(has(&["they", "their"]) && (has(&he) || has(&she))), "{caption}");
            assert!(!has(&he) || person.gender == Gender::Male, "{caption}");
            assert!(!has(&she) || person.gender == Gender::Female, "{caption}");
            for pair in tokens.windows(2) {
                let (subject, verb) = (pair[0].as_str(), pair[1].as_str());
                assert!(!(["he", "she"].contains(&subject) && plural.contains(&verb)), "{caption}");
                assert!(!(subject == "they" && singular.contains(&verb)), "{caption}");
            }
        }
    }
}

#[test]
fn what_is_not_seen_is_not_said() {
    let words_of = |facts: &Facts<'_>, identity: usize| -> Vec<String> {
        write(&settings(), facts, identity, 0).iter().flat_map(|caption| tokens(caption)).collect()
    };
    for (identity, person) in crowd(8, 300, Domain::Night).iter().enumerate() {
        let facts = Facts {
            view: View::Back,
            eyewear: false,
            beard: false,
            mask: false,
            headwear: false,
            hair: false,
            shoes: false,
            pattern: false,
            inner: false,
            scarf: false,
            gloves: false,
            belongings: Vec::new(),
            ..open(person)
        };
        let said = words_of(&facts, identity);
        let unseen = [
            "glasses",
            "sunglasses",
            "beard",
            "bearded",
            "mask",
            "cap",
            "beanie",
            "hood",
            "hair",
            "ponytail",
            "bald",
            "sneakers",
            "shoes",
            "boots",
            "sandals",
            "heels",
            "logo",
            "print",
            "striped",
            "checked",
            "plaid",
            "over",
            "scarf",
            "gloves",
            "backpack",
            "bag",
            "umbrella",
            "suitcase",
            "dog",
            "cup",
            "bottle",
            "stroller",
        ];
        let told: Vec<_> = said.iter().filter(|word| unseen.contains(&word.as_str())).collect();
        assert!(told.is_empty(), "{told:?}");
        let infrared = Facts { is_infrared: true, ..open(person) };
        let colors = ["black", "white", "red", "blue", "navy", "green", "yellow", "orange", "pink", "purple", "brown"];
        let said = words_of(&infrared, identity);
        assert!(!said.iter().any(|word| colors.contains(&word.as_str())), "{said:?}");
    }
}

#[test]
fn the_main_clothes_are_nearly_always_named_and_sentences_vary() {
    let people = crowd(9, 200, Domain::Street);
    let mut randomness = Randomness::new(1, Purpose::Captions, 0, 0);
    let mut openings = HashSet::new();
    let mut named = 0;
    for (identity, person) in people.iter().enumerate() {
        let facts = open(person);
        let name = person.upper.tint.name;
        let colors: HashSet<&str> = (0..60).map(|_| vocabulary::color(&mut randomness, name, &facts)).collect();
        for caption in write(&settings(), &facts, identity, 0) {
            openings.insert(tokens(&caption).into_iter().take(3).collect::<Vec<_>>());
            named += usize::from(colors.iter().any(|color| caption.to_lowercase().contains(color)));
        }
    }
    assert!(named > 1_160, "{named} of 1200");
    assert!(openings.len() > 120, "{}", openings.len());
}
