//! Body, hair and face.

use crate::color::{Rgb, rgb};
use crate::domain::Domain;
use crate::randomness::Randomness;

/// How descriptions call the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gender {
    Male,
    Female,
}

/// As far as a camera can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    Young,
    Adult,
    Old,
}

/// Size and shape, in metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Physique {
    pub(crate) height: f32,
    /// Thickness of torso and limbs; 1 is usual.
    pub(crate) girth: f32,
    /// Half the distance of the shoulder joints.
    pub(crate) shoulders: f32,
    /// Half-widths of the torso.
    pub(crate) chest: f32,
    pub(crate) waist: f32,
    pub(crate) hips: f32,
    /// How far the back bends forwards, in radians.
    pub(crate) stoop: f32,
    pub(crate) skin: Rgb,
}

impl Physique {
    pub(crate) fn new(randomness: &mut Randomness, gender: Gender, age: Age) -> Self {
        let (height, shoulders, chest, waist, hips) = match gender {
            Gender::Male => (randomness.normal(1.77, 0.065), 0.188, 0.178, 0.152, 0.158),
            Gender::Female => (randomness.normal(1.64, 0.06), 0.160, 0.152, 0.126, 0.166),
        };
        let girth = match age {
            Age::Young => randomness.normal(0.95, 0.08),
            Age::Adult => randomness.normal(1.03, 0.11),
            Age::Old => randomness.normal(1.06, 0.11),
        };
        let girth = girth.clamp(0.82, 1.36);
        // Weight goes to the waist first and to the shoulders last.
        let (at_waist, at_shoulders) = (1.0 + (girth - 1.0) * 1.35, 1.0 + (girth - 1.0) * 0.55);
        let size = height / 1.72;
        let light_skin = rgb(0.89, 0.71, 0.60);
        let skin = match randomness.index(10) {
            0..=3 => light_skin,
            4..=6 => rgb(0.80, 0.60, 0.46),
            7 | 8 => rgb(0.60, 0.42, 0.30),
            _ => rgb(0.36, 0.24, 0.18),
        };
        Self {
            height,
            girth,
            shoulders: shoulders * at_shoulders * size,
            chest: chest * girth * size,
            waist: waist * at_waist * size,
            hips: hips * girth * size,
            stoop: if age == Age::Old { randomness.between(0.05, 0.2) } else { randomness.between(0.0, 0.06) },
            skin: skin.varied(randomness, 0.04),
        }
    }

    /// A share of the body's height.
    pub(crate) fn share(&self, share: f32) -> f32 {
        self.height * share
    }
}

/// How the hair is worn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HairStyle {
    Bald,
    Buzzed,
    Short,
    Curly,
    Bob,
    Long,
    Ponytail,
    Bun,
}

/// What the hair's colour is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HairColor {
    Black,
    DarkBrown,
    Brown,
    Blond,
    Red,
    Gray,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Hair {
    pub(crate) style: HairStyle,
    pub(crate) color: HairColor,
    pub(crate) shade: Rgb,
    /// Long hair that falls over the front of the shoulders.
    pub(crate) is_over_shoulders: bool,
    /// -1 to 1: where it parts.
    pub(crate) parting: f32,
}

impl Hair {
    pub(crate) fn new(randomness: &mut Randomness, gender: Gender, age: Age) -> Self {
        use HairStyle::{Bald, Bob, Bun, Buzzed, Curly, Long, Ponytail, Short};
        let style = match gender {
            Gender::Male => randomness.weighted([
                (Bald, if age == Age::Old { 0.2 } else { 0.05 }),
                (Buzzed, 0.18),
                (Short, 0.58),
                (Curly, 0.08),
                (Bob, 0.05),
                (Ponytail, 0.03),
            ]),
            Gender::Female => randomness.weighted([
                (Short, if age == Age::Old { 0.4 } else { 0.08 }),
                (Curly, 0.09),
                (Bob, 0.22),
                (Long, if age == Age::Old { 0.08 } else { 0.34 }),
                (Ponytail, 0.2),
                (Bun, 0.1),
            ]),
        };
        let color = if age == Age::Old && randomness.chance(0.75) {
            HairColor::Gray
        } else {
            randomness.weighted([
                (HairColor::Black, 0.38),
                (HairColor::DarkBrown, 0.24),
                (HairColor::Brown, 0.18),
                (HairColor::Blond, 0.13),
                (HairColor::Red, 0.05),
                (HairColor::Gray, 0.02),
            ])
        };
        let shade = match color {
            HairColor::Black => rgb(0.08, 0.07, 0.07),
            HairColor::DarkBrown => rgb(0.17, 0.11, 0.08),
            HairColor::Brown => rgb(0.33, 0.21, 0.13),
            HairColor::Blond => rgb(0.79, 0.63, 0.37),
            HairColor::Red => rgb(0.55, 0.23, 0.10),
            HairColor::Gray => rgb(0.66, 0.66, 0.66),
        };
        let shade = shade.varied(randomness, 0.07);
        Self { style, color, shade, is_over_shoulders: randomness.chance(0.45), parting: randomness.between(-0.8, 0.8) }
    }
}

/// What is in front of the eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Eyewear {
    None,
    Glasses,
    Sunglasses,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Face {
    pub(crate) eyewear: Eyewear,
    pub(crate) has_beard: bool,
    pub(crate) has_mask: bool,
}

impl Face {
    pub(crate) fn new(randomness: &mut Randomness, gender: Gender, domain: Domain) -> Self {
        let sunny = match domain {
            Domain::Street | Domain::Drone => 0.08,
            Domain::Mall => 0.02,
            Domain::Night => 0.0,
        };
        Self {
            eyewear: randomness.weighted([
                (Eyewear::Glasses, 0.2),
                (Eyewear::Sunglasses, sunny),
                (Eyewear::None, 0.8 - sunny),
            ]),
            has_beard: gender == Gender::Male && randomness.chance(0.24),
            has_mask: randomness.chance(0.06),
        }
    }
}
