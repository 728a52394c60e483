//! A benchmark of the whole service: which loads, one after the other, each warmed up and then measured.

use crate::encoder_plan::{EncoderPlan, LoadShape, WorkloadKind};
use crate::encoder_report::{EncoderReport, EncoderSettings, ItemKind};
use crate::encoder_run::{Load, run};
use crate::{BenchError, ServiceUnderTest, Workload};
use descry_proto::encoder::v1::Priority;
use tokio_util::sync::CancellationToken;

/// Measures all loads of the plan, or as many as there is time for until `stop`. Says through `progress` what it is
/// about to measure.
///
/// # Errors
/// [`BenchError::Setting`] for a plan that cannot be carried out, [`BenchError::Process`] when the service's process
/// ends meanwhile. Requests that fail are counted.
pub async fn run_encoder_benchmark(
    service: &ServiceUnderTest,
    workload: &Workload,
    plan: &EncoderPlan,
    stop: &CancellationToken,
    progress: impl Fn(String),
) -> Result<EncoderReport, BenchError> {
    plan.check()?;
    let texts = Load { items: workload.text_items(), kind: ItemKind::Text, priority: Priority::Unspecified };
    let images = Load { items: workload.image_items(), kind: ItemKind::Image, priority: Priority::Unspecified };
    let mut runs = Vec::new();
    for &shape in &plan.loads {
        let interactive = Load { priority: Priority::Interactive, ..texts.clone() };
        let bulk = Load { priority: Priority::Bulk, ..images.clone() };
        let pairs = match plan.kind {
            WorkloadKind::Text => vec![(&texts, None)],
            WorkloadKind::Image => vec![(&images, None)],
            WorkloadKind::Mixed => vec![(&interactive, None), (&interactive, Some(&bulk))],
        };
        for (measured, bulk) in pairs {
            if stop.is_cancelled() {
                break;
            }
            progress(describe(shape, measured.kind, bulk.is_some()));
            runs.extend(run(service, plan, shape, measured, bulk, stop).await?);
        }
    }
    Ok(EncoderReport {
        service: service.name().to_owned(),
        model: service.model().clone(),
        settings: EncoderSettings::of(plan, service.clients().len()),
        interrupted: stop.is_cancelled(),
        runs,
    })
}

fn describe(shape: LoadShape, kind: ItemKind, beside_bulk: bool) -> String {
    let what = match kind {
        ItemKind::Text => "texts",
        ItemKind::Image => "images",
    };
    let beside = if beside_bulk { " beside bulk images" } else { "" };
    match shape {
        LoadShape::Closed { callers } => format!("{what} of {callers} callers{beside}"),
        LoadShape::Open { requests_per_s } => format!("{requests_per_s} requests of {what} a second{beside}"),
    }
}
