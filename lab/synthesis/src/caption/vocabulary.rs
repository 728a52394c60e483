//! Words.

use crate::color::ColorName;
use crate::facts::Facts;
use crate::person::belongings::BelongingKind;
use crate::person::body::{Age, Gender, HairColor};
use crate::person::garment::{HeadwearKind, LowerKind, ShoeKind, UpperKind};
use crate::randomness::Randomness;

/// Most of the time the first word, otherwise one of the others.
fn mostly<const COUNT: usize>(
    randomness: &mut Randomness,
    usual: &'static str,
    others: [&'static str; COUNT],
) -> &'static str {
    if randomness.chance(0.68) { usual } else { randomness.pick(others) }
}

/// What a colour is called; through infrared light only dark and light can be told.
pub(crate) fn color(randomness: &mut Randomness, name: ColorName, facts: &Facts<'_>) -> &'static str {
    if facts.is_infrared {
        return if name.is_dark() {
            mostly(randomness, "dark", ["dark-colored"])
        } else {
            mostly(randomness, "light", ["light-colored", "bright"])
        };
    }
    match name {
        ColorName::Black => "black",
        ColorName::White => "white",
        ColorName::Gray => mostly(randomness, "gray", ["grey"]),
        ColorName::Navy => mostly(randomness, "navy", ["dark blue", "navy blue"]),
        ColorName::Blue => "blue",
        ColorName::LightBlue => mostly(randomness, "light blue", ["pale blue", "sky blue"]),
        ColorName::Red => {
            if randomness.chance(0.9) {
                "red"
            } else {
                randomness.pick(["crimson", "bright red"])
            }
        }
        ColorName::Maroon => mostly(randomness, "maroon", ["dark red", "burgundy"]),
        ColorName::Green => "green",
        ColorName::DarkGreen => mostly(randomness, "dark green", ["olive", "olive green"]),
        ColorName::Yellow => "yellow",
        ColorName::Orange => "orange",
        ColorName::Pink => "pink",
        ColorName::Purple => {
            if randomness.chance(0.9) {
                "purple"
            } else {
                "violet"
            }
        }
        ColorName::Brown => "brown",
        ColorName::Beige => mostly(randomness, "beige", ["tan", "khaki", "cream"]),
    }
}

/// A noun for the person, and whether it tells the gender.
pub(crate) fn person(randomness: &mut Randomness, gender: Gender, age: Age) -> (&'static str, bool) {
    if randomness.chance(0.1) {
        return (randomness.pick(["person", "pedestrian", "person"]), false);
    }
    let noun = match (gender, age) {
        (Gender::Male, Age::Young) => mostly(randomness, "man", ["young man", "guy", "male pedestrian", "male"]),
        (Gender::Male, Age::Adult) => mostly(randomness, "man", ["guy", "gentleman", "male pedestrian", "male"]),
        (Gender::Male, Age::Old) => mostly(randomness, "man", ["older man", "elderly man", "gentleman"]),
        (Gender::Female, Age::Young) => {
            mostly(randomness, "woman", ["young woman", "girl", "lady", "female pedestrian", "young lady"])
        }
        (Gender::Female, Age::Adult) => mostly(randomness, "woman", ["lady", "female pedestrian", "female"]),
        (Gender::Female, Age::Old) => mostly(randomness, "woman", ["older woman", "elderly woman", "lady"]),
    };
    (noun, true)
}

pub(crate) fn upper(randomness: &mut Randomness, kind: UpperKind) -> &'static str {
    match kind {
        UpperKind::TShirt => mostly(randomness, "t-shirt", ["tee", "short-sleeved t-shirt", "short-sleeved top"]),
        UpperKind::TankTop => mostly(randomness, "tank top", ["sleeveless top", "vest top"]),
        UpperKind::Polo => mostly(randomness, "polo shirt", ["polo", "collared t-shirt"]),
        UpperKind::Shirt => mostly(randomness, "shirt", ["button-up shirt", "collared shirt", "dress shirt"]),
        UpperKind::Blouse => mostly(randomness, "blouse", ["loose top", "top"]),
        UpperKind::Sweater => mostly(randomness, "sweater", ["pullover", "jumper", "knitted sweater"]),
        UpperKind::Hoodie => mostly(randomness, "hoodie", ["hooded sweatshirt", "hooded sweater"]),
        UpperKind::Jacket => mostly(randomness, "jacket", ["zip-up jacket", "bomber jacket"]),
        UpperKind::DenimJacket => mostly(randomness, "denim jacket", ["jean jacket"]),
        UpperKind::LeatherJacket => mostly(randomness, "leather jacket", ["leather coat"]),
        UpperKind::DownJacket => {
            mostly(randomness, "down jacket", ["puffer jacket", "padded jacket", "quilted jacket"])
        }
        UpperKind::DownVest => mostly(randomness, "down vest", ["puffer vest", "padded vest", "quilted vest"]),
        UpperKind::SuitJacket => mostly(randomness, "suit jacket", ["blazer", "suit"]),
        UpperKind::ShortCoat => mostly(randomness, "coat", ["short coat", "overcoat"]),
        UpperKind::LongCoat => mostly(randomness, "long coat", ["knee-length coat", "trench coat"]),
        UpperKind::Raincoat => mostly(randomness, "raincoat", ["rain jacket", "hooded raincoat"]),
        UpperKind::ShortDress => mostly(randomness, "dress", ["short dress", "knee-length dress"]),
        UpperKind::LongDress => mostly(randomness, "long dress", ["maxi dress", "ankle-length dress"]),
    }
}

/// A noun and whether it may be a pair.
pub(crate) fn lower(randomness: &mut Randomness, kind: LowerKind) -> (&'static str, bool) {
    match kind {
        LowerKind::Jeans => (mostly(randomness, "jeans", ["denim pants", "denim jeans"]), true),
        LowerKind::Trousers => (mostly(randomness, "trousers", ["pants", "slacks", "long pants"]), true),
        LowerKind::SuitTrousers => (mostly(randomness, "suit trousers", ["dress pants", "trousers"]), true),
        LowerKind::Sweatpants => (mostly(randomness, "sweatpants", ["track pants", "joggers"]), true),
        LowerKind::Leggings => (mostly(randomness, "leggings", ["tight pants", "tights"]), true),
        LowerKind::Shorts => (mostly(randomness, "shorts", ["short pants", "knee-length shorts"]), true),
        LowerKind::ShortSkirt => (mostly(randomness, "skirt", ["short skirt", "knee-length skirt"]), false),
        LowerKind::LongSkirt => (mostly(randomness, "long skirt", ["maxi skirt"]), false),
    }
}

pub(crate) fn shoes(randomness: &mut Randomness, kind: ShoeKind) -> &'static str {
    match kind {
        ShoeKind::Sneakers => mostly(randomness, "sneakers", ["shoes", "trainers", "sports shoes", "running shoes"]),
        ShoeKind::Boots => mostly(randomness, "boots", ["ankle boots"]),
        ShoeKind::Sandals => "sandals",
        ShoeKind::Heels => mostly(randomness, "heels", ["high heels", "high-heeled shoes"]),
        ShoeKind::LeatherShoes => mostly(randomness, "leather shoes", ["shoes", "dress shoes"]),
    }
}

pub(crate) fn headwear(randomness: &mut Randomness, kind: HeadwearKind) -> &'static str {
    match kind {
        HeadwearKind::Cap => mostly(randomness, "cap", ["baseball cap"]),
        HeadwearKind::Beanie => mostly(randomness, "beanie", ["knit cap", "woolly hat", "knitted hat"]),
        HeadwearKind::BrimmedHat => mostly(randomness, "hat", ["sun hat", "wide-brimmed hat", "brimmed hat"]),
        HeadwearKind::Hood => "hood",
    }
}

pub(crate) fn belonging(randomness: &mut Randomness, kind: BelongingKind) -> &'static str {
    match kind {
        BelongingKind::Backpack => mostly(randomness, "backpack", ["rucksack", "bag"]),
        BelongingKind::ShoulderBag => mostly(randomness, "shoulder bag", ["crossbody bag", "messenger bag"]),
        BelongingKind::Tote => mostly(randomness, "tote bag", ["shoulder bag", "tote"]),
        BelongingKind::Handbag => mostly(randomness, "handbag", ["purse", "bag"]),
        BelongingKind::ShoppingBag => mostly(randomness, "shopping bag", ["carrier bag", "paper bag"]),
        BelongingKind::Suitcase => mostly(randomness, "suitcase", ["rolling suitcase", "trolley case"]),
        BelongingKind::Umbrella => "umbrella",
        BelongingKind::Cup => mostly(randomness, "cup", ["coffee cup", "paper cup"]),
        BelongingKind::Bottle => mostly(randomness, "bottle", ["water bottle"]),
        BelongingKind::Stroller => mostly(randomness, "stroller", ["baby stroller", "pram"]),
        BelongingKind::Dog => "dog",
    }
}

pub(crate) fn hair_color(randomness: &mut Randomness, color: HairColor, facts: &Facts<'_>) -> &'static str {
    if facts.is_infrared {
        return match color {
            HairColor::Black | HairColor::DarkBrown | HairColor::Brown | HairColor::Red => "dark",
            HairColor::Blond | HairColor::Gray => "light",
        };
    }
    match color {
        HairColor::Black => mostly(randomness, "black", ["dark"]),
        HairColor::DarkBrown => mostly(randomness, "dark brown", ["brown", "dark"]),
        HairColor::Brown => "brown",
        HairColor::Blond => mostly(randomness, "blonde", ["blond", "fair"]),
        HairColor::Red => mostly(randomness, "red", ["ginger"]),
        HairColor::Gray => mostly(randomness, "gray", ["grey", "white"]),
    }
}
