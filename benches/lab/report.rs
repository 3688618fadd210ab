//! The report. In: measured values, those they are compared with, and budgets. Out: a table, JSON, and whether all
//! budgets are met.

use serde::Serialize;

use crate::series::{Series, Summary};

/// Budgets of time and memory apply up to this number of VNIs.
pub const VNIS: usize = 400;

/// A limit for a median.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Budget {
    /// The median is at most this value.
    AtMost(f64),
    /// The median is at most this many times that of the other side.
    Ratio(f64),
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// VRF mode.
    pub setting: String,
    /// L3VNIs, or host routes.
    pub size: usize,
    /// What was measured.
    pub what: String,
    /// Unit.
    pub unit: &'static str,
    /// Values of perouter.
    pub ours: Option<Summary>,
    /// The other side of the comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
    /// The budget, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Whether the budget is met; true without a budget.
    pub met: bool,
    #[serde(skip)]
    vnis: usize,
    #[serde(skip)]
    emulated: bool,
}

/// The other side of a comparison.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Against {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub values: Summary,
    /// perouter's median divided by this one's.
    pub ratio: f64,
}

/// All lines of the table.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// In the order in which they are shown.
    pub rows: Vec<Row>,
    #[serde(skip)]
    setting: String,
    #[serde(skip)]
    vnis_each: usize,
    #[serde(skip)]
    emulated: bool,
}

impl Report {
    /// An empty report. On an emulated machine only ratios and counts are compared with budgets, as its times are not
    /// meaningful.
    pub fn new(emulated: bool) -> Self {
        Self { emulated, ..Self::default() }
    }

    /// Sets the setting of the rows that follow, and the number of VNIs for each N.
    pub fn set_setting(&mut self, setting: &str, vnis_each: usize) {
        setting.clone_into(&mut self.setting);
        self.vnis_each = vnis_each;
    }

    /// Adds a line.
    pub fn row(&mut self, size: usize, what: &str, unit: &'static str, ours: &Series) -> &mut Row {
        self.rows.push(Row {
            setting: self.setting.clone(),
            size,
            what: what.to_owned(),
            unit,
            ours: ours.summary(),
            against: None,
            budget: None,
            met: true,
            vnis: size * self.vnis_each,
            emulated: self.emulated,
        });
        let last = self.rows.len() - 1;
        &mut self.rows[last]
    }

    /// Whether every budget is met.
    pub fn met(&self) -> bool {
        self.rows.iter().all(|row| row.met)
    }

    /// The lines as a Markdown table.
    pub fn table(&self) -> String {
        let mut table = comfy_table::Table::new();
        table
            .load_style(comfy_table::presets::ASCII_MARKDOWN)
            .set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        table.set_header(["setting", "N", "what", "perouter", "against", "", "ratio", "budget"]);
        table.add_rows(self.rows.iter().map(Row::cells));
        format!("{table}\n")
    }
}

impl Row {
    /// Adds the other side of the comparison.
    pub fn against(&mut self, name: &'static str, other: &Series) -> &mut Self {
        if let (Some(values), Some(ours)) = (other.summary(), self.ours) {
            self.against = Some(Against { name, values, ratio: ours.median / values.median });
        }
        self
    }

    /// Adds a budget. A missing value does not meet it. Without optimization only counts are compared with budgets, on
    /// an emulated machine only counts and ratios.
    pub fn budget(&mut self, budget: Budget) -> &mut Self {
        let applies = match budget {
            Budget::AtMost(0.0) => true,
            Budget::AtMost(_) => !cfg!(debug_assertions) && !self.emulated,
            Budget::Ratio(_) => !cfg!(debug_assertions),
        };
        if !applies {
            return self;
        }
        self.budget = Some(budget);
        self.met = match budget {
            Budget::AtMost(limit) => self.ours.is_some_and(|ours| ours.median <= limit),
            Budget::Ratio(limit) => self.against.as_ref().is_some_and(|against| against.ratio <= limit),
        };
        self
    }

    /// Adds a budget that applies up to [`VNIS`].
    pub fn budget_of_size(&mut self, budget: Budget) -> &mut Self {
        if self.vnis <= VNIS { self.budget(budget) } else { self }
    }

    fn cells(&self) -> [String; 8] {
        let unit = self.unit;
        let ratio = self.against.as_ref().map_or_else(String::new, |against| ratio(against.ratio));
        let budget = self.budget.map_or_else(String::new, |budget| {
            let limit = match budget {
                Budget::AtMost(limit) => format!("≤ {} {unit}", number(limit)),
                Budget::Ratio(limit) => format!("≤ {}", self::ratio(limit)),
            };
            format!("{limit} {}", if self.met { "ok" } else { "MISSED" })
        });
        [
            self.setting.clone(),
            self.size.to_string(),
            self.what.clone(),
            self.ours.map_or_else(|| "-".to_owned(), |ours| summary(&ours, unit)),
            self.against.as_ref().map_or_else(String::new, |against| against.name.to_owned()),
            self.against.as_ref().map_or_else(String::new, |against| summary(&against.values, unit)),
            ratio,
            budget,
        ]
    }
}

fn summary(summary: &Summary, unit: &str) -> String {
    let Summary { median, min, max, n } = summary;
    if *n == 1 {
        return format!("{} {unit}", number(*median));
    }
    format!("{} {unit} ({}-{})", number(*median), number(*min), number(*max))
}

/// Three digits: a median of a few runs is not more precise.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        zero if zero < 0.0005 => 0,
        _ => 2,
    };
    format!("{value:.digits$}")
}

/// A small ratio is easier to read as its reciprocal.
fn ratio(value: f64) -> String {
    if value > 0.0 && value < 0.1 { format!("1/{:.0}", 1.0 / value) } else { format!("{value:.2}") }
}
