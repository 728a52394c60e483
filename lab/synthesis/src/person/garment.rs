//! Kinds of clothes.

use crate::color::Tint;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum UpperKind {
    TShirt,
    TankTop,
    Polo,
    Shirt,
    Blouse,
    Sweater,
    Hoodie,
    Jacket,
    DenimJacket,
    LeatherJacket,
    DownJacket,
    DownVest,
    SuitJacket,
    ShortCoat,
    LongCoat,
    Raincoat,
    ShortDress,
    LongDress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LowerKind {
    Jeans,
    Trousers,
    SuitTrousers,
    Sweatpants,
    Leggings,
    Shorts,
    ShortSkirt,
    LongSkirt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ShoeKind {
    Sneakers,
    Boots,
    Sandals,
    Heels,
    LeatherShoes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum HeadwearKind {
    Cap,
    Beanie,
    BrimmedHat,
    /// The hood of the upper garment, pulled up.
    Hood,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Pattern {
    Plain,
    HorizontalStripes,
    VerticalStripes,
    Checks,
    Dots,
    /// A printed picture on the chest.
    Print,
    /// Sleeves of another colour.
    BlockedSleeves,
    /// A band of another colour around the chest.
    ChestBand,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Upper {
    pub(crate) kind: UpperKind,
    pub(crate) tint: Tint,
    pub(crate) pattern: Pattern,
    /// Colour of the pattern.
    pub(crate) accent: Tint,
    pub(crate) sleeves: Sleeves,
    /// What is worn below an open one.
    pub(crate) inner: Option<Tint>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lower {
    pub(crate) kind: LowerKind,
    pub(crate) tint: Tint,
    /// Whether stripes run down the sides.
    pub(crate) has_side_stripe: bool,
    /// Half-width of the legs compared with the usual cut.
    pub(crate) width: f32,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shoes {
    pub(crate) kind: ShoeKind,
    pub(crate) tint: Tint,
    pub(crate) has_white_sole: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Headwear {
    pub(crate) kind: HeadwearKind,
    pub(crate) tint: Tint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sleeves {
    None,
    Short,
    Elbow,
    Long,
}

impl UpperKind {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 18] = [
        Self::TShirt,
        Self::TankTop,
        Self::Polo,
        Self::Shirt,
        Self::Blouse,
        Self::Sweater,
        Self::Hoodie,
        Self::Jacket,
        Self::DenimJacket,
        Self::LeatherJacket,
        Self::DownJacket,
        Self::DownVest,
        Self::SuitJacket,
        Self::ShortCoat,
        Self::LongCoat,
        Self::Raincoat,
        Self::ShortDress,
        Self::LongDress,
    ];

    pub(crate) fn is_dress(self) -> bool {
        matches!(self, Self::ShortDress | Self::LongDress)
    }

    /// Whether it can be worn open over something else.
    pub(crate) fn opens(self) -> bool {
        matches!(
            self,
            Self::Jacket
                | Self::DenimJacket
                | Self::LeatherJacket
                | Self::DownJacket
                | Self::DownVest
                | Self::SuitJacket
                | Self::ShortCoat
                | Self::LongCoat
        )
    }
}

impl LowerKind {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 8] = [
        Self::Jeans,
        Self::Trousers,
        Self::SuitTrousers,
        Self::Sweatpants,
        Self::Leggings,
        Self::Shorts,
        Self::ShortSkirt,
        Self::LongSkirt,
    ];

    pub(crate) fn is_skirt(self) -> bool {
        matches!(self, Self::ShortSkirt | Self::LongSkirt)
    }
}
