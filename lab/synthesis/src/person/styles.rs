//! Colours, patterns and sleeves that kinds of clothes come in.

use super::garment::{LowerKind, Pattern, Sleeves, UpperKind};
use crate::color::{ColorName, Tint};
use crate::randomness::Randomness;

pub(crate) fn pattern(randomness: &mut Randomness, kind: UpperKind) -> Pattern {
    use Pattern::{BlockedSleeves, Checks, ChestBand, Dots, HorizontalStripes, Plain, Print, VerticalStripes};
    match kind {
        UpperKind::TShirt => randomness.weighted([
            (Plain, 0.45),
            (HorizontalStripes, 0.17),
            (Print, 0.26),
            (BlockedSleeves, 0.07),
            (Dots, 0.05),
        ]),
        UpperKind::Polo | UpperKind::TankTop => {
            randomness.weighted([(Plain, 0.7), (HorizontalStripes, 0.22), (ChestBand, 0.08)])
        }
        UpperKind::Shirt => randomness.weighted([(Plain, 0.45), (VerticalStripes, 0.2), (Checks, 0.35)]),
        UpperKind::Blouse => randomness.weighted([(Plain, 0.65), (Dots, 0.2), (VerticalStripes, 0.15)]),
        UpperKind::Sweater => randomness.weighted([(Plain, 0.6), (HorizontalStripes, 0.22), (ChestBand, 0.18)]),
        UpperKind::Hoodie => randomness.weighted([(Plain, 0.6), (Print, 0.28), (BlockedSleeves, 0.12)]),
        UpperKind::Jacket => randomness.weighted([(Plain, 0.66), (BlockedSleeves, 0.2), (ChestBand, 0.14)]),
        UpperKind::DownJacket => randomness.weighted([(Plain, 0.85), (ChestBand, 0.15)]),
        UpperKind::ShortCoat | UpperKind::LongCoat => randomness.weighted([(Plain, 0.85), (Checks, 0.15)]),
        UpperKind::ShortDress | UpperKind::LongDress => randomness.weighted([
            (Plain, 0.52),
            (Dots, 0.22),
            (HorizontalStripes, 0.14),
            (VerticalStripes, 0.06),
            (Checks, 0.06),
        ]),
        UpperKind::DenimJacket
        | UpperKind::LeatherJacket
        | UpperKind::DownVest
        | UpperKind::SuitJacket
        | UpperKind::Raincoat => Plain,
    }
}

pub(crate) fn sleeves(randomness: &mut Randomness, kind: UpperKind) -> Sleeves {
    match kind {
        UpperKind::TShirt | UpperKind::Polo => Sleeves::Short,
        UpperKind::TankTop => Sleeves::None,
        UpperKind::Shirt => randomness.weighted([(Sleeves::Long, 0.68), (Sleeves::Short, 0.32)]),
        UpperKind::Blouse => {
            randomness.weighted([(Sleeves::Long, 0.5), (Sleeves::Elbow, 0.25), (Sleeves::Short, 0.25)])
        }
        UpperKind::ShortDress | UpperKind::LongDress => {
            randomness.weighted([(Sleeves::None, 0.4), (Sleeves::Short, 0.4), (Sleeves::Long, 0.2)])
        }
        UpperKind::Sweater
        | UpperKind::Hoodie
        | UpperKind::Jacket
        | UpperKind::DenimJacket
        | UpperKind::LeatherJacket
        | UpperKind::DownJacket
        | UpperKind::DownVest
        | UpperKind::SuitJacket
        | UpperKind::ShortCoat
        | UpperKind::LongCoat
        | UpperKind::Raincoat => Sleeves::Long,
    }
}

pub(crate) fn garment_tint(randomness: &mut Randomness, kind: UpperKind) -> Tint {
    use ColorName::{Beige, Black, Blue, Brown, Gray, LightBlue, Maroon, Navy};
    let name = match kind {
        UpperKind::DenimJacket => randomness.weighted([(Blue, 0.45), (LightBlue, 0.35), (Black, 0.2)]),
        UpperKind::LeatherJacket => randomness.weighted([(Black, 0.6), (Brown, 0.32), (Maroon, 0.08)]),
        UpperKind::SuitJacket => {
            randomness.weighted([(Black, 0.35), (Navy, 0.25), (Gray, 0.25), (Beige, 0.08), (Brown, 0.07)])
        }
        UpperKind::ShortCoat | UpperKind::LongCoat if randomness.chance(0.7) => {
            randomness.weighted([(Black, 0.28), (Beige, 0.24), (Gray, 0.18), (Navy, 0.15), (Brown, 0.15)])
        }
        UpperKind::TShirt
        | UpperKind::TankTop
        | UpperKind::Polo
        | UpperKind::Shirt
        | UpperKind::Blouse
        | UpperKind::Sweater
        | UpperKind::Hoodie
        | UpperKind::Jacket
        | UpperKind::DownJacket
        | UpperKind::DownVest
        | UpperKind::ShortCoat
        | UpperKind::LongCoat
        | UpperKind::Raincoat
        | UpperKind::ShortDress
        | UpperKind::LongDress => return bright_or_plain(randomness),
    };
    Tint::new(name, randomness)
}

pub(crate) fn lower_tint(randomness: &mut Randomness, kind: LowerKind) -> Tint {
    use ColorName::{Beige, Black, Blue, Brown, DarkGreen, Gray, LightBlue, Navy, White};
    let name = match kind {
        LowerKind::Jeans => {
            randomness.weighted([(Blue, 0.45), (LightBlue, 0.2), (Navy, 0.13), (Black, 0.16), (Gray, 0.06)])
        }
        LowerKind::SuitTrousers => randomness.weighted([(Black, 0.45), (Navy, 0.25), (Gray, 0.3)]),
        LowerKind::Leggings => randomness.weighted([(Black, 0.7), (Gray, 0.15), (Navy, 0.15)]),
        LowerKind::Trousers | LowerKind::Sweatpants | LowerKind::Shorts if randomness.chance(0.75) => randomness
            .weighted([
                (Black, 0.3),
                (Beige, 0.18),
                (Gray, 0.2),
                (Navy, 0.12),
                (DarkGreen, 0.07),
                (Brown, 0.08),
                (White, 0.05),
            ]),
        LowerKind::Trousers
        | LowerKind::Sweatpants
        | LowerKind::Shorts
        | LowerKind::ShortSkirt
        | LowerKind::LongSkirt => randomness.pick(ColorName::ALL),
    };
    Tint::new(name, randomness)
}

/// The plain colours are worn most, the others often enough to be learned.
pub(crate) fn bright_or_plain(randomness: &mut Randomness) -> Tint {
    let plain = [ColorName::Black, ColorName::White, ColorName::Gray, ColorName::Navy];
    let name = if randomness.chance(0.34) { randomness.pick(plain) } else { randomness.pick(ColorName::ALL) };
    Tint::new(name, randomness)
}

/// A colour that can be told from the ground it is on.
pub(crate) fn accent(randomness: &mut Randomness, ground: Tint) -> Tint {
    let is_dark = ground.name.is_dark();
    let plain = if is_dark { ColorName::White } else { ColorName::Black };
    let drawn = randomness.pick(ColorName::ALL);
    let difference = (drawn.rgb().luminance() - ground.name.rgb().luminance()).abs();
    let name = if randomness.chance(0.5) || difference < 0.22 { plain } else { drawn };
    Tint::new(name, randomness)
}
