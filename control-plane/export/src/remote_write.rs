//! Prometheus remote write 1.0 (prometheus.io/docs/specs/prw/remote_write_spec): a `prometheus.WriteRequest`, in one block
//! of Snappy.
//!
//! Labels of a series are sorted by name and none is empty; samples of a series ascend in time; a series ends with the
//! stale marker. Response times are a classic histogram ([`crate::latency`] says why).

use std::sync::Arc;

use outrigger_protocol::time::UnixMillis;
use reqwest::StatusCode;

use crate::encoding::Writer;
use crate::grouped::{InstanceSeries, Key, Namings, Point, series};
use crate::instances::Reading;
use crate::lane::{EncodeError, Format, Verdict};
use crate::latency::{Totals, bounds};
use crate::vocabulary::{self, LATENCY};

/// The quiet NaN that means "this series ends here" (prometheus/model/value, `StaleNaN`).
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Labels that a series has by itself, and which an operator therefore cannot add.
pub(crate) const OWN_LABELS: &[&str] =
    &["deployment", "deployment_id", "instance", "le", "name", "organization", "project"];

/// Fields of the messages.
mod field {
    pub(super) const REQUEST_SERIES: u32 = 1;
    pub(super) const SERIES_LABEL: u32 = 1;
    pub(super) const SERIES_SAMPLE: u32 = 2;
    pub(super) const LABEL_NAME: u32 = 1;
    pub(super) const LABEL_VALUE: u32 = 2;
    pub(super) const SAMPLE_VALUE: u32 = 1;
    pub(super) const SAMPLE_TIMESTAMP: u32 = 2;
}

#[derive(Debug)]
pub(crate) struct RemoteWrite {
    external_labels: Vec<(String, String)>,
}

impl RemoteWrite {
    pub(crate) const fn new(external_labels: Vec<(String, String)>) -> Self {
        Self { external_labels }
    }

    fn request(&self, batch: &[Arc<Reading>], namings: &Namings) -> Vec<u8> {
        let mut request = Writer::default();
        for instance in series(batch, namings) {
            let id = instance.source.instance.to_string();
            let mut labels = vec![
                ("deployment", instance.naming.deployment.as_str()),
                ("deployment_id", &instance.naming.deployment_id),
                ("instance", &id),
                ("organization", &instance.naming.organization),
                ("project", &instance.naming.project),
            ];
            labels.extend(self.external_labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            // An empty value is no label.
            labels.retain(|(_, value)| !value.is_empty());
            write_instance(&mut request, &instance, &labels);
        }
        request.into_bytes()
    }
}

impl Format for RemoteWrite {
    type Item = Reading;

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "snappy"),
            ("x-prometheus-remote-write-version", "0.1.0"),
        ]
    }

    fn encode(&self, batch: &[Arc<Reading>], namings: &Namings) -> Result<Vec<u8>, EncodeError> {
        let request = self.request(batch, namings);
        snap::raw::Encoder::new().compress_vec(&request).map_err(|source| EncodeError::Snappy { source })
    }

    /// "MUST retry on 5xx, MAY on 429, MUST NOT on any other 4xx".
    fn is_retryable(status: StatusCode) -> bool {
        status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
    }

    fn verdict(_: &[u8]) -> Verdict {
        Verdict::default()
    }

    /// Receivers say in plain text what is wrong.
    fn complaint(body: &[u8]) -> String {
        String::from_utf8_lossy(body).into_owned()
    }
}

fn write_instance(request: &mut Writer, instance: &InstanceSeries<'_>, labels: &[(&str, &str)]) {
    for (key, points) in &instance.numbers {
        let values = points.iter().map(|point| (point.at, point.value.unwrap_or(f64::from_bits(STALE))));
        match key {
            Key::Gauge(metric) | Key::Total(metric) => {
                write_series(request, &vocabulary::prometheus(*metric), labels, None, values);
            }
            Key::Custom(name) => {
                let original = name.changed_from().map(|original| ("name", original));
                write_series(request, &name.prometheus(), labels, original, values);
            }
        }
    }
    if !instance.latency.is_empty() {
        write_latency(request, &instance.latency, labels);
    }
}

/// `_bucket` with `le`, each bucket with everything below it; `_sum` and `_count`.
fn write_latency(request: &mut Writer, points: &[Point<&Totals>], labels: &[(&str, &str)]) {
    let values = |of: &dyn Fn(&Totals) -> f64| -> Vec<(UnixMillis, f64)> {
        points.iter().map(|point| (point.at, point.value.map_or(f64::from_bits(STALE), of))).collect()
    };
    let name = format!("{LATENCY}_bucket");
    for (at, bound) in bounds().chain([f64::INFINITY]).enumerate() {
        let le = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
        let below = values(&|totals| totals.counts()[..=at].iter().sum::<u64>() as f64);
        write_series(request, &name, labels, Some(("le", &le)), below.into_iter());
    }
    write_series(request, &format!("{LATENCY}_sum"), labels, None, values(&Totals::sum_seconds).into_iter());
    write_series(request, &format!("{LATENCY}_count"), labels, None, values(&|t| t.count() as f64).into_iter());
}

fn write_series(
    request: &mut Writer,
    name: &str,
    labels: &[(&str, &str)],
    more: Option<(&str, &str)>,
    values: impl Iterator<Item = (UnixMillis, f64)>,
) {
    let mut all: Vec<(&str, &str)> = Vec::with_capacity(labels.len() + 2);
    all.push(("__name__", name));
    all.extend_from_slice(labels);
    all.extend(more);
    all.sort_unstable();
    request.message(field::REQUEST_SERIES, |series| {
        for (name, value) in all {
            series.message(field::SERIES_LABEL, |label| {
                label.string(field::LABEL_NAME, name);
                label.string(field::LABEL_VALUE, value);
            });
        }
        for (at, value) in values {
            series.message(field::SERIES_SAMPLE, |sample| {
                sample.double(field::SAMPLE_VALUE, value);
                sample.int64(field::SAMPLE_TIMESTAMP, i64::try_from(at.as_millis()).unwrap_or(i64::MAX));
            });
        }
    });
}

#[cfg(test)]
mod tests;
