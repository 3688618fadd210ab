//! Netlink attributes that no packet crate decodes. In: bytes. Out: numbers and values; and the way back. Pure.

use netlink_packet_core::{DefaultNla, Emitable, NlasIterator};

/// The attributes in `bytes`, without flags in their numbers, up to the first that is malformed.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(|attribute| {
        let attribute = attribute.ok()?;
        let (kind, end) = (attribute.kind(), usize::from(attribute.length()));
        Some((kind, attribute.into_inner().get(4..end)?))
    })
}

/// The bytes of attributes. A number carries its flags (`NLA_F_NESTED`).
pub fn emit_attributes(attributes: &[DefaultNla]) -> Vec<u8> {
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_attributes_end_the_list() {
        for bytes in [&[][..], &[1], &[0, 0, 1, 0], &[200, 0, 1, 0, b'x'], &[3, 0, 9, 0, 1, 1]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
        let bytes = emit_attributes(&[DefaultNla::new(1, vec![7]), DefaultNla::new(2, vec![])]);
        assert_eq!(attributes(&bytes).collect::<Vec<_>>(), [(1, &[7][..]), (2, &[])]);
        let cut = bytes.get(..bytes.len() - 1).unwrap();
        assert_eq!(attributes(cut).collect::<Vec<_>>(), [(1, &[7][..])]);
    }
}
