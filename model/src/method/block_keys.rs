//! Whose tensor it is: a tower, and a block in it.

use std::fmt;

/// One of CLIP's two towers: constants and key names of the methods differ between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Images.
    Vision,
    /// Captions.
    Text,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Vision, Self::Text];

    /// Word for people and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vision => "vision",
            Self::Text => "text",
        }
    }

    /// What the keys of this tower's blocks start with, without the dot.
    pub fn blocks(self) -> &'static str {
        match self {
            Self::Vision => "visual.transformer.resblocks",
            Self::Text => "transformer.resblocks",
        }
    }

    /// The names of one block's tensors.
    pub fn block(self, layer: usize) -> BlockKeys {
        BlockKeys { side: self, layer }
    }
}

/// The names of one block's tensors: CLIP's own in `clip.rs`, the methods' additions in `dm_adapter.rs` and
/// `up_person.rs`.
///
/// A name of a linear layer, a layer norm or an adapter is that of its module: `.weight` and `.bias`, for adapters
/// `.down` and `.up` before them, come behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockKeys {
    /// The block's tower.
    pub side: Side,
    /// The block's number, from 0.
    pub layer: usize,
}

impl fmt::Display for BlockKeys {
    /// What the block's own keys start with, without the dot.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.side.blocks(), self.layer)
    }
}
