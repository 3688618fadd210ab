//! The value of a plain scalar as kubectl reads it. In: its text. Out: null, a boolean, a number or a string. kubectl reads YAML
//! with `sigs.k8s.io/yaml`, whose parser resolves scalars by YAML 1.1, less base 60 and dates, and whose JSON has one type of
//! numbers: `yes` is true, `010` is 8, `1_000` is 1000, `1e3` and `1.0` are whole. Pure.

use serde_json::{Number, Value};

/// The value; `None` for a number that JSON cannot represent.
pub(super) fn resolve(text: &str) -> Option<Value> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => true.into(),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => false.into(),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
        | "-.INF" => return None,
        _ => number(text).unwrap_or_else(|| text.into()),
    })
}

/// `resolve` of gopkg.in/yaml.v2: a scalar that begins with a digit, a sign or a point.
fn number(text: &str) -> Option<Value> {
    match text.as_bytes().first()? {
        b'0'..=b'9' | b'+' | b'-' => {
            let digits = text.replace('_', "");
            integer(&digits).or_else(|| float(&digits))
        }
        b'.' => float(text),
        _ => None,
    }
}

/// `strconv.ParseInt` and `ParseUint` with base 0.
fn integer(text: &str) -> Option<Value> {
    let (negative, unsigned) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let lower = unsigned.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, lower.get(2..)?),
        [b'0', b'o', ..] => (8, lower.get(2..)?),
        [b'0', b'b', ..] => (2, lower.get(2..)?),
        [b'0', _, ..] => (8, lower.get(1..)?),
        _ => (10, lower.as_str()),
    };
    // A second sign is not a digit.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if !negative {
        // An unsigned number has no sign.
        return (!text.starts_with('+') || i64::try_from(magnitude).is_ok()).then(|| magnitude.into());
    }
    i64::try_from(-i128::from(magnitude)).ok().map(Value::from)
}

fn float(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_float = is_digits(whole)
        && is_digits(fraction)
        && (!whole.is_empty() || !fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && is_digits(exponent));
    let value = text.parse::<f64>().ok().filter(|value| is_float && value.is_finite())?;
    // JSON has no whole numbers of another type. The digits of a large one take long.
    let is_whole = value.fract() == 0.0 && value.abs() <= 1e19;
    let as_integer = is_whole.then(|| format!("{value:.0}").parse::<i64>().ok()).flatten();
    as_integer.map(Number::from).or_else(|| Number::from_f64(value)).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case::nothing(&["", "~", "null", "NULL"], json!(null))]
    #[case::yes(&["y", "Yes", "ON", "true"], json!(true))]
    #[case::no(&["n", "No", "off", "FALSE"], json!(false))]
    #[case::leading_zero_is_octal(&["010", "0o10", "0_10", "0b1000", "0x8", "+8"], json!(8))]
    #[case::no_octal_digits(&["08", "8.0", "8.", "0.8e1", "80e-1"], json!(8))]
    #[case::separators(&["1_000", "1e3", "1__0_00", "1000."], json!(1000))]
    #[case::negative(&["-010", "-8", "-0x8", "-8.0"], json!(-8))]
    #[case::fraction(&[".5", "0.5", "5e-1", "+.5"], json!(0.5))]
    #[case::largest(&["18446744073709551615"], json!(18_446_744_073_709_551_615_u64))]
    #[case::larger(&["18446744073709551616"], json!(18_446_744_073_709_551_616_f64))]
    fn a_number_or_word_has_the_value_of_kubectl(#[case] texts: &[&str], #[case] value: Value) {
        for text in texts {
            assert_eq!(resolve(text), Some(value.clone()), "{text}");
        }
    }

    #[rstest]
    #[case::mixed_case(&["yEs", "tRUE", "nULL", "oN"])]
    #[case::no_base_60(&["12:30", "1:2:3", "64514:100"])]
    #[case::dates(&["2026-11-28", "2026-11-28T10:00:00Z"])]
    #[case::addresses(&["192.0.2.1", "010.0.0.1", "2001:db8::1"])]
    #[case::not_quite(&["-", "+", ".", "--1", "+-1", "0x", "0b2", "1e", "_1", "1e400", "0x1.8", "e1", "1.2.3", ".e1"])]
    fn any_other_is_a_string(#[case] texts: &[&str]) {
        for text in texts {
            assert_eq!(resolve(text), Some(json!(text)), "{text}");
        }
    }

    #[test]
    fn json_has_no_infinity() {
        assert_eq!([resolve(".inf"), resolve("-.INF"), resolve(".NaN")], [None, None, None]);
    }

    /// `kubectl_scalars.txt` has what `sigs.k8s.io/yaml` v1.4.0 makes of `a: SCALAR`, the words of YAML 1.1 and random ones. Each
    /// is read the same or rejected.
    #[test]
    fn scalars_are_those_of_kubectl() {
        let (mut same, mut rejected) = (0, Vec::new());
        for line in include_str!("kubectl_scalars.txt").lines() {
            let (scalar, wanted) = line.split_once('\t').unwrap();
            let ours = crate::source::yaml::parse(&format!("a: {scalar}\n")).ok();
            let Some(ours) = ours.map(|nodes| nodes[0].to_value()) else {
                rejected.push(scalar);
                continue;
            };
            let wanted: Value =
                serde_json::from_str(wanted).unwrap_or_else(|_| panic!("{scalar}: {ours}, rejected by kubectl"));
            let is_same = ours == wanted || ours["a"].is_number() && ours["a"].as_f64() == wanted["a"].as_f64();
            assert!(is_same, "{scalar}: {ours} instead of {wanted}");
            same += 1;
        }
        assert!(same > 500 && rejected.len() < 120, "{same} are the same, rejected: {rejected:?}");
    }
}
