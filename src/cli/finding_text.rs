//! A finding for people. In: a finding, and the time. Out: lines with what is wrong, what shows it, what to do, and since when.

use super::tone::Tone;
use crate::diagnose::cause::short_age;
use crate::diagnose::finding::{Finding, FindingSeverity, rfc3339};

/// A finding with all that is known of it.
pub fn entry(finding: &Finding, now: u64) -> String {
    let mark = match finding.severity {
        FindingSeverity::Error => Tone::Bad.mark("FAIL"),
        FindingSeverity::Warning => Tone::Warning.mark("WARN"),
        FindingSeverity::Info => "info".to_owned(),
    };
    let place = match (finding.place.to_string(), &finding.object) {
        (place, Some(object)) if place.is_empty() => format!("  {object}"),
        (place, _) if place.is_empty() => place,
        (place, _) => format!("  {place}"),
    };
    let mut out = format!("\n{mark}  {}{place}\n      {}\n", finding.kind, finding.what);
    let since = finding.since.filter(|since| *since < now);
    let object = finding.object.as_ref().map(|object| {
        let field = finding.field.as_ref().map(|field| format!(" {field}")).unwrap_or_default();
        format!("{object}{field}")
    });
    let lines = [
        ("shown by", Some(finding.evidence.clone()).filter(|text| !text.is_empty())),
        ("remedy", Some(finding.remedy.clone()).filter(|text| !text.is_empty())),
        ("object", object),
        ("since", since.map(|since| format!("{} ({} ago)", rfc3339(since), short_age(now - since)))),
    ];
    for (name, text) in lines {
        out.extend(text.map(|text| format!("      {name:<9} {text}\n")));
    }
    out
}
