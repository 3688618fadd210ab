//! Repeated measurements. In: values of one thing. Out: median with least and greatest, and ratios of two series.

use serde::Serialize;

/// Values of one thing, in one unit.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<f64>);

/// What a series comes to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The middle value; the mean of the two in the middle for an even number.
    pub median: f64,
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
    /// How many.
    pub n: usize,
}

impl Series {
    /// Takes a value.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// `None` without a value.
    pub fn summary(&self) -> Option<Summary> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let (low, high) = (sorted.get(n.checked_sub(1)? / 2)?, sorted.get(n / 2)?);
        Some(Summary { median: f64::midpoint(*low, *high), min: *sorted.first()?, max: *sorted.last()?, n })
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}
