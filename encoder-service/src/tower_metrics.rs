//! What an operator sees of the towers: every metric of this service, by name.

use crate::EncodeError;
use crate::device::DeviceReport;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::time::Duration;

const QUEUE_ITEMS: &str = "descry_encoder_queue_items";
const BATCH_ITEMS: &str = "descry_encoder_batch_items";
const BATCH_TOKENS: &str = "descry_encoder_batch_tokens";
const RUN_SECONDS: &str = "descry_encoder_run_seconds";
const QUEUE_SECONDS: &str = "descry_encoder_queue_seconds";
const PREPARE_SECONDS: &str = "descry_encoder_prepare_seconds";
const REJECTED_TOTAL: &str = "descry_encoder_rejected_total";
const DROPPED_TOTAL: &str = "descry_encoder_dropped_total";
const ITEMS_TOTAL: &str = "descry_encoder_items_total";

const EXPERT_SHARE: &str = "descry_encoder_expert_share";
const DEVICE_INFO: &str = "descry_encoder_device_info";

/// Tells the installed recorder what the metrics mean. Call it once, after the recorder is installed.
pub fn describe_metrics() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_gauge!(QUEUE_ITEMS, Unit::Count, "Items admitted and not yet in a run of the tower.");
    describe_histogram!(BATCH_ITEMS, Unit::Count, "Items of one run.");
    describe_histogram!(BATCH_TOKENS, Unit::Count, "Token ids of the longest text of one run.");
    describe_histogram!(RUN_SECONDS, Unit::Seconds, "One run of the tower.");
    describe_histogram!(QUEUE_SECONDS, Unit::Seconds, "An item's time of waiting for preparation and for the tower.");
    describe_histogram!(PREPARE_SECONDS, Unit::Seconds, "Decoding and resizing, or tokenizing, of one item.");
    describe_counter!(
        REJECTED_TOTAL,
        Unit::Count,
        "Items refused because the queue was full, or their deadline too near."
    );
    describe_counter!(DROPPED_TOTAL, Unit::Count, "Items given up before a run: caller gone, or deadline passed.");
    describe_gauge!(
        EXPERT_SHARE,
        "Moving average of an expert's share of its layer's work; a change means other inputs."
    );
    describe_gauge!(DEVICE_INFO, "1 for the device that runs the towers.");
    describe_counter!(ITEMS_TOTAL, Unit::Count, "Items answered: ok, invalid, or failed.");
}

/// Says what runs the towers, and whether it is the first choice.
pub(crate) fn report_device(device: &DeviceReport) {
    let labels = [
        ("requested", device.requested.to_string()),
        ("execution_provider", device.execution_provider.to_owned()),
        ("precision", device.precision.to_string()),
        ("fallback", device.fallback_reason.is_some().to_string()),
    ];
    gauge!(DEVICE_INFO, &labels).set(1.0);
}

/// One expert's share in one layer, both counted from 0.
pub(crate) fn expert_share(tower: &'static str, layer: usize, expert: usize) -> Gauge {
    gauge!(EXPERT_SHARE, "tower" => tower, "layer" => layer.to_string(), "expert" => expert.to_string())
}

/// The metrics of one tower. They report to the recorder that is installed when they are made; clones share them.
#[derive(Clone)]
pub(crate) struct TowerMetrics {
    pub(crate) queue_interactive: Gauge,
    pub(crate) queue_bulk: Gauge,
    pub(crate) rejected: Counter,
    pub(crate) cancelled: Counter,
    pub(crate) expired: Counter,
    batch_items: Histogram,
    batch_tokens: Histogram,
    run_seconds: Histogram,
    queue_seconds: Histogram,
    prepare_seconds: Histogram,
    ok: Counter,
    invalid: Counter,
    failed: Counter,
}

impl TowerMetrics {
    pub(crate) fn of(tower: &'static str) -> Self {
        Self {
            queue_interactive: gauge!(QUEUE_ITEMS, "tower" => tower, "priority" => "interactive"),
            queue_bulk: gauge!(QUEUE_ITEMS, "tower" => tower, "priority" => "bulk"),
            rejected: counter!(REJECTED_TOTAL, "tower" => tower),
            cancelled: counter!(DROPPED_TOTAL, "tower" => tower, "reason" => "cancelled"),
            expired: counter!(DROPPED_TOTAL, "tower" => tower, "reason" => "expired"),
            batch_items: histogram!(BATCH_ITEMS, "tower" => tower),
            batch_tokens: histogram!(BATCH_TOKENS, "tower" => tower),
            run_seconds: histogram!(RUN_SECONDS, "tower" => tower),
            queue_seconds: histogram!(QUEUE_SECONDS, "tower" => tower),
            prepare_seconds: histogram!(PREPARE_SECONDS, "tower" => tower),
            ok: counter!(ITEMS_TOTAL, "tower" => tower, "outcome" => "ok"),
            invalid: counter!(ITEMS_TOTAL, "tower" => tower, "outcome" => "invalid"),
            failed: counter!(ITEMS_TOTAL, "tower" => tower, "outcome" => "failed"),
        }
    }

    /// One run of the tower ended, well or not.
    pub(crate) fn ran(&self, items: usize, longest: usize, run: Duration) {
        self.batch_items.record(items as f64);
        self.batch_tokens.record(longest as f64);
        self.run_seconds.record(run);
    }

    /// One item was answered with an embedding.
    pub(crate) fn succeeded(&self, queue: Duration, prepare: Duration) {
        self.ok.increment(1);
        self.queue_seconds.record(queue);
        self.prepare_seconds.record(prepare);
    }

    /// One item was answered with an error.
    pub(crate) fn refused(&self, error: &EncodeError) {
        match error {
            EncodeError::InvalidItem { .. } => self.invalid.increment(1),
            EncodeError::InvalidRequest { .. }
            | EncodeError::Overloaded { .. }
            | EncodeError::TooCostly { .. }
            | EncodeError::NoTime { .. }
            | EncodeError::TooManyStreams { .. }
            | EncodeError::Device { .. }
            | EncodeError::Expired { .. }
            | EncodeError::Stopped { .. }
            | EncodeError::Bundle(_)
            | EncodeError::RuntimeLibrary { .. }
            | EncodeError::Session { .. }
            | EncodeError::Tower { .. }
            | EncodeError::SelfTest { .. }
            | EncodeError::Server(_) => self.failed.increment(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::{CounterFn, GaugeFn, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    type Values = Arc<Mutex<BTreeMap<String, f64>>>;

    /// Adds up whatever is reported under a name with its labels.
    struct Sums(Values);

    struct Sum {
        name: String,
        values: Values,
    }

    impl Sum {
        fn add(&self, value: f64) {
            *self.values.lock().unwrap().entry(self.name.clone()).or_default() += value;
        }
    }

    impl CounterFn for Sum {
        fn increment(&self, value: u64) {
            self.add(value as f64);
        }
        fn absolute(&self, _value: u64) {}
    }

    impl GaugeFn for Sum {
        fn increment(&self, value: f64) {
            self.add(value);
        }
        fn decrement(&self, value: f64) {
            self.add(-value);
        }
        fn set(&self, _value: f64) {}
    }

    impl HistogramFn for Sum {
        fn record(&self, value: f64) {
            self.add(value);
        }
    }

    impl Sums {
        fn sum(&self, key: &Key) -> Arc<Sum> {
            let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            Arc::new(Sum { name: format!("{}{{{}}}", key.name(), labels.join(",")), values: Arc::clone(&self.0) })
        }

        fn describe(&self, name: &KeyName) {
            self.0.lock().unwrap().insert(name.as_str().to_owned(), 0.0);
        }
    }

    impl Recorder for Sums {
        fn describe_counter(&self, name: KeyName, _unit: Option<Unit>, _text: SharedString) {
            self.describe(&name);
        }
        fn describe_gauge(&self, name: KeyName, _unit: Option<Unit>, _text: SharedString) {
            self.describe(&name);
        }
        fn describe_histogram(&self, name: KeyName, _unit: Option<Unit>, _text: SharedString) {
            self.describe(&name);
        }
        fn register_counter(&self, key: &Key, _metadata: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.sum(key))
        }
        fn register_gauge(&self, key: &Key, _metadata: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.sum(key))
        }
        fn register_histogram(&self, key: &Key, _metadata: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.sum(key))
        }
    }

    #[test]
    fn every_metric_is_described_and_reports_under_its_name() {
        let values = Values::default();
        metrics::with_local_recorder(&Sums(Arc::clone(&values)), || {
            describe_metrics();
            let tower = TowerMetrics::of("text");
            tower.ran(3, 40, Duration::from_secs(2));
            tower.succeeded(Duration::from_secs(4), Duration::from_secs(8));
            tower.refused(&EncodeError::Stopped { tower: "text" });
            tower.rejected.increment(5);
            tower.expired.increment(1);
            tower.queue_bulk.increment(1.0);
        });
        let values = values.lock().unwrap();
        for (name, value) in [
            ("descry_encoder_batch_items{tower=text}", 3.0),
            ("descry_encoder_batch_tokens{tower=text}", 40.0),
            ("descry_encoder_run_seconds{tower=text}", 2.0),
            ("descry_encoder_queue_seconds{tower=text}", 4.0),
            ("descry_encoder_prepare_seconds{tower=text}", 8.0),
            ("descry_encoder_items_total{tower=text,outcome=ok}", 1.0),
            ("descry_encoder_items_total{tower=text,outcome=failed}", 1.0),
            ("descry_encoder_rejected_total{tower=text}", 5.0),
            ("descry_encoder_dropped_total{tower=text,reason=expired}", 1.0),
            ("descry_encoder_queue_items{tower=text,priority=bulk}", 1.0),
        ] {
            assert_eq!(values.get(name), Some(&value), "{name}");
            let described = name.split('{').next().unwrap();
            assert!(values.contains_key(described), "{described} is not described");
        }
    }
}
