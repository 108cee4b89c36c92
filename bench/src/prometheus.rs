//! Single values out of Prometheus' text format (version 0.0.4).

/// The value of the series `name` that has all of `labels`; `None` when there is none, or it is not a number.
#[must_use]
pub fn value(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (found, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}')?,
            None => ("", rest),
        };
        let has = |(key, wanted): &(&str, &str)| found.split(',').any(|label| label == format!("{key}=\"{wanted}\""));
        let value = value.strip_prefix(' ')?;
        labels
            .iter()
            .all(has)
            .then(|| value.split(' ').next()?.parse().ok())
            .flatten()
            .filter(|value: &f64| !value.is_nan())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_name_and_labels() {
        let text = "# TYPE a_seconds summary\na_seconds{quantile=\"0.5\"} 0.25\na_seconds{quantile=\"0.99\",x=\"y\"} 1.5\n\
                    a_seconds_count 7\nb NaN\n";
        assert_eq!(value(text, "a_seconds", &[("quantile", "0.99")]), Some(1.5));
        assert_eq!(value(text, "a_seconds_count", &[]), Some(7.0));
        assert_eq!(value(text, "a_seconds", &[("quantile", "0.9")]), None);
        assert_eq!(value(text, "b", &[]), None);
        assert_eq!(value(text, "a", &[]), None);
    }
}
