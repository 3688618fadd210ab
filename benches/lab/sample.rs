//! Repeated measurements. In: values of one thing. Out: median with least and greatest, and ratios of two series. What was
//! measured while the host of the machine took it away does not count where there is enough else.

use serde::Serialize;

/// A value is disturbed where the host took a greater share of the processors that the machine wanted.
const DISTURBED: f64 = 0.1;
/// So many that are not disturbed count alone.
const ENOUGH: usize = 5;

/// What was disturbed is measured again, this many times as often at most in all. Of a program that is not optimised no
/// time is judged, and none is measured again.
const MORE: usize = if cfg!(debug_assertions) { 1 } else { 3 };

/// Measures until `undisturbed` gives so many more than at the beginning; `once` gets which time it is, from 1 on.
pub fn repeat<F>(
    found: &mut F,
    times: usize,
    undisturbed: impl Fn(&F) -> usize,
    mut once: impl FnMut(&mut F, usize) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let enough = undisturbed(found) + times;
    for time in 1..=MORE * times {
        once(found, time)?;
        if undisturbed(found) >= enough {
            break;
        }
    }
    Ok(())
}

/// Values of one thing, in one unit.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<Value>);

#[derive(Debug, Clone, Copy)]
struct Value {
    value: f64,
    is_disturbed: bool,
}

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
        self.push_beside(0.0, value);
    }

    /// Takes a value during which the host took this share, 0 to 1.
    pub fn push_beside(&mut self, stolen: f64, value: f64) {
        self.0.push(Value { value, is_disturbed: stolen > DISTURBED });
    }

    /// How many are not disturbed.
    pub fn undisturbed(&self) -> usize {
        self.0.iter().filter(|value| !value.is_disturbed).count()
    }

    /// `None` without a value.
    pub fn summary(&self) -> Option<Summary> {
        let all_count = self.undisturbed() < ENOUGH;
        let counted = self.0.iter().filter(|value| all_count || !value.is_disturbed);
        let mut sorted: Vec<f64> = counted.map(|value| value.value).collect();
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
