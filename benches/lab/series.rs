//! Repeated measurements. In: values. Out: median, minimum and maximum. Values with high steal time are ignored if
//! there are enough others.

use serde::Serialize;

/// A value is disturbed if steal time was a greater share of the wanted processor time.
const DISTURBED: f64 = 0.1;
/// With this number of undisturbed values the disturbed ones are ignored.
const ENOUGH: usize = 5;

/// Disturbed values are measured again; this factor limits the total number. Without optimization times are not
/// compared with budgets, so none is measured again.
const MAX_FACTOR: usize = if cfg!(debug_assertions) { 1 } else { 3 };

/// Calls `once`, with a counter from 1, until `undisturbed` has increased by `times`.
pub fn repeat<F>(
    found: &mut F,
    times: usize,
    undisturbed: impl Fn(&F) -> usize,
    mut once: impl FnMut(&mut F, usize) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let enough = undisturbed(found) + times;
    for time in 1..=MAX_FACTOR * times {
        once(found, time)?;
        if undisturbed(found) >= enough {
            break;
        }
    }
    Ok(())
}

/// Values of one measurement, in one unit.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<Value>);

#[derive(Debug, Clone, Copy)]
struct Value {
    value: f64,
    is_disturbed: bool,
}

/// Statistics of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The middle value; the mean of the two in the middle for an even number.
    pub median: f64,
    /// Minimum.
    pub min: f64,
    /// Maximum.
    pub max: f64,
    /// Number of values.
    pub n: usize,
}

impl Series {
    /// Adds a value.
    pub fn push(&mut self, value: f64) {
        self.push_with_steal(0.0, value);
    }

    /// Adds a value with the share of steal time during its measurement, 0 to 1.
    pub fn push_with_steal(&mut self, steal: f64, value: f64) {
        self.0.push(Value { value, is_disturbed: steal > DISTURBED });
    }

    /// Number of undisturbed values.
    pub fn undisturbed(&self) -> usize {
        self.0.iter().filter(|value| !value.is_disturbed).count()
    }

    /// The statistics; `None` without a value.
    pub fn summary(&self) -> Option<Summary> {
        let use_all = self.undisturbed() < ENOUGH;
        let used = self.0.iter().filter(|value| use_all || !value.is_disturbed);
        let mut sorted: Vec<f64> = used.map(|value| value.value).collect();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let (low, high) = (sorted.get(n.checked_sub(1)? / 2)?, sorted.get(n / 2)?);
        Some(Summary { median: f64::midpoint(*low, *high), min: *sorted.first()?, max: *sorted.last()?, n })
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut series = Self::default();
        values.into_iter().for_each(|value| series.push(value));
        series
    }
}
