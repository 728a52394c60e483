//! Who wears what.

use super::body::Gender;
use super::garment::{Headwear, HeadwearKind, Lower, LowerKind, ShoeKind, Shoes, Upper, UpperKind};
use super::styles::{accent, bright_or_plain, garment_tint, lower_tint, pattern, sleeves};
use crate::color::{ColorName, Tint};
use crate::domain::Domain;
use crate::randomness::Randomness;

/// What a domain's people have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// Share of the people who are dressed for cold weather.
    pub(crate) cold: f32,
}

impl Habits {
    pub(crate) fn of(domain: Domain) -> Self {
        let cold = match domain {
            Domain::Street => 0.45,
            Domain::Mall => 0.35,
            Domain::Night => 0.8,
            Domain::Drone => 0.08,
        };
        Self { cold }
    }
}

/// Clothes that go together.
pub(crate) fn clothes(randomness: &mut Randomness, gender: Gender, is_cold: bool) -> (Upper, Option<Lower>) {
    let kind = upper_kind(randomness, gender, is_cold);
    let tint = garment_tint(randomness, kind);
    let upper = Upper {
        kind,
        tint,
        pattern: pattern(randomness, kind),
        accent: accent(randomness, tint),
        sleeves: sleeves(randomness, kind),
        inner: (kind.opens() && (kind == UpperKind::SuitJacket || randomness.chance(0.5))).then(|| {
            let names = [ColorName::White, ColorName::White, ColorName::Gray, ColorName::Black, ColorName::LightBlue];
            let name = if randomness.chance(0.7) { randomness.pick(names) } else { randomness.pick(ColorName::ALL) };
            Tint::new(if name == tint.name { ColorName::White } else { name }, randomness)
        }),
    };
    if kind.is_dress() {
        return (upper, None);
    }
    let kind = lower_kind(randomness, gender, is_cold, kind);
    let tint = if kind == LowerKind::SuitTrousers && randomness.chance(0.7) {
        upper.tint
    } else {
        lower_tint(randomness, kind)
    };
    let width = match kind {
        LowerKind::Leggings => randomness.between(0.9, 0.96),
        LowerKind::Jeans => randomness.between(0.96, 1.2),
        LowerKind::Trousers
        | LowerKind::SuitTrousers
        | LowerKind::Sweatpants
        | LowerKind::Shorts
        | LowerKind::ShortSkirt
        | LowerKind::LongSkirt => randomness.between(1.05, 1.4),
    };
    let has_side_stripe = kind == LowerKind::Sweatpants && randomness.chance(0.5);
    (upper, Some(Lower { kind, tint, has_side_stripe, width }))
}

fn upper_kind(randomness: &mut Randomness, gender: Gender, is_cold: bool) -> UpperKind {
    use UpperKind::{
        Blouse, DenimJacket, DownJacket, DownVest, Hoodie, Jacket, LeatherJacket, LongCoat, LongDress, Polo, Raincoat,
        Shirt, ShortCoat, ShortDress, SuitJacket, Sweater, TShirt, TankTop,
    };
    match (is_cold, gender) {
        (true, _) => randomness.weighted([
            (Sweater, 0.12),
            (Hoodie, 0.16),
            (Jacket, 0.17),
            (DenimJacket, 0.08),
            (LeatherJacket, 0.09),
            (DownJacket, 0.14),
            (DownVest, 0.05),
            (SuitJacket, 0.04),
            (ShortCoat, 0.09),
            (LongCoat, 0.08),
            (Raincoat, 0.05),
        ]),
        (false, Gender::Male) => randomness.weighted([
            (TShirt, 0.36),
            (TankTop, 0.03),
            (Polo, 0.12),
            (Shirt, 0.19),
            (Sweater, 0.07),
            (Hoodie, 0.08),
            (Jacket, 0.05),
            (DenimJacket, 0.03),
            (SuitJacket, 0.07),
        ]),
        (false, Gender::Female) => randomness.weighted([
            (TShirt, 0.25),
            (TankTop, 0.08),
            (Polo, 0.03),
            (Shirt, 0.1),
            (Blouse, 0.15),
            (Sweater, 0.07),
            (Hoodie, 0.04),
            (DenimJacket, 0.04),
            (SuitJacket, 0.03),
            (ShortDress, 0.13),
            (LongDress, 0.08),
        ]),
    }
}

fn lower_kind(randomness: &mut Randomness, gender: Gender, is_cold: bool, upper: UpperKind) -> LowerKind {
    use LowerKind::{Jeans, Leggings, LongSkirt, ShortSkirt, Shorts, SuitTrousers, Sweatpants, Trousers};
    if upper == UpperKind::SuitJacket && gender == Gender::Male {
        return SuitTrousers;
    }
    let is_female = gender == Gender::Female;
    let warm = |share: f32| if is_cold { share * 0.08 } else { share };
    let female = |share: f32| if is_female { share } else { 0.0 };
    randomness.weighted([
        (Jeans, 0.34),
        (Trousers, 0.28),
        (Sweatpants, if is_female { 0.07 } else { 0.16 }),
        (Leggings, female(0.16)),
        (Shorts, warm(if is_female { 0.13 } else { 0.3 })),
        (ShortSkirt, female(if is_cold { 0.08 } else { 0.16 })),
        (LongSkirt, female(0.08)),
    ])
}

pub(crate) fn shoes(randomness: &mut Randomness, gender: Gender, upper: &Upper, is_cold: bool) -> Shoes {
    use ShoeKind::{Boots, Heels, LeatherShoes, Sandals, Sneakers};
    let is_female = gender == Gender::Female;
    let is_formal = upper.kind == UpperKind::SuitJacket;
    let kind = randomness.weighted([
        (Sneakers, if is_formal { 0.1 } else { 0.6 }),
        (Boots, if is_cold { 0.24 } else { 0.05 }),
        (Sandals, if is_cold || is_formal { 0.0 } else { 0.13 }),
        (Heels, if is_female { if is_formal || upper.kind.is_dress() { 0.35 } else { 0.09 } } else { 0.0 }),
        (LeatherShoes, if is_formal && !is_female { 0.7 } else { 0.14 }),
    ]);
    let name = match kind {
        Sneakers => randomness.weighted([
            (ColorName::White, 0.36),
            (ColorName::Black, 0.24),
            (ColorName::Gray, 0.1),
            (ColorName::Red, 0.08),
            (ColorName::Blue, 0.08),
            (ColorName::Green, 0.04),
            (ColorName::Pink, 0.05),
            (ColorName::Yellow, 0.05),
        ]),
        Boots | LeatherShoes => {
            randomness.weighted([(ColorName::Black, 0.5), (ColorName::Brown, 0.38), (ColorName::Beige, 0.12)])
        }
        Sandals | Heels => randomness.weighted([
            (ColorName::Black, 0.35),
            (ColorName::Brown, 0.2),
            (ColorName::Beige, 0.15),
            (ColorName::White, 0.15),
            (ColorName::Red, 0.15),
        ]),
    };
    Shoes { kind, tint: Tint::new(name, randomness), has_white_sole: kind == Sneakers && randomness.chance(0.75) }
}

pub(crate) fn headwear(randomness: &mut Randomness, upper: &Upper, gender: Gender, is_cold: bool) -> Option<Headwear> {
    let has_hood = matches!(upper.kind, UpperKind::Hoodie | UpperKind::Raincoat);
    if has_hood && randomness.chance(if upper.kind == UpperKind::Raincoat { 0.5 } else { 0.16 }) {
        return Some(Headwear { kind: HeadwearKind::Hood, tint: upper.tint });
    }
    if !randomness.chance(0.2) {
        return None;
    }
    let kind = randomness.weighted([
        (HeadwearKind::Cap, if gender == Gender::Male { 0.6 } else { 0.35 }),
        (HeadwearKind::Beanie, if is_cold { 0.5 } else { 0.05 }),
        (HeadwearKind::BrimmedHat, if is_cold { 0.1 } else { 0.3 }),
    ]);
    Some(Headwear { kind, tint: bright_or_plain(randomness) })
}
