//! The messages in a stream of OVSDB: JSON objects one after the other, without a separator. In: bytes as they arrive. Out: complete
//! messages as bytes. Does not check that they are JSON. Pure.

/// Bytes that arrived, and how far they were searched for the end of a message.
#[derive(Debug, Default)]
pub struct Framing {
    bytes: Vec<u8>,
    searched: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Framing {
    /// Adds bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// How many bytes are waiting for the rest of their message.
    pub fn waiting(&self) -> usize {
        self.bytes.len()
    }

    /// The next complete message.
    pub fn next_message(&mut self) -> Option<Vec<u8>> {
        while let Some(byte) = self.bytes.get(self.searched) {
            self.searched += 1;
            if self.ends_with(*byte) {
                let rest = self.bytes.split_off(self.searched);
                self.searched = 0;
                return Some(std::mem::replace(&mut self.bytes, rest));
            }
        }
        None
    }

    /// Whether a message ends with this byte.
    fn ends_with(&mut self, byte: u8) -> bool {
        match (self.in_string, byte) {
            (true, _) if self.escaped => self.escaped = false,
            (true, b'\\') => self.escaped = true,
            (true, b'"') => self.in_string = false,
            (false, b'"') => self.in_string = true,
            (false, b'{' | b'[') => self.depth += 1,
            (false, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    proptest! {
        #[test]
        fn messages_are_found_however_they_arrive(
            texts in proptest::collection::vec(".*", 0..4),
            lengths in proptest::collection::vec(1usize..9, 1..40),
        ) {
            let messages: Vec<Value> = texts.iter().map(|text| json!({"id": [text, {"}": "\\\""}], text: {}})).collect();
            let stream: Vec<u8> = messages.iter().flat_map(|message| message.to_string().into_bytes()).collect();
            let (mut framing, mut found, mut rest) = (Framing::default(), vec![], &stream[..]);
            for length in lengths.into_iter().cycle() {
                let (now, later) = rest.split_at(length.min(rest.len()));
                framing.extend(now);
                while let Some(message) = framing.next_message() {
                    found.push(serde_json::from_slice::<Value>(&message).unwrap());
                }
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!((found, framing.waiting()), (messages, 0));
        }
    }
}
