//! The framing of a vty socket, without input or output: usable from blocking and from async code. A command is its text and
//! NUL. A reply is text, three NULs and a status byte. Commands may be sent one after the other without waiting; replies come
//! in order. Pure.

use std::fmt;

use thiserror::Error;

use crate::printable::masked;

/// NULs at the end of a reply's text, before the status byte.
const TERMINATOR: usize = 3;
/// Bytes that are read at once, at least.
const ROOM: usize = 4096;

/// Bytes of a reply, at most: far more than the routes of a node.
const MAX_REPLY: usize = 256 << 20;

/// Why bytes are no command or no reply.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum FramingError {
    /// The text of a reply ends with three NULs.
    #[error("a NUL that is not followed by two others")]
    Terminator,
    /// A daemon, or what is in its place, would fill the memory.
    #[error("a reply of more than {0} bytes")]
    TooLong(usize),
    /// A command would end early.
    #[error("a command that contains a NUL or a line break")]
    Command,
}

/// The status of a command (`CMD_*` in FRR's `command.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReplyStatus {
    /// Done.
    Success,
    /// Nothing to do: what it would remove does not exist, or the state is the wanted one already.
    Warning,
    /// No such command in this context.
    Unknown,
    /// More words are needed.
    Incomplete,
    /// Known and rejected; the text says why.
    Rejected,
    /// Any other.
    Other(u8),
}

impl From<u8> for ReplyStatus {
    fn from(byte: u8) -> Self {
        match byte {
            0 => Self::Success,
            1 => Self::Warning,
            2 => Self::Unknown,
            4 => Self::Incomplete,
            13 => Self::Rejected,
            other => Self::Other(other),
        }
    }
}

impl ReplyStatus {
    /// The state after the command is the wanted one.
    pub fn is_ok(self) -> bool {
        matches!(self, Self::Success | Self::Warning)
    }
}

/// The reply to one command. `Debug` masks passwords, which a configuration contains.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// What a terminal would show.
    pub text: String,
    /// The status.
    pub status: ReplyStatus,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("text", &masked(&self.text)).field("status", &self.status).finish()
    }
}

/// Decodes replies from bytes that arrive in pieces of any size.
#[derive(Debug)]
pub struct ReplyDecoder {
    /// Bytes of a reply, at most.
    limit: usize,
    bytes: Vec<u8>,
    /// Where the next reply begins.
    start: usize,
    /// Bytes from there to this one are known not to be NUL.
    searched: usize,
}

impl Default for ReplyDecoder {
    fn default() -> Self {
        Self { limit: MAX_REPLY, bytes: Vec::new(), start: 0, searched: 0 }
    }
}

impl ReplyDecoder {
    /// Appends received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The buffer, with room for a read that appends to it.
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        self.bytes.reserve(ROOM);
        &mut self.bytes
    }

    /// The next complete reply.
    ///
    /// # Errors
    /// If the bytes are not framed as vty replies.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, FramingError> {
        let rest = self.bytes.get(self.searched..).unwrap_or_default();
        let Some(at) = memchr::memchr(0, rest) else {
            self.searched = self.bytes.len();
            let too_long = self.searched - self.start > self.limit;
            return if too_long { Err(FramingError::TooLong(self.limit)) } else { Ok(None) };
        };
        let end = self.searched + at;
        self.searched = end;
        let Some(trailer) = self.bytes.get(end..=end + TERMINATOR) else { return Ok(None) };
        let (nuls, status) = trailer.split_at(TERMINATOR);
        if nuls.iter().any(|byte| *byte != 0) {
            return Err(FramingError::Terminator);
        }
        let status = ReplyStatus::from(status.first().copied().unwrap_or_default());
        let next = end + TERMINATOR + 1;
        let text = if self.start == 0 && next == self.bytes.len() {
            // The configuration of hundreds of IP-VRFs is not copied, and its buffer is not kept for the next short reply.
            let mut text = std::mem::take(&mut self.bytes);
            text.truncate(end);
            text
        } else {
            self.bytes.get(self.start..end).unwrap_or_default().to_vec()
        };
        let is_last = next >= self.bytes.len();
        if is_last {
            self.bytes = Vec::new();
        }
        self.start = if is_last { 0 } else { next };
        self.searched = self.start;
        let text =
            String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Ok(Some(Reply { text, status }))
    }
}

/// The bytes of one command.
///
/// # Errors
/// If the command contains a NUL or a line break, which would make two commands of it.
pub fn encode_command(command: &str) -> Result<Vec<u8>, FramingError> {
    if command.contains(['\0', '\n', '\r']) {
        return Err(FramingError::Command);
    }
    Ok([command.as_bytes(), &[0]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(reply: &Reply) -> Vec<u8> {
        let status = match reply.status {
            ReplyStatus::Success => 0,
            ReplyStatus::Warning => 1,
            ReplyStatus::Unknown => 2,
            ReplyStatus::Incomplete => 4,
            ReplyStatus::Rejected => 13,
            ReplyStatus::Other(byte) => byte,
        };
        [reply.text.as_bytes(), &[0, 0, 0, status]].concat()
    }

    fn reply() -> impl Strategy<Value = Reply> {
        ("[ -~\n]{0,40}", any::<u8>()).prop_map(|(text, byte)| Reply { text, status: ReplyStatus::from(byte) })
    }

    proptest! {
        #[test]
        fn replies_come_whole_however_the_bytes_are_split(
            replies in prop::collection::vec(reply(), 0..8),
            sizes in prop::collection::vec(1usize..9, 1..60),
        ) {
            let bytes: Vec<u8> = replies.iter().flat_map(framed).collect();
            let mut decoder = ReplyDecoder::default();
            let mut got = Vec::new();
            let mut rest = bytes.as_slice();
            for size in sizes.iter().cycle() {
                let (now, later) = rest.split_at((*size).min(rest.len()));
                decoder.push(now);
                while let Some(reply) = decoder.next_reply().unwrap() {
                    got.push(reply);
                }
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(got, replies);
        }

        #[test]
        fn any_bytes_are_taken_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = ReplyDecoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_reply() {}
        }
    }

    #[test]
    fn debug_output_has_no_password() {
        let reply = Reply { text: " neighbor A password hunter2\n".to_owned(), status: ReplyStatus::Success };
        assert!(!format!("{reply:?}").contains("hunter2"));
    }

    #[test]
    fn a_lone_nul_is_no_end_of_a_reply() {
        let mut decoder = ReplyDecoder::default();
        decoder.push(b"text\0more");
        assert_eq!(decoder.next_reply(), Err(FramingError::Terminator));
    }

    #[test]
    fn a_reply_that_does_not_end_is_an_error() {
        let mut decoder = ReplyDecoder { limit: 10, ..ReplyDecoder::default() };
        decoder.push(b"one\0\0\0\0two");
        assert_eq!(decoder.next_reply().unwrap().unwrap().text, "one");
        decoder.push(b"345678");
        assert_eq!(decoder.next_reply(), Ok(None));
        decoder.push(b"9x");
        assert_eq!(decoder.next_reply(), Err(FramingError::TooLong(10)));
    }

    #[test]
    fn a_command_cannot_smuggle_another() {
        for bad in ["a\nb", "a\0b", "a\rb"] {
            assert_eq!(encode_command(bad), Err(FramingError::Command));
        }
    }
}
