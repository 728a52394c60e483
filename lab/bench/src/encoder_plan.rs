//! What a benchmark of the service is to measure.

use crate::BenchError;
use crate::arrivals::PoissonArrivals;
use serde::Serialize;
use std::time::Duration;

/// More would measure the load generator.
const MAX_UNANSWERED: usize = 100_000;

/// What to measure.
#[derive(Debug, Clone)]
pub struct EncoderPlan {
    /// What is sent.
    pub kind: WorkloadKind,
    /// Measured one after the other.
    pub loads: Vec<LoadShape>,
    /// Lists or streams.
    pub transport: Transport,
    /// Items of a list; items in flight on each stream.
    pub items_per_request: usize,
    /// Sent but not measured.
    pub warm_up: Duration,
    /// Measured.
    pub duration: Duration,
    /// Of open loops; beyond it arrivals are shed.
    pub max_unanswered: usize,
    /// Images in flight beside the texts of [`WorkloadKind::Mixed`].
    pub bulk_images_in_flight: usize,
    /// Of the arrival times.
    pub seed: u64,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadKind {
    /// Descriptions.
    Text,
    /// Image files.
    Image,
    /// Each load of interactive descriptions twice: alone, and while bulk images saturate the service.
    Mixed,
}

/// Who sends when.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum LoadShape {
    /// So many callers, each sending its next request when it has the answer to the last one.
    Closed {
        /// How many; with streams, how many streams.
        callers: usize,
    },
    /// Independent callers: requests arrive at random and wait for nobody.
    Open {
        /// On average.
        requests_per_s: f64,
    },
}

/// How requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// One call for each list.
    Lists,
    /// Streams that stay open.
    Streams,
}

impl EncoderPlan {
    /// Whether this can be carried out.
    ///
    /// # Errors
    /// [`BenchError::Setting`].
    pub fn check(&self) -> Result<(), BenchError> {
        let fault = |setting, reason: &str| Err(BenchError::Setting { setting, reason: reason.to_owned() });
        if self.duration.is_zero() {
            return fault("--seconds", "must be more than 0");
        }
        if self.items_per_request == 0 {
            return fault("--items-per-request", "must be at least 1");
        }
        if !(1..=MAX_UNANSWERED).contains(&self.max_unanswered) {
            return fault("--max-unanswered", "must be 1 to 100000");
        }
        if !(1..=MAX_UNANSWERED).contains(&self.bulk_images_in_flight) {
            return fault("--bulk-images-in-flight", "must be 1 to 100000");
        }
        for load in &self.loads {
            match *load {
                LoadShape::Closed { callers } => {
                    if !(1..=MAX_UNANSWERED).contains(&callers.saturating_mul(self.items_per_request)) {
                        return fault("--callers", "must be 1 to 100000, times --items-per-request");
                    }
                }
                LoadShape::Open { requests_per_s } => {
                    if PoissonArrivals::new(requests_per_s, self.seed).is_none() {
                        return fault("--rate", "must be more than 0 requests a second");
                    }
                    if self.transport == Transport::Streams && self.items_per_request > 1 {
                        return fault(
                            "--items-per-request",
                            "is for lists and closed loops; on a stream items arrive one by one",
                        );
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> EncoderPlan {
        EncoderPlan {
            kind: WorkloadKind::Text,
            loads: vec![LoadShape::Closed { callers: 8 }, LoadShape::Open { requests_per_s: 20.0 }],
            transport: Transport::Lists,
            items_per_request: 1,
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(1),
            max_unanswered: 100,
            bulk_images_in_flight: 64,
            seed: 0,
        }
    }

    #[test]
    fn a_plan_that_can_be_carried_out_is_accepted() {
        plan().check().unwrap();
        EncoderPlan { items_per_request: 8, ..plan() }.check().unwrap();
        EncoderPlan { transport: Transport::Streams, ..plan() }.check().unwrap();
    }

    #[test]
    fn the_setting_at_fault_is_named() {
        let check = |plan: EncoderPlan, setting: &str| {
            let message = plan.check().unwrap_err().to_string();
            assert!(message.starts_with(setting), "{message}");
        };
        check(EncoderPlan { duration: Duration::ZERO, ..plan() }, "--seconds");
        check(EncoderPlan { items_per_request: 0, ..plan() }, "--items-per-request");
        check(EncoderPlan { max_unanswered: 0, ..plan() }, "--max-unanswered");
        check(EncoderPlan { bulk_images_in_flight: 0, ..plan() }, "--bulk-images-in-flight");
        check(EncoderPlan { loads: vec![LoadShape::Closed { callers: 0 }], ..plan() }, "--callers");
        check(EncoderPlan { loads: vec![LoadShape::Closed { callers: usize::MAX }], ..plan() }, "--callers");
        check(EncoderPlan { loads: vec![LoadShape::Open { requests_per_s: -3.0 }], ..plan() }, "--rate");
        let bursts = EncoderPlan { transport: Transport::Streams, items_per_request: 8, ..plan() };
        check(bursts, "--items-per-request");
    }
}
