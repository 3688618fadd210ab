//! The text that Prometheus scrapes. In: families of samples. Out: the text exposition format 0.0.4. It keeps nothing but the text
//! that it writes, and knows no metric.

use std::fmt::{self, Write};

use crate::printable::printable;

/// How the values of a metric behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// Only grows, but for a restart.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of observations by size.
    Histogram,
}

impl MetricType {
    /// As in the format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric without its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricInfo {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub metric_type: MetricType,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

/// A metric with `N` labels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metric<const N: usize> {
    pub(super) info: MetricInfo,
    pub(super) labels: [&'static str; N],
}

/// The text so far.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a metric.
    pub(super) fn metric<const N: usize>(&mut self, metric: Metric<N>) -> Samples<'_, N> {
        let MetricInfo { name, metric_type, help, .. } = metric.info;
        self.text += "# HELP ";
        self.text += name;
        self.text.push(' ');
        self.text += help;
        self.text += "\n# TYPE ";
        self.text += name;
        self.text.push(' ');
        self.text += metric_type.as_str();
        self.text.push('\n');
        Samples { text: &mut self.text, metric }
    }

    /// A metric with one value and no labels.
    pub(super) fn value(&mut self, metric: Metric<0>, value: impl fmt::Display) {
        self.metric(metric).add([], value);
    }

    /// The text.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// A metric whose samples are added.
pub(super) struct Samples<'a, const N: usize> {
    text: &'a mut String,
    metric: Metric<N>,
}

impl<const N: usize> Samples<'_, N> {
    /// Adds a sample, with the values of the labels in their order.
    pub(super) fn add(&mut self, labels: [&str; N], value: impl fmt::Display) {
        self.sample("", labels, None, value);
    }

    /// Adds the samples of a histogram: counts by upper bound, and the sum of all observations.
    pub(super) fn add_histogram(&mut self, labels: [&str; N], counts: &[(f64, u64)], all: u64, sum: f64) {
        let mut below = 0;
        for (bound, count) in counts {
            below += count;
            self.sample("_bucket", labels, Some(&bound.to_string()), below);
        }
        self.sample("_bucket", labels, Some("+Inf"), all);
        self.sample("_sum", labels, None, sum);
        self.sample("_count", labels, None, all);
    }

    fn sample(&mut self, suffix: &str, values: [&str; N], bound: Option<&str>, value: impl fmt::Display) {
        *self.text += self.metric.info.name;
        *self.text += suffix;
        let labels = self.metric.labels.iter().copied().zip(values).chain(bound.map(|bound| ("le", bound)));
        let mut separator = '{';
        for (label, value) in labels {
            self.text.push(separator);
            separator = ',';
            *self.text += label;
            *self.text += "=\"";
            push_escaped(self.text, value);
            self.text.push('"');
        }
        *self.text += if separator == '{' { " " } else { "} " };
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{value}");
    }
}

/// The value of a label: what the format escapes, and what acts on a terminal.
fn push_escaped(text: &mut String, value: &str) {
    let shown = printable(value);
    if !shown.contains(['\\', '"']) {
        *text += &shown;
        return;
    }
    for c in shown.chars() {
        if matches!(c, '\\' | '"') {
            text.push('\\');
        }
        text.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn metric<const N: usize>(metric_type: MetricType, labels: [&'static str; N]) -> Metric<N> {
        Metric { info: MetricInfo { name: "x", metric_type, labels: &[], help: "What it is" }, labels }
    }

    #[test]
    fn a_sample_has_its_labels_in_order() {
        let mut text = Exposition::default();
        text.value(metric(MetricType::Counter, []), 7);
        text.metric(metric(MetricType::Gauge, ["vrf", "peer"])).add(["red", "192.0.2.1"], 0.5);
        let expected = "# HELP x What it is\n# TYPE x counter\nx 7\n\
                        # HELP x What it is\n# TYPE x gauge\nx{vrf=\"red\",peer=\"192.0.2.1\"} 0.5\n";
        assert_eq!(text.into_text(), expected);
    }

    #[test]
    fn the_value_of_a_label_cannot_end_it() {
        let mut text = Exposition::default();
        text.metric(metric(MetricType::Gauge, ["peer"])).add(["a\"} 1\nb\\\u{1b}"], 1);
        let text = text.into_text();
        assert_eq!(text.lines().last(), Some(r#"x{peer="a\"} 1\\nb\\\\u001b"} 1"#));
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn the_counts_of_a_histogram_are_cumulative() {
        let mut text = Exposition::default();
        text.metric(metric(MetricType::Histogram, ["a"])).add_histogram(["b"], &[(0.5, 2), (1.0, 1)], 4, 9.5);
        let text = text.into_text();
        let samples: Vec<_> = text.lines().skip(2).collect();
        let expected = [
            r#"x_bucket{a="b",le="0.5"} 2"#,
            r#"x_bucket{a="b",le="1"} 3"#,
            r#"x_bucket{a="b",le="+Inf"} 4"#,
            r#"x_sum{a="b"} 9.5"#,
            r#"x_count{a="b"} 4"#,
        ];
        assert_eq!(samples, expected);
    }
}
