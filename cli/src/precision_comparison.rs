//! What a narrower number format costs on a data set, against float32.

use crate::model::{self, ModelArguments};
use crate::output::{say, say_lines};
use crate::split_features::{SplitFeatures, encode_split};
use crate::verified_export::export_staged;
use anyhow::Context as _;
use comfy_table::{CellAlignment, Table};
use descry_encoder::DeviceName;
use descry_evaluation::{Dataset, DatasetLayout, RetrievalMetrics, retrieval_metrics};
use descry_export::{ExportRequest, TowerForm};
use ndarray::ArrayView2;
use std::path::Path;

/// A data set, and the export to compare with.
pub(crate) struct Comparison {
    dataset: Dataset,
    float32: ExportRequest,
}

impl Comparison {
    /// Reads the test split before the export begins, so that a mistyped folder is told at once.
    pub(crate) fn prepare(root: &Path, request: &ExportRequest) -> anyhow::Result<Self> {
        let layout = DatasetLayout::detect(root)
            .with_context(|| format!("--eval: {} holds none of the three known data sets", root.display()))?;
        let mut name = request.out.file_name().context("--out must name a folder")?.to_owned();
        name.push(".fp32-for-comparison");
        let float32 = ExportRequest { form: TowerForm::FP32, out: request.out.with_file_name(name), ..request.clone() };
        Ok(Self { dataset: Dataset::load_with_images(layout, root, "test")?, float32 })
    }

    /// Exports float32 into a folder that disappears again, measures both and prints the differences.
    pub(crate) async fn report(self, bundle: &Path) -> anyhow::Result<()> {
        let Self { dataset, float32 } = self;
        let reference = export_staged(float32, None).await.context("exporting float32 for the comparison")?;
        let expected = measure(&dataset, reference.path()).await?;
        drop(reference);
        let found = measure(&dataset, bundle).await?;
        print_metrics(&dataset, &expected, &found)?;
        for (what, expected, found) in
            [("images", &expected.images, &found.images), ("captions", &expected.captions, &found.captions)]
        {
            let (least, mean) = cosines(expected.view(), found.view());
            say!("cosine to fp32, {} {what}: least {least:.5}, mean {mean:.5}", expected.nrows());
        }
        Ok(())
    }
}

async fn measure(dataset: &Dataset, bundle: &Path) -> anyhow::Result<SplitFeatures> {
    let arguments = ModelArguments { model: bundle.to_owned(), threads: 0, device: DeviceName::Auto };
    let (encoder, _workers) = model::open(&arguments).await?;
    encode_split(&encoder, dataset).await
}

fn print_metrics(dataset: &Dataset, expected: &SplitFeatures, found: &SplitFeatures) -> anyhow::Result<()> {
    let (captions, images) = (dataset.caption_identities(), dataset.image_identities());
    let metrics = |features: &SplitFeatures| -> anyhow::Result<RetrievalMetrics> {
        Ok(retrieval_metrics(features.captions.view(), &captions, features.images.view(), &images)?)
    };
    let (expected, found) = (metrics(expected)?, metrics(found)?);
    let mut table = Table::new();
    table.set_header(["", "fp32", "this bundle", "change"]);
    let rows = [
        ("Rank-1", expected.rank1, found.rank1),
        ("Rank-5", expected.rank5, found.rank5),
        ("Rank-10", expected.rank10, found.rank10),
        ("mAP", expected.map, found.map),
        ("mINP", expected.minp, found.minp),
    ];
    for (name, before, after) in rows {
        let change = after - before;
        table.add_row([name.to_owned(), format!("{before:.2}"), format!("{after:.2}"), format!("{change:+.2}")]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    say!("\n{} captions against {} images", dataset.captions().len(), dataset.images().len());
    say_lines!("{table}");
    Ok(())
}

/// The least and the mean cosine of corresponding rows, all of unit length.
fn cosines(expected: ArrayView2<'_, f32>, found: ArrayView2<'_, f32>) -> (f64, f64) {
    let cosines: Vec<f64> = expected
        .outer_iter()
        .zip(found.outer_iter())
        .map(|(a, b)| a.iter().zip(b).map(|(&p, &q)| f64::from(p) * f64::from(q)).sum())
        .collect();
    let least = cosines.iter().copied().fold(f64::INFINITY, f64::min);
    (least, cosines.iter().sum::<f64>() / cosines.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn cosines_are_of_corresponding_rows() {
        let a = array![[1.0, 0.0], [0.0, 1.0]];
        let b = array![[1.0, 0.0], [0.6, 0.8]];
        let (least, mean) = cosines(a.view(), b.view());
        assert!((least - 0.8).abs() < 1e-6 && (mean - 0.9).abs() < 1e-6);
    }
}
