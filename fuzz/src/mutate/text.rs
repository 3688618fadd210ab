//! Mutations of lines and words. The input need not be UTF-8.

use std::ops::Range;

use fastrand::Rng;

use super::splice;

/// Numbers at the edges of the types that read them, and beyond.
const NUMBERS: [&str; 28] = [
    "0",
    "1",
    "-1",
    "2",
    "31",
    "32",
    "33",
    "127",
    "128",
    "129",
    "255",
    "256",
    "4094",
    "4096",
    "65535",
    "65536",
    "16777215",
    "16777216",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "1e400",
    "1e3",
    "0x10",
    "007",
    "1.5",
];
/// Values of every type.
const VALUES: [&str; 20] = [
    "null",
    "true",
    "\"\"",
    "\"x\"",
    "[]",
    "{}",
    "[[]]",
    "{\"a\":1}",
    "[null]",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "~",
    "- a",
    "*a",
    "&a b",
    "|\n  x",
    "'it''s'",
    "\"%s\"",
    "0.0.0.0/0",
    "::/0",
];
/// Ways into nested values, each with its way out.
const NESTS: [(&str, &str); 5] = [("[", "]"), ("{\"a\":", "}"), ("- ", ""), ("a: {b: ", "}"), ("(", ")")];

pub(super) fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    match rng.u8(0..12) {
        0 => number(input, rng),
        1 => replace_value(input, rng),
        2 => word_of(input, other, rng),
        3 => swap_words(input, rng),
        4 => {
            let range = words(input, rng);
            splice(input, range, &[]);
        }
        5 => {
            let range = words(input, rng);
            let copy = input.get(range.clone()).unwrap_or_default().repeat(rng.usize(1..4));
            splice(input, range.end..range.end, &copy);
        }
        6 => nest(input, rng),
        7 => indent(input, rng),
        8 => {
            let range = lines(input, rng);
            splice(input, range, &[]);
        }
        9 => {
            let range = lines(input, rng);
            let times = if rng.u8(0..20) == 0 { 200 } else { rng.usize(1..4) };
            let copy = input.get(range.clone()).unwrap_or_default().repeat(times);
            splice(input, range.end..range.end, &copy);
        }
        10 => swap_lines(input, rng),
        _ => {
            let (at, taken) = (lines(input, rng).start, lines(other, rng));
            splice(input, at..at, other.get(taken).unwrap_or_default());
        }
    }
}

fn number(input: &mut Vec<u8>, rng: &mut Rng) {
    let numbers: Vec<_> = tokens(input).into_iter().filter(|token| is_number(input, token)).collect();
    if let Some(range) = rng.choice(numbers) {
        splice(input, range, rng.choice(NUMBERS).unwrap_or_default().as_bytes());
    }
}

/// A token becomes a value of any type.
fn replace_value(input: &mut Vec<u8>, rng: &mut Rng) {
    let range = token(input, rng);
    splice(input, range, rng.choice(VALUES).unwrap_or_default().as_bytes());
}

/// A token becomes one of another input, of the same class if there is one.
fn word_of(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let range = token(input, rng);
    let class = |text: &[u8], token: &Range<usize>| text.get(token.start).map(|byte| class(*byte));
    let wanted = class(input, &range);
    let same: Vec<_> = tokens(other).into_iter().filter(|token| class(other, token) == wanted).collect();
    if let Some(taken) = rng.choice(same) {
        splice(input, range, other.get(taken).unwrap_or_default());
    }
}

fn swap_words(input: &mut Vec<u8>, rng: &mut Rng) {
    let (one, two) = (token(input, rng), token(input, rng));
    swap(input, one, two);
}

fn swap_lines(input: &mut Vec<u8>, rng: &mut Rng) {
    let (one, two) = (lines(input, rng), lines(input, rng));
    swap(input, one, two);
}

fn swap(input: &mut Vec<u8>, one: Range<usize>, two: Range<usize>) {
    let (first, last) = if one.start <= two.start { (one, two) } else { (two, one) };
    if first.end <= last.start {
        let (a, b) =
            (input.get(first.clone()).unwrap_or_default().to_vec(), input.get(last.clone()).unwrap_or_default());
        let b = b.to_vec();
        splice(input, last, &a);
        splice(input, first, &b);
    }
}

/// Puts a token into many nested values.
fn nest(input: &mut Vec<u8>, rng: &mut Rng) {
    let (open, close) = rng.choice(NESTS).unwrap_or_default();
    let depth = if rng.u8(0..8) == 0 { rng.usize(100..2000) } else { rng.usize(1..6) };
    let range = token(input, rng);
    splice(input, range.end..range.end, close.repeat(depth).as_bytes());
    splice(input, range.start..range.start, open.repeat(depth).as_bytes());
}

/// Moves a line in or out.
fn indent(input: &mut Vec<u8>, rng: &mut Rng) {
    let at = lines(input, rng).start;
    if rng.bool() {
        splice(input, at..at, " ".repeat(rng.usize(1..5)).as_bytes());
    } else if input.get(at) == Some(&b' ') {
        splice(input, at..=at, &[]);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Digit,
    Letter,
    Space,
    Other,
}

fn class(byte: u8) -> Class {
    match byte {
        b'0'..=b'9' => Class::Digit,
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'-' | 0x80.. => Class::Letter,
        b' ' | b'\n' | b'\r' | b'\t' => Class::Space,
        _ => Class::Other,
    }
}

fn is_number(text: &[u8], token: &Range<usize>) -> bool {
    text.get(token.start).is_some_and(u8::is_ascii_digit)
}

/// Runs of one class; other characters alone.
fn tokens(text: &[u8]) -> Vec<Range<usize>> {
    let mut tokens: Vec<Range<usize>> = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        let class_here = class(*byte);
        match tokens.last_mut() {
            Some(last) if class_here != Class::Other && text.get(last.start).map(|b| class(*b)) == Some(class_here) => {
                last.end = at + 1;
            }
            _ => tokens.push(at..at + 1),
        }
    }
    tokens
}

fn token(text: &[u8], rng: &mut Rng) -> Range<usize> {
    let solid: Vec<_> = tokens(text)
        .into_iter()
        .filter(|token| text.get(token.start).map(|b| class(*b)) != Some(Class::Space))
        .collect();
    rng.choice(solid).unwrap_or(0..0)
}

/// One to eight tokens.
fn words(text: &[u8], rng: &mut Rng) -> Range<usize> {
    let tokens = tokens(text);
    let first = rng.usize(0..=tokens.len());
    let last = (first + rng.usize(0..8)).min(tokens.len().saturating_sub(1));
    match (tokens.get(first), tokens.get(last)) {
        (Some(first), Some(last)) => first.start..last.end,
        _ => 0..0,
    }
}

/// One line or several, with their ends.
fn lines(text: &[u8], rng: &mut Rng) -> Range<usize> {
    let mut starts = vec![0];
    starts.extend(text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1));
    let first = rng.usize(0..starts.len());
    let start = starts.get(first).copied().unwrap_or_default();
    let last = first + if rng.u8(0..4) == 0 { rng.usize(1..12) } else { 1 };
    start..starts.get(last).copied().unwrap_or(text.len())
}
