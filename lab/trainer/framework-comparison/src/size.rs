//! How large the towers are.

/// Width of one attention head, as in all of CLIP's models.
pub(crate) const HEAD_WIDTH: usize = 64;

/// One transformer tower.
pub(crate) struct TowerSize {
    pub(crate) width: usize,
    pub(crate) tokens: usize,
    pub(crate) blocks: usize,
}

/// Both towers and a batch.
pub(crate) struct Size {
    /// Pairs of image and text in a step.
    pub(crate) batch: usize,
    pub(crate) vision: TowerSize,
    pub(crate) text: TowerSize,
    /// Width of the space that both towers project to.
    pub(crate) embedding: usize,
}

impl Size {
    /// `demo`: what a laptop trains from nothing. `vit-b-16`: CLIP's ViT-B/16 with person images of 384 × 128 pixels.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        match name {
            "demo" => Some(Self {
                batch: 32,
                vision: TowerSize { width: 128, tokens: 25, blocks: 5 },
                text: TowerSize { width: 128, tokens: 40, blocks: 3 },
                embedding: 128,
            }),
            "vit-b-16" => Some(Self {
                batch: 8,
                vision: TowerSize { width: 768, tokens: 193, blocks: 12 },
                text: TowerSize { width: 512, tokens: 40, blocks: 12 },
                embedding: 512,
            }),
            _ => None,
        }
    }
}
