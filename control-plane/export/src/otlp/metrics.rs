//! `opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest`

use std::sync::Arc;

use outrigger_protocol::time::UnixMillis;
use reqwest::StatusCode;

use super::{Envelope, attribute, field as shared, nanos};
use crate::encoding::Writer;
use crate::grouped::{InstanceSeries, Key, Namings, Point, series};
use crate::instances::Reading;
use crate::lane::{EncodeError, Format, Verdict};
use crate::latency::{Totals, bounds};
use crate::vocabulary::{self, LATENCY_OTLP};

/// Since the start, not since the previous one.
const CUMULATIVE: u64 = 2;
/// `DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`: the series ends here.
const NO_RECORDED_VALUE: u64 = 1;

/// Fields of `opentelemetry.proto.metrics.v1`.
mod field {
    pub(super) const METRIC_NAME: u32 = 1;
    pub(super) const METRIC_UNIT: u32 = 3;
    pub(super) const METRIC_GAUGE: u32 = 5;
    pub(super) const METRIC_SUM: u32 = 7;
    pub(super) const METRIC_HISTOGRAM: u32 = 9;
    /// Of a gauge, a sum and a histogram.
    pub(super) const DATA_POINT: u32 = 1;
    pub(super) const TEMPORALITY: u32 = 2;
    pub(super) const SUM_IS_MONOTONIC: u32 = 3;
    /// Of both kinds of data points.
    pub(super) const START: u32 = 2;
    pub(super) const TIME: u32 = 3;
    pub(super) const NUMBER_DOUBLE: u32 = 4;
    pub(super) const NUMBER_ATTRIBUTE: u32 = 7;
    pub(super) const NUMBER_FLAGS: u32 = 8;
    pub(super) const HISTOGRAM_COUNT: u32 = 4;
    pub(super) const HISTOGRAM_SUM: u32 = 5;
    pub(super) const HISTOGRAM_BUCKETS: u32 = 6;
    pub(super) const HISTOGRAM_BOUNDS: u32 = 7;
    pub(super) const HISTOGRAM_FLAGS: u32 = 10;
}

#[derive(Debug)]
pub(crate) struct OtlpMetrics(pub(crate) Envelope);

impl Format for OtlpMetrics {
    type Item = Reading;

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        self.0.headers()
    }

    fn encode(&self, batch: &[Arc<Reading>], namings: &Namings) -> Result<Vec<u8>, EncodeError> {
        let mut request = Writer::default();
        for instance in series(batch, namings) {
            self.0.write_resource(&mut request, instance.source, instance.naming, |scope| {
                write_instance(scope, &instance);
            });
        }
        self.0.pack(request.into_bytes())
    }

    fn is_retryable(status: StatusCode) -> bool {
        super::is_retryable(status)
    }

    fn verdict(body: &[u8]) -> Verdict {
        super::verdict(body)
    }

    fn complaint(body: &[u8]) -> String {
        super::complaint(body)
    }
}

fn write_instance(scope: &mut Writer, instance: &InstanceSeries<'_>) {
    for (key, points) in &instance.numbers {
        match key {
            Key::Gauge(metric) => {
                let (name, unit) = (vocabulary::otlp(*metric), vocabulary::ucum(metric.unit()));
                write_gauge(scope, &name, unit, points, None);
            }
            Key::Custom(name) => write_gauge(scope, &name.otlp(), "", points, name.changed_from()),
            Key::Total(metric) => {
                let (name, unit) = (vocabulary::otlp(*metric), vocabulary::ucum(metric.unit()));
                write_metric(scope, &name, unit, field::METRIC_SUM, |sum| {
                    points.iter().for_each(|point| write_number(sum, point, Some(point.since), None));
                    sum.varint(field::TEMPORALITY, CUMULATIVE);
                    sum.varint(field::SUM_IS_MONOTONIC, 1);
                });
            }
        }
    }
    if !instance.latency.is_empty() {
        write_metric(scope, LATENCY_OTLP, "s", field::METRIC_HISTOGRAM, |histogram| {
            instance.latency.iter().for_each(|point| write_latency(histogram, point));
            histogram.varint(field::TEMPORALITY, CUMULATIVE);
        });
    }
}

fn write_metric(scope: &mut Writer, name: &str, unit: &str, kind: u32, data: impl FnOnce(&mut Writer)) {
    scope.message(shared::SCOPE_ITEM, |metric| {
        metric.string(field::METRIC_NAME, name);
        metric.string(field::METRIC_UNIT, unit);
        metric.message(kind, data);
    });
}

fn write_gauge(scope: &mut Writer, name: &str, unit: &str, points: &[Point<f64>], original: Option<&str>) {
    write_metric(scope, name, unit, field::METRIC_GAUGE, |gauge| {
        points.iter().for_each(|point| write_number(gauge, point, None, original));
    });
}

fn write_number(data: &mut Writer, point: &Point<f64>, since: Option<UnixMillis>, original: Option<&str>) {
    data.message(field::DATA_POINT, |number| {
        if let Some(since) = since {
            number.fixed64(field::START, nanos(since));
        }
        number.fixed64(field::TIME, nanos(point.at));
        match point.value {
            Some(value) => number.double(field::NUMBER_DOUBLE, value),
            None => number.varint(field::NUMBER_FLAGS, NO_RECORDED_VALUE),
        }
        if let Some(original) = original {
            attribute(number, field::NUMBER_ATTRIBUTE, "name", |any| any.string(shared::ANY_STRING, original));
        }
    });
}

fn write_latency(data: &mut Writer, point: &Point<&Totals>) {
    data.message(field::DATA_POINT, |histogram| {
        histogram.fixed64(field::START, nanos(point.since));
        histogram.fixed64(field::TIME, nanos(point.at));
        match point.value {
            Some(totals) => {
                histogram.fixed64(field::HISTOGRAM_COUNT, totals.count());
                histogram.double(field::HISTOGRAM_SUM, totals.sum_seconds());
                histogram.packed64(field::HISTOGRAM_BUCKETS, totals.counts().iter().copied());
                histogram.packed64(field::HISTOGRAM_BOUNDS, bounds().map(f64::to_bits));
            }
            None => histogram.varint(field::HISTOGRAM_FLAGS, NO_RECORDED_VALUE),
        }
    });
}
