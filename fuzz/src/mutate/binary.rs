//! Mutations of aligned fields. Netlink attributes and message headers begin at multiples of four bytes with their length.

use fastrand::Rng;

use super::splice;

/// Lengths that end an attribute early, late, or in its own header.
const SHORTS: [u16; 12] = [0, 1, 2, 3, 4, 5, 8, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff];
const WORDS: [u32; 8] = [0, 1, 15, 16, 17, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

pub(super) fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let at = aligned(input.len(), rng);
    let rest = input.len() - at;
    match rng.u8(0..9) {
        // A length that is close to the right one, or an extreme one.
        0 => {
            let near = u16::try_from(rest).unwrap_or(u16::MAX).saturating_add(rng.u16(0..6)).saturating_sub(3);
            let length = if rng.bool() { near } else { rng.choice(SHORTS).unwrap_or_default() };
            overwrite(input, at, &length.to_ne_bytes());
        }
        1 => overwrite(input, at, &rng.choice(WORDS).unwrap_or_default().to_ne_bytes()),
        2 => overwrite(input, at, &u32::try_from(rest).unwrap_or(u32::MAX).to_ne_bytes()),
        // The kind of an attribute, with and without its flags.
        3 => overwrite(input, at + 2, &(rng.u16(0..80) | (rng.u16(0..4) << 14)).to_ne_bytes()),
        4 => splice(input, at..at + rest.min(4 * rng.usize(1..6)), &[]),
        5 => {
            let copy = input.get(at..at + rest.min(4 * rng.usize(1..12))).unwrap_or_default().to_vec();
            splice(input, at..at, &copy);
        }
        6 => {
            let from = aligned(other.len(), rng);
            let taken = other.get(from..(from + 4 * rng.usize(1..16)).min(other.len())).unwrap_or_default();
            splice(input, at..at, taken);
        }
        // The rest becomes the value of an attribute.
        7 => {
            let length = u16::try_from(rest + 4).unwrap_or(u16::MAX).to_ne_bytes();
            let kind = (rng.u16(0..80) | 0x8000).to_ne_bytes();
            splice(input, at..at, &[length, kind].concat());
        }
        _ => {
            if let Some(byte) = input.get_mut(at + rng.usize(0..4)) {
                *byte = rng.u8(..);
            }
        }
    }
}

fn aligned(length: usize, rng: &mut Rng) -> usize {
    4 * rng.usize(0..=length / 4)
}

fn overwrite(input: &mut [u8], at: usize, by: &[u8]) {
    if let Some(bytes) = input.get_mut(at..at + by.len()) {
        bytes.copy_from_slice(by);
    }
}
