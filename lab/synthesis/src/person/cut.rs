//! How upper garments are made.

use super::garment::UpperKind;
use crate::light::Finish;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collar {
    Crew,
    Wide,
    Shirt,
    Lapels,
    Stand,
    Hood,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closure {
    None,
    Buttons,
    Placket,
    Zip,
}

/// How an upper garment is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// Height of the hem, as a share of the body's height.
    pub(crate) hem: f32,
    /// What it adds to the body's half-width, in metres.
    pub(crate) ease: f32,
    /// What the hem adds to the hips' half-width, in metres.
    pub(crate) flare: f32,
    /// How closely it follows the waist, 0 to 1.
    pub(crate) fitted: f32,
    pub(crate) collar: Collar,
    pub(crate) closure: Closure,
    pub(crate) finish: Finish,
    pub(crate) is_quilted: bool,
    pub(crate) has_pockets: bool,
    /// A ribbed band at hem and cuffs.
    pub(crate) is_ribbed: bool,
}

impl UpperKind {
    pub(crate) fn cut(self) -> Cut {
        let base = Cut {
            hem: 0.485,
            ease: 0.012,
            flare: 0.004,
            fitted: 0.55,
            collar: Collar::Crew,
            closure: Closure::None,
            finish: Finish::Matt,
            is_quilted: false,
            has_pockets: false,
            is_ribbed: false,
        };
        let outer = Cut { ease: 0.028, flare: 0.012, fitted: 0.3, closure: Closure::Zip, has_pockets: true, ..base };
        match self {
            Self::TShirt => Cut { hem: 0.48, fitted: 0.35, ..base },
            Self::TankTop => Cut { collar: Collar::Wide, ease: 0.004, fitted: 0.7, ..base },
            Self::Polo => Cut { collar: Collar::Shirt, closure: Closure::Placket, ..base },
            Self::Shirt => {
                Cut { hem: 0.47, collar: Collar::Shirt, closure: Closure::Buttons, has_pockets: true, ..base }
            }
            Self::Blouse => Cut { collar: Collar::Wide, flare: 0.022, fitted: 0.8, finish: Finish::Satin, ..base },
            Self::Sweater => Cut { ease: 0.022, is_ribbed: true, fitted: 0.2, ..base },
            Self::Hoodie => {
                Cut { ease: 0.028, collar: Collar::Hood, has_pockets: true, is_ribbed: true, fitted: 0.15, ..base }
            }
            Self::Jacket => Cut { collar: Collar::Stand, is_ribbed: true, ..outer },
            Self::DenimJacket => Cut { hem: 0.50, collar: Collar::Shirt, closure: Closure::Buttons, ..outer },
            Self::LeatherJacket => Cut { hem: 0.50, collar: Collar::Lapels, finish: Finish::Glossy, ..outer },
            Self::DownJacket => {
                Cut { ease: 0.05, collar: Collar::Stand, finish: Finish::Satin, is_quilted: true, fitted: 0.1, ..outer }
            }
            Self::DownVest => {
                Cut { ease: 0.04, collar: Collar::Stand, finish: Finish::Satin, is_quilted: true, ..outer }
            }
            Self::SuitJacket => {
                Cut { hem: 0.445, fitted: 0.5, collar: Collar::Lapels, closure: Closure::Buttons, ..outer }
            }
            Self::ShortCoat => {
                Cut { hem: 0.39, flare: 0.03, collar: Collar::Lapels, closure: Closure::Buttons, ..outer }
            }
            Self::LongCoat => {
                Cut { hem: 0.25, flare: 0.06, collar: Collar::Lapels, closure: Closure::Buttons, ..outer }
            }
            Self::Raincoat => Cut { hem: 0.34, flare: 0.06, collar: Collar::Hood, finish: Finish::Glossy, ..outer },
            Self::ShortDress => Cut { hem: 0.33, flare: 0.09, fitted: 1.0, collar: Collar::Wide, ..base },
            Self::LongDress => Cut { hem: 0.13, flare: 0.12, fitted: 1.0, collar: Collar::Wide, ..base },
        }
    }
}
