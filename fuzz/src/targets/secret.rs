//! Passwords, from files and Secrets. What is accepted is one word for FRR, and it is not shown.

use perouter::source::secret::password;
use perouter::types::Secret;

use crate::Target;
use crate::mutate::Format;

pub const TARGET: Target =
    Target { name: "secret", format: Format::Text, max_input: 256, run, more_seeds: super::no_more_seeds };

fn run(input: &[u8]) {
    let Ok(secret) = password(input) else { return };
    let clear = secret.expose();
    assert!((1..=80).contains(&clear.len()) && clear.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(input.starts_with(clear.as_bytes()));
    assert_eq!(format!("{secret:?}"), format!("{:?}", Secret::new(String::new())), "a password is shown");
}
