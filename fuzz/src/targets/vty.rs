//! What a daemon sends on its vty socket. The replies are the same however the bytes arrive, and no command contains another.

use perouter::frr::client::vty::framing::{FramingError, Reply, ReplyDecoder, encode_command};

use crate::Target;
use crate::mutate::Format;

pub const TARGET: Target =
    Target { name: "vty", format: Format::Binary, max_input: 8192, run, more_seeds: super::no_more_seeds };

fn run(input: &[u8]) {
    let whole = decode([input]);
    let size = input.first().map_or(1, |byte| usize::from(*byte) % 19 + 1);
    assert_eq!(whole, decode(input.chunks(size)));
    if let Ok(command) = encode_command(&String::from_utf8_lossy(input)) {
        assert_eq!(command.iter().position(|byte| *byte == 0), Some(command.len() - 1));
    }
}

/// All replies, and how it ended.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Reply>, Option<FramingError>) {
    let (mut decoder, mut replies) = (ReplyDecoder::default(), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_reply() {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                // The connection is closed then.
                Err(error) => return (replies, Some(error)),
            }
        }
    }
    (replies, None)
}
