//! What people carry or have with them.

use super::body::Gender;
use crate::color::{ColorName, Tint};
use crate::domain::Domain;
use crate::randomness::Randomness;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum BelongingKind {
    Backpack,
    /// On a strap across the chest.
    ShoulderBag,
    /// On one shoulder, under the arm.
    Tote,
    /// In a hanging hand.
    Handbag,
    ShoppingBag,
    Suitcase,
    Umbrella,
    Cup,
    Bottle,
    Stroller,
    Dog,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Belonging {
    pub(crate) kind: BelongingKind,
    pub(crate) tint: Tint,
    /// 1 for the person's left, -1 for the right.
    pub(crate) side: f32,
}

impl BelongingKind {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 11] = [
        Self::Backpack,
        Self::ShoulderBag,
        Self::Tote,
        Self::Handbag,
        Self::ShoppingBag,
        Self::Suitcase,
        Self::Umbrella,
        Self::Cup,
        Self::Bottle,
        Self::Stroller,
        Self::Dog,
    ];

    /// Whether a hand is busy with it.
    pub(crate) fn takes_a_hand(self) -> bool {
        match self {
            Self::Backpack | Self::ShoulderBag | Self::Tote => false,
            Self::Handbag
            | Self::ShoppingBag
            | Self::Suitcase
            | Self::Umbrella
            | Self::Cup
            | Self::Bottle
            | Self::Stroller
            | Self::Dog => true,
        }
    }

    /// How likely it is seen in one of the identity's images.
    pub(crate) fn presence(self) -> f32 {
        match self {
            Self::Backpack | Self::Suitcase | Self::Stroller | Self::Dog => 0.95,
            Self::ShoulderBag | Self::Tote | Self::Handbag => 0.9,
            Self::ShoppingBag => 0.85,
            Self::Umbrella | Self::Cup | Self::Bottle => 0.75,
        }
    }
}

/// Zero to three things, of which at most one takes a hand.
pub(crate) fn choose(randomness: &mut Randomness, gender: Gender, domain: Domain) -> Vec<Belonging> {
    use BelongingKind::{
        Backpack, Bottle, Cup, Dog, Handbag, ShoppingBag, ShoulderBag, Stroller, Suitcase, Tote, Umbrella,
    };
    let mut belongings = Vec::new();
    let is_female = gender == Gender::Female;
    if randomness.chance(0.52) {
        let kind = randomness.weighted([
            (Backpack, if is_female { 0.4 } else { 0.72 }),
            (ShoulderBag, 0.28),
            (Tote, if is_female { 0.32 } else { 0.05 }),
        ]);
        belongings.push(Belonging { kind, tint: tint(randomness), side: randomness.sign() });
    }
    if randomness.chance(0.42) {
        let (umbrella, shopping, dog, suitcase) = match domain {
            Domain::Street => (0.13, 0.1, 0.07, 0.12),
            Domain::Mall => (0.0, 0.4, 0.0, 0.08),
            Domain::Night => (0.16, 0.1, 0.06, 0.14),
            Domain::Drone => (0.03, 0.12, 0.14, 0.1),
        };
        let kind = randomness.weighted([
            (Handbag, if is_female { 0.3 } else { 0.06 }),
            (ShoppingBag, shopping),
            (Suitcase, suitcase),
            (Umbrella, umbrella),
            (Cup, 0.1),
            (Bottle, 0.09),
            (Stroller, 0.05),
            (Dog, dog),
        ]);
        let tint = match kind {
            Cup => Tint::new(randomness.pick([ColorName::White, ColorName::Brown, ColorName::Green]), randomness),
            Dog => {
                let names = [ColorName::Brown, ColorName::White, ColorName::Black, ColorName::Beige];
                Tint::new(randomness.pick(names), randomness)
            }
            Backpack | ShoulderBag | Tote | Handbag | ShoppingBag | Suitcase | Umbrella | Bottle | Stroller => {
                tint(randomness)
            }
        };
        belongings.push(Belonging { kind, tint, side: randomness.sign() });
    }
    belongings
}

fn tint(randomness: &mut Randomness) -> Tint {
    let name = if randomness.chance(0.3) { ColorName::Black } else { randomness.pick(ColorName::ALL) };
    Tint::new(name, randomness)
}
