//! A person: everything that stays the same over the images of one identity.

pub(crate) mod belongings;
pub(crate) mod body;
pub(crate) mod cut;
pub(crate) mod garment;
pub(crate) mod styles;
pub(crate) mod wardrobe;

use crate::color::Tint;
use crate::domain::Domain;
use crate::randomness::{Purpose, Randomness};
use belongings::{Belonging, BelongingKind};
use body::{Age, Face, Gender, Hair, Physique};
use garment::{Headwear, Lower, Shoes, Upper};
use std::collections::HashSet;

/// Share of people who are dressed much like somebody before them: what makes retrieval hard.
const LOOKALIKE_SHARE: f32 = 0.15;

/// What is known of a person.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Person {
    pub(crate) gender: Gender,
    pub(crate) age: Age,
    pub(crate) physique: Physique,
    pub(crate) hair: Hair,
    pub(crate) face: Face,
    pub(crate) upper: Upper,
    /// `None` under a dress.
    pub(crate) lower: Option<Lower>,
    pub(crate) shoes: Shoes,
    pub(crate) headwear: Option<Headwear>,
    pub(crate) scarf: Option<Tint>,
    pub(crate) gloves: Option<Tint>,
    pub(crate) belongings: Vec<Belonging>,
}

impl Person {
    pub(crate) fn new(randomness: &mut Randomness, domain: Domain) -> Self {
        let habits = wardrobe::Habits::of(domain);
        let gender = if randomness.chance(0.5) { Gender::Male } else { Gender::Female };
        let age = randomness.weighted([(Age::Young, 0.4), (Age::Adult, 0.45), (Age::Old, 0.15)]);
        let physique = Physique::new(randomness, gender, age);
        let is_cold = randomness.chance(habits.cold);
        let (upper, lower) = wardrobe::clothes(randomness, gender, is_cold);
        let shoes = wardrobe::shoes(randomness, gender, &upper, is_cold);
        let headwear = wardrobe::headwear(randomness, &upper, gender, is_cold);
        let cold_extra = |randomness: &mut Randomness, probability: f32| {
            (is_cold && randomness.chance(probability)).then(|| styles::bright_or_plain(randomness))
        };
        let scarf = cold_extra(randomness, if gender == Gender::Female { 0.3 } else { 0.16 });
        let gloves = cold_extra(randomness, 0.14);
        Self {
            gender,
            age,
            physique,
            hair: Hair::new(randomness, gender, age),
            face: Face::new(randomness, gender, domain),
            upper,
            lower,
            shoes,
            headwear,
            scarf,
            gloves,
            belongings: belongings::choose(randomness, gender, domain),
        }
    }

    /// Somebody else in much the same clothes: two or three things that descriptions name are different.
    fn lookalike(&self, randomness: &mut Randomness, domain: Domain) -> Self {
        let other = Self::new(randomness, domain);
        let mut person = Self { gender: self.gender, ..self.clone() };
        person.physique = Physique::new(randomness, person.gender, person.age);
        for _ in 0..3 {
            match randomness.index(5) {
                0 => person.shoes = wardrobe::shoes(randomness, person.gender, &person.upper, false),
                1 => person.belongings.clone_from(&other.belongings),
                2 => person.hair = Hair::new(randomness, person.gender, person.age),
                3 => person.upper.tint = styles::garment_tint(randomness, person.upper.kind),
                _ => match &mut person.lower {
                    Some(lower) => lower.tint = styles::lower_tint(randomness, lower.kind),
                    None => person.upper.tint = styles::garment_tint(randomness, person.upper.kind),
                },
            }
        }
        person
    }

    /// Whether the legs under a skirt or dress are covered.
    pub(crate) fn has_tights(&self) -> bool {
        let is_skirt = self.lower.as_ref().is_none_or(|lower| lower.kind.is_skirt());
        is_skirt && (self.shoes.kind == garment::ShoeKind::Boots || self.scarf.is_some() || self.gloves.is_some())
    }

    pub(crate) fn owns(&self, kind: BelongingKind) -> bool {
        self.belongings.iter().any(|belonging| belonging.kind == kind)
    }

    /// What descriptions can tell people apart by.
    fn signature(&self) -> String {
        let lower = self.lower.as_ref().map(|lower| (lower.kind, lower.tint.name));
        let belongings: Vec<_> = self.belongings.iter().map(|item| (item.kind, item.tint.name)).collect();
        let headwear = self.headwear.as_ref().map(|headwear| (headwear.kind, headwear.tint.name));
        let hair = (self.hair.style, self.hair.color);
        let upper = (self.upper.kind, self.upper.tint.name, self.upper.pattern);
        let shoes = (self.shoes.kind, self.shoes.tint.name);
        format!("{:?}", (self.gender, hair, upper, lower, shoes, headwear, belongings))
    }
}

/// The people of a data set. No two of them agree in everything that a description can name.
pub(crate) fn crowd(seed: u64, count: usize, domain: Domain) -> Vec<Person> {
    let mut people: Vec<Person> = Vec::with_capacity(count);
    let mut signatures = HashSet::with_capacity(count);
    for identity in 0..count {
        let mut attempt = 0;
        loop {
            let mut randomness = Randomness::new(seed, Purpose::Identity, identity as u64, attempt);
            let model = if randomness.chance(LOOKALIKE_SHARE) && attempt == 0 { people.last() } else { None };
            let person = match model {
                Some(model) => model.lookalike(&mut randomness, domain),
                None => Person::new(&mut randomness, domain),
            };
            attempt += 1;
            if signatures.insert(person.signature()) {
                people.push(person);
                break;
            }
        }
    }
    people
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_somebody_else() {
        for domain in Domain::ALL {
            let people = crowd(3, 600, domain);
            let signatures: HashSet<String> = people.iter().map(Person::signature).collect();
            assert_eq!(signatures.len(), people.len());
        }
    }

    #[test]
    fn a_crowd_that_grows_keeps_its_people() {
        assert_eq!(crowd(3, 20, Domain::Street)[..10], crowd(3, 10, Domain::Street)[..]);
        assert_ne!(crowd(3, 10, Domain::Street), crowd(4, 10, Domain::Street));
    }
}
