//! What is reported of the embedded store.

use crate::group_report::GroupsMeasurement;
use crate::report_row::{ReportRow, Target};
use crate::synthetic_gallery::GalleryShape;
use descry_bench::LatencySummary;
use serde::Serialize;

/// Everything that was measured; what an interruption prevented is missing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoreReport {
    /// Images of the gallery.
    pub images: u64,
    /// What their embeddings look like.
    pub shape: GalleryShape,
    /// Threads that may score images at once.
    pub search_threads: usize,
    /// Writing; missing when the gallery was there already.
    pub filling: Option<FillingMeasurement>,
    /// Opening the filled store.
    pub opening: Option<OpeningMeasurement>,
    /// Searches of one caller.
    pub searches: Vec<SearchMeasurement>,
    /// How many of the true hits are found.
    pub recall: Option<RecallMeasurement>,
    /// What groups cost and lose, where they were asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<GroupsMeasurement>,
    /// Searches of several callers at once.
    pub throughput: Vec<ThroughputMeasurement>,
    /// Whether it was ended early.
    pub interrupted: bool,
}

/// Writing images, each batch durable before the next one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FillingMeasurement {
    /// Images written.
    pub images: u64,
    /// Images of a batch.
    pub batch_images: u64,
    /// In the store alone, without making the images.
    pub images_per_s: f64,
    /// Of a batch.
    pub batch: LatencySummary,
}

/// Opening a filled store whose file is in the system's cache.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OpeningMeasurement {
    /// Until it answers.
    pub elapsed_s: f64,
    /// Memory that became resident with it.
    pub resident_bytes: u64,
    /// The same for each value of each embedding.
    pub resident_bytes_per_value: f64,
}

/// How a store was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchKind {
    /// The nearest images.
    Nearest,
    /// The nearest images of one camera, which has one in a hundred.
    OneCamera,
    /// The nearest images with every image compared.
    Exact,
    /// The nearest persons.
    Persons,
    /// The nearest persons by the means of their images.
    PersonsByMean,
    /// The same of what one camera took, which has one person in a hundred.
    PersonsByMeanInOneCamera,
    /// The same of the images of the second half of the time, whose means are others.
    PersonsByMeanOfHalf,
    /// The nearest tracks.
    Tracks,
    /// The nearest tracks by the means of their images.
    TracksByMean,
}

/// Searches of one kind, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SearchMeasurement {
    /// What was asked.
    pub kind: SearchKind,
    /// How long it took.
    pub latency: LatencySummary,
}

/// Hits against a comparison of every image in float32.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RecallMeasurement {
    /// Queries compared.
    pub queries: u64,
    /// Hits of each.
    pub limit: u64,
    /// Images that the search kept in view, where that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hnsw_ef: Option<u32>,
    /// Share of the true hits that were found; images of equal score are as good.
    pub recall: f64,
}

/// Searches of several callers, each of which asks again when it has its answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ThroughputMeasurement {
    /// Callers at once.
    pub callers: usize,
    /// All of them together.
    pub queries_per_s: f64,
    /// How long one waits.
    pub latency: LatencySummary,
}

/// What is aimed at, by the number of images.
type Targets = &'static [(u64, Target)];

impl SearchKind {
    /// What every store is asked, in the order of a report.
    pub const ALL: [Self; 4] = [Self::Nearest, Self::OneCamera, Self::Exact, Self::Persons];

    /// What is asked about groups, after the same searches for images.
    pub const BY_GROUP: [Self; 8] = [
        Self::Nearest,
        Self::Exact,
        Self::Persons,
        Self::PersonsByMean,
        Self::PersonsByMeanInOneCamera,
        Self::PersonsByMeanOfHalf,
        Self::Tracks,
        Self::TracksByMean,
    ];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "search",
            Self::OneCamera => "search in one camera",
            Self::Exact => "exact search",
            Self::Persons => "search by person",
            Self::PersonsByMean => "search by person's mean",
            Self::PersonsByMeanInOneCamera => "search by person's mean in one camera",
            Self::PersonsByMeanOfHalf => "search by person's mean of half of the images",
            Self::Tracks => "search by track",
            Self::TracksByMean => "search by track's mean",
        }
    }
}

const SMALL: u64 = 100_000;
const LARGE: u64 = 1_000_000;

impl StoreReport {
    /// A table's rows.
    pub fn rows(&self) -> Vec<ReportRow> {
        let mut rows = Vec::new();
        if let Some(filling) = &self.filling {
            let rate = ReportRow::new("durable writes", filling.images_per_s, "images/s");
            let what = |rank| format!("writing {} images, {rank}", filling.batch_images);
            rows.push(rate.target(Target::AtLeast(10_000.0)));
            rows.push(ReportRow::new(what("p50"), filling.batch.p50_ms, "ms"));
            rows.push(ReportRow::new(what("p99"), filling.batch.p99_ms, "ms"));
        }
        if let Some(opening) = &self.opening {
            let OpeningMeasurement { elapsed_s, resident_bytes, resident_bytes_per_value } = *opening;
            let mebibytes = resident_bytes as f64 / f64::from(1 << 20);
            let decided = [(LARGE, Target::Below(3.0))];
            rows.push(ReportRow::new("opening", elapsed_s, "s").target_at(self.images, &decided));
            rows.push(ReportRow::new("memory", mebibytes, "MiB"));
            let decided = [(LARGE, Target::AtMost(1.3))];
            let per_value = ReportRow::new("memory of a dimension and image", resident_bytes_per_value, "bytes");
            rows.push(per_value.target_at(self.images, &decided));
        }
        rows.extend(self.searches.iter().flat_map(|search| self.search_rows(search)));
        if let Some(recall) = &self.recall {
            let decided = [(SMALL, Target::AtLeast(1.0)), (LARGE, Target::AtLeast(0.999))];
            let what = format!("Recall@{} of {} queries", recall.limit, recall.queries);
            rows.push(ReportRow::new(what, recall.recall, "").target_at(self.images, &decided));
        }
        rows.extend(self.groups.iter().flat_map(GroupsMeasurement::rows));
        for ThroughputMeasurement { callers, queries_per_s, latency } in &self.throughput {
            rows.push(ReportRow::new(format!("{callers} callers"), *queries_per_s, "queries/s"));
            rows.push(ReportRow::new(format!("{callers} callers, p99"), latency.p99_ms, "ms"));
        }
        rows
    }

    fn search_rows(&self, search: &SearchMeasurement) -> [ReportRow; 4] {
        let SearchMeasurement { kind, latency } = search;
        let (p50, p99): (Targets, Targets) = match kind {
            SearchKind::Nearest => (
                &[(SMALL, Target::Below(3.0)), (LARGE, Target::Below(25.0))],
                &[(SMALL, Target::Below(10.0)), (LARGE, Target::Below(40.0))],
            ),
            SearchKind::OneCamera => (&[(SMALL, Target::Below(1.0))], &[]),
            SearchKind::Exact
            | SearchKind::Persons
            | SearchKind::PersonsByMean
            | SearchKind::PersonsByMeanInOneCamera
            | SearchKind::PersonsByMeanOfHalf
            | SearchKind::Tracks
            | SearchKind::TracksByMean => (&[], &[]),
        };
        let row = |rank: &str, value| ReportRow::new(format!("{}, {rank}", kind.name()), value, "ms");
        [
            row("p50", latency.p50_ms).target_at(self.images, p50),
            row("p95", latency.p95_ms),
            row("p99", latency.p99_ms).target_at(self.images, p99),
            row("mean", latency.mean_ms),
        ]
    }
}
