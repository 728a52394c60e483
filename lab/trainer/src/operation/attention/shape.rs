//! What is said of an attention besides its numbers.

use descry_model::method::clip::HEAD_WIDTH;

/// Who looks at whom.
#[derive(Debug, Clone)]
pub(crate) struct AttentionShape {
    /// Sequences.
    pub(crate) pairs: usize,
    /// Tokens of a sequence that are looked at.
    pub(crate) tokens: usize,
    /// For each query of a sequence, in order, how many of the sequence's first tokens it sees. One entry a query, the
    /// same for all sequences, or one a query of every sequence.
    pub(crate) visible: Vec<usize>,
}

impl AttentionShape {
    /// Every token sees all.
    pub(crate) fn all(pairs: usize, tokens: usize) -> Self {
        Self { pairs, tokens, visible: vec![tokens; tokens] }
    }

    /// Every token sees itself and those before it.
    pub(crate) fn causal(pairs: usize, tokens: usize) -> Self {
        Self { pairs, tokens, visible: (1..=tokens).collect() }
    }

    /// One query a sequence, at a token of its own, which sees as many tokens as given.
    pub(crate) fn one_each(tokens: usize, visible: Vec<usize>) -> Self {
        Self { pairs: visible.len(), tokens, visible }
    }

    pub(super) fn queries(&self, rows: usize) -> usize {
        rows / self.pairs.max(1)
    }

    /// How many tokens the query sees.
    pub(super) fn visible(&self, pair: usize, query: usize, queries: usize) -> usize {
        if self.visible.len() == queries { self.visible[query] } else { self.visible[pair * queries + query] }
    }
}

/// What scores are multiplied with.
pub(super) fn score_scale() -> f32 {
    (HEAD_WIDTH as f32).sqrt().recip()
}
