//! The table. In: what was measured, with what it is measured against and its budget. Out: text, JSON, and whether all
//! budgets are met.

use serde::Serialize;

use crate::sample::{Series, Summary};

/// So many L3VNIs are what budgets of time and memory are given for.
pub const L3VNIS: usize = 400;

/// What must hold.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Budget {
    /// The median is at most so much.
    AtMost(f64),
    /// The median is at most so many times that of what it is measured against.
    Ratio(f64),
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Which VRF mode and FRR.
    pub setting: String,
    /// L3VNIs, or host routes.
    pub size: usize,
    /// What was measured.
    pub what: String,
    /// Unit.
    pub unit: &'static str,
    /// perouter.
    pub ours: Option<Summary>,
    /// What it is measured against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
    /// What must hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Whether it does; true without a budget.
    pub met: bool,
    #[serde(skip)]
    emulated: bool,
}

/// The other side of a ratio.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Against {
    /// What it is.
    pub name: &'static str,
    /// Its values.
    pub values: Summary,
    /// perouter's median by this one.
    pub ratio: f64,
}

/// All lines.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// In the order in which they are shown.
    pub rows: Vec<Row>,
    #[serde(skip)]
    setting: String,
    #[serde(skip)]
    emulated: bool,
}

impl Report {
    /// Without a line. Of an emulated machine ratios and counts alone are judged, as its times say nothing.
    pub fn new(emulated: bool) -> Self {
        Self { emulated, ..Self::default() }
    }

    /// What the rows from here on are about.
    pub fn set(&mut self, setting: &str) {
        setting.clone_into(&mut self.setting);
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
    /// Measured against another series.
    pub fn against(&mut self, name: &'static str, other: &Series) -> &mut Self {
        if let (Some(values), Some(ours)) = (other.summary(), self.ours) {
            self.against = Some(Against { name, values, ratio: ours.median / values.median });
        }
        self
    }

    /// With a budget. What could not be measured does not meet it. Of a program that is not optimised only counts are
    /// judged, on an emulated machine ratios too.
    pub fn budget(&mut self, budget: Budget) -> &mut Self {
        let is_judged = match budget {
            Budget::AtMost(0.0) => true,
            Budget::AtMost(_) => !cfg!(debug_assertions) && !self.emulated,
            Budget::Ratio(_) => !cfg!(debug_assertions),
        };
        if !is_judged {
            return self;
        }
        self.budget = Some(budget);
        self.met = match budget {
            Budget::AtMost(limit) => self.ours.is_some_and(|ours| ours.median <= limit),
            Budget::Ratio(limit) => self.against.as_ref().is_some_and(|against| against.ratio <= limit),
        };
        self
    }

    /// With a budget that is given for [`L3VNIS`], and holds for fewer.
    pub fn budget_of_size(&mut self, budget: Budget) -> &mut Self {
        if self.size <= L3VNIS { self.budget(budget) } else { self }
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

/// Three digits are all that a median of a few runs has.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        zero if zero < 0.0005 => 0,
        _ => 2,
    };
    format!("{value:.digits$}")
}

/// A small ratio is easier to read turned round.
fn ratio(value: f64) -> String {
    if value > 0.0 && value < 0.1 { format!("1/{:.0}", 1.0 / value) } else { format!("{value:.2}") }
}
