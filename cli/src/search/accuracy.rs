//! How thoroughly to search where not every image is compared.

use descry_proto::search::v1::SearchAccuracy;

/// Without meaning for a store that compares every image.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct AccuracyArguments {
    /// Images that a search in Qdrant keeps in view: more find more, and take longer [default: the gallery's, or 512].
    #[arg(long, value_name = "N", conflicts_with = "exact")]
    search_ef: Option<u32>,
    /// Candidates for each hit from shortened embeddings in Qdrant [default: the gallery's, or 3].
    #[arg(long, value_name = "FACTOR")]
    oversampling: Option<f32>,
    /// Let shortened embeddings alone decide: faster from disks, and scores are approximate too.
    #[arg(long)]
    no_rescoring: bool,
}

impl AccuracyArguments {
    pub(super) fn message(&self) -> Option<SearchAccuracy> {
        let Self { search_ef: hnsw_ef, oversampling, no_rescoring } = *self;
        let accuracy = SearchAccuracy { hnsw_ef, oversampling, rescore: no_rescoring.then_some(false) };
        (accuracy != SearchAccuracy::default()).then_some(accuracy)
    }
}
