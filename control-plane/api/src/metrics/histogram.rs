//! Response times as Prometheus has them.

use std::time::Duration;

use outrigger_protocol::histogram::LatencyHistogram;

use super::exposition::{Family, Labels};

/// The bounds of the buckets that are shown: powers of two in microseconds, from 0.256 ms to 16.8 s. They are bounds of
/// the recorded buckets too ([`LatencyHistogram`]: eight for each power of two), so that nothing has to be guessed apart.
const EXPONENTS: std::ops::RangeInclusive<usize> = 8..=24;
const SUB: usize = 8;
const SUB_EXPONENT: usize = 3;

/// Writes a histogram's buckets, sum and count.
pub(crate) fn buckets(family: &mut Family<'_>, labels: &Labels, histogram: &LatencyHistogram) {
    let mut occupied = histogram.buckets().peekable();
    let mut below = 0_u64;
    for exponent in EXPONENTS {
        let is_below = |(bucket, _): &(u8, u32)| usize::from(*bucket) / SUB + SUB_EXPONENT <= exponent;
        while let Some((_, count)) = occupied.next_if(is_below) {
            below = below.saturating_add(u64::from(count));
        }
        let bound = Duration::from_micros(1 << exponent).as_secs_f64();
        family.write("_bucket", &labels.with("le", &bound), below);
    }
    family.write("_bucket", &labels.with("le", &"+Inf"), histogram.count());
    family.write("_sum", labels, histogram.sum().as_secs_f64());
    family.write("_count", labels, histogram.count());
}

/// Writes quantiles over everything that was recorded, sum and count.
pub(crate) fn summary(family: &mut Family<'_>, labels: &Labels, histogram: &LatencyHistogram) {
    quantiles(family, labels, histogram, &[0.5, 0.9, 0.99]);
    family.write("_sum", labels, histogram.sum().as_secs_f64());
    family.write("_count", labels, histogram.count());
}

/// Writes quantiles; NaN where nothing was recorded.
pub(crate) fn quantiles(family: &mut Family<'_>, labels: &Labels, histogram: &LatencyHistogram, shown: &[f64]) {
    for q in shown {
        let value = histogram.quantile(*q).map_or(f64::NAN, |value| value.as_secs_f64());
        family.write("", &labels.with("quantile", q), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::exposition::{Format, Kind, Page};

    fn written(micros: &[u64], write: impl Fn(&mut Family<'_>, &Labels, &LatencyHistogram)) -> String {
        let mut histogram = LatencyHistogram::new();
        micros.iter().for_each(|us| histogram.record(Duration::from_micros(*us)));
        let mut page = Page::new(Format::Text, 0);
        write(&mut page.family(Kind::Histogram, "x_seconds", "X."), &Labels::new(&[("a", &1)]), &histogram);
        page.finish()
    }

    #[test]
    fn buckets_hold_everything_below_their_bound() {
        let text = written(&[1, 255, 256, 1_000, 1_024, 20_000_000], buckets);
        for line in [
            "x_seconds_bucket{a=\"1\",le=\"0.000256\"} 2",
            "x_seconds_bucket{a=\"1\",le=\"0.000512\"} 3",
            "x_seconds_bucket{a=\"1\",le=\"0.001024\"} 4",
            "x_seconds_bucket{a=\"1\",le=\"0.002048\"} 5",
            "x_seconds_bucket{a=\"1\",le=\"16.777216\"} 5",
            "x_seconds_bucket{a=\"1\",le=\"+Inf\"} 6",
            "x_seconds_count{a=\"1\"} 6",
        ] {
            assert!(text.lines().any(|written| written == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn quantiles_of_nothing_are_no_numbers() {
        assert!(written(&[], summary).contains("x_seconds{a=\"1\",quantile=\"0.99\"} NaN\n"));
    }
}
