//! Mutations that know a little of the format: what random bytes rarely hit. In: an input, other inputs of the same target, a
//! seed. Out: a similar input, the same for the same seed. libFuzzer mixes them with its own; without it they are all
//! there is.
//!
//! [`text`]: words, numbers, lines and indentation of YAML, JSON and FRR's configuration. [`binary`]: lengths and aligned
//! pieces of netlink messages and vty replies.

mod binary;
mod text;

use fastrand::Rng;

/// What the inputs of a target look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines and words.
    Text,
    /// Aligned fields and lengths.
    Binary,
}

/// Bytes that are not UTF-8 by themselves, or that formats treat in a special way.
const AWKWARD: [&[u8]; 12] = [
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xed\xa0\x80",
    "\u{feff}".as_bytes(),
    "\u{85}".as_bytes(),
    "\u{2028}".as_bytes(),
    b"\r\n",
    b"\t",
    b"\x1b[2J",
];

/// Changes `input` in one to four places. `pool` are other inputs, from which pieces are taken.
pub fn mutate(format: Format, input: &mut Vec<u8>, pool: &[Vec<u8>], max: usize, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let none = Vec::new();
    for _ in 0..=rng.u8(0..4) {
        let other = rng.choice(pool).unwrap_or(&none);
        match (format, rng.u8(0..10)) {
            (_, 0) => raw(input, other, &mut rng),
            (Format::Text, _) => text::mutate(input, other, &mut rng),
            (Format::Binary, _) => binary::mutate(input, other, &mut rng),
        }
        // Each time: of 4 KiB, repeated lines that are repeated again become 700 MB.
        input.truncate(max);
    }
}

/// Any format: bits, cuts, and bytes that are awkward.
fn raw(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let at = rng.usize(0..=input.len());
    match rng.u8(0..5) {
        0 => input.truncate(at),
        1 => splice(input, at..at, rng.choice(AWKWARD).unwrap_or_default()),
        2 => splice(input, at.., other.get(rng.usize(0..=other.len())..).unwrap_or_default()),
        3 => {
            let end = (at + rng.usize(0..8)).min(input.len());
            splice(input, at..end, &[]);
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << rng.u8(0..8);
            }
        }
    }
}

/// Replaces a range.
fn splice(input: &mut Vec<u8>, range: impl std::ops::RangeBounds<usize>, by: &[u8]) {
    input.splice(range, by.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_input_again_and_seeds_differ() {
        let pool = vec![b"other: [1, two]\n".to_vec(), vec![8, 0, 1, 0, 1, 2, 3, 4]];
        for format in [Format::Text, Format::Binary] {
            let made = |seed| {
                let mut input = b"spec:\n  vni: 100\n  name: \"red\"\n".to_vec();
                mutate(format, &mut input, &pool, 4096, seed);
                input
            };
            let all: std::collections::BTreeSet<_> = (0..200).map(made).collect();
            assert!(all.len() > 150, "{format:?}: {}", all.len());
            assert!((0..200).all(|seed| made(seed) == made(seed)));
        }
    }

    #[test]
    fn nothing_can_be_mutated_too_and_the_limit_holds() {
        for format in [Format::Text, Format::Binary] {
            for seed in 0..500 {
                let mut input = Vec::new();
                mutate(format, &mut input, &[], 16, seed);
                mutate(format, &mut input, &[vec![b'a'; 64]], 16, seed);
                assert!(input.len() <= 16);
            }
        }
    }
}
