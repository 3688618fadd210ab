//! Passwords are removed from what leaves the node. In: texts, of which some have passwords in FRR's words. Out: the same texts without
//! any of them, also where one occurs without such a word. Pure.

use std::collections::BTreeSet;

use crate::printable::{MASK, masked};

/// A shorter word occurs everywhere, and a password of this length protects nothing.
const MIN_BYTES: usize = 4;

/// The passwords that are known.
#[derive(Debug, Default)]
pub struct Redaction {
    passwords: BTreeSet<String>,
}

impl Redaction {
    /// Takes note of the passwords of a text: what [`masked`] replaces in each line.
    pub fn learn(&mut self, text: &str) {
        for line in text.lines() {
            let shown = masked(line);
            if let Some(clear) = shown.strip_suffix(MASK).filter(|_| shown != line) {
                let password = line.get(clear.len()..).unwrap_or_default().trim();
                let words = std::iter::once(password).chain(password.split_whitespace());
                self.passwords.extend(words.filter(|word| word.len() >= MIN_BYTES && *word != MASK).map(str::to_owned));
            }
        }
    }

    /// The text without them.
    pub fn applied_to(&self, text: &str) -> String {
        let mut shown = masked(text).into_owned();
        // The longer first: one may be a part of another.
        let mut passwords: Vec<&String> = self.passwords.iter().collect();
        passwords.sort_by_key(|password| std::cmp::Reverse(password.len()));
        for password in passwords {
            if shown.contains(password.as_str()) {
                shown = shown.replace(password.as_str(), MASK);
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_nowhere() {
        let config =
            "router bgp 64514\n neighbor 10.0.0.1 password hunter2\n neighbor 10.0.0.2 password hunter2longer\n";
        let log = "bgpd: the key is hunter2longer, not hunter2\n";
        let mut redaction = Redaction::default();
        redaction.learn(config);
        redaction.learn(" neighbor 10.0.0.3 password abc\n");
        let shown = [redaction.applied_to(config), redaction.applied_to(log), redaction.applied_to("abc")];
        assert!(shown.iter().all(|text| !text.contains("hunter2") && !text.contains("longer")), "{shown:?}");
        assert!(shown[0].contains("neighbor 10.0.0.1 password ********") && shown[2] == "abc");
    }
}
