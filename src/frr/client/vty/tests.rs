use super::*;
use proptest::prelude::*;
use tokio::net::UnixListener;

const LIMIT: Duration = Duration::from_secs(5);

fn framed(reply: &Reply) -> Vec<u8> {
    let status = match reply.status {
        ReplyStatus::Success => 0,
        ReplyStatus::Warning => 1,
        ReplyStatus::Unknown => 2,
        ReplyStatus::Incomplete => 4,
        ReplyStatus::Refused => 13,
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
        let mut decoder = Decoder::default();
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
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        while let Ok(Some(_)) = decoder.next_reply() {}
    }
}

#[test]
fn a_lone_nul_is_no_end_of_a_reply() {
    let mut decoder = Decoder::default();
    decoder.push(b"text\0more");
    assert_eq!(decoder.next_reply(), Err(FramingError::Terminator));
}

#[test]
fn a_command_cannot_smuggle_another() {
    for bad in ["a\nb", "a\0b", "a\rb"] {
        assert_eq!(encode(bad, &mut Vec::new()), Err(FramingError::Command));
    }
}

/// A daemon that answers each command with its text and status 0, and stops after `answers` of them.
async fn daemon(listener: UnixListener, answers: usize) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut pending = Vec::new();
    let mut buffer = [0; 1024];
    for _ in 0..answers {
        let end = loop {
            if let Some(end) = pending.iter().position(|byte| *byte == 0) {
                break end;
            }
            let n = stream.read(&mut buffer).await.unwrap();
            if n == 0 {
                return;
            }
            pending.extend_from_slice(&buffer[..n]);
        };
        let mut answer: Vec<u8> = pending.drain(..=end).collect();
        answer.extend([0, 0, 0]);
        stream.write_all(&answer).await.unwrap();
    }
}

async fn talk(answers: usize, commands: &[&str], limit: Duration) -> Result<Vec<Reply>, VtyError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bgpd.vty");
    let serving = tokio::spawn(daemon(UnixListener::bind(&path).unwrap(), answers));
    let mut vty = Vty::connect(&path, LIMIT).await?;
    let result = vty.run_all(commands, limit).await;
    serving.abort();
    result
}

#[tokio::test]
async fn a_batch_larger_than_every_buffer_does_not_block() {
    let line = "x".repeat(1000);
    let commands = vec![line.as_str(); 3000];
    let replies = talk(usize::MAX, &commands, LIMIT).await.unwrap();
    assert_eq!(replies, vec![Reply { text: line.clone(), status: ReplyStatus::Success }; 3000]);
}

#[tokio::test]
async fn a_daemon_that_ends_in_between_is_told_with_what_was_missing() {
    let error = talk(3, &["a", "b", "c", "d"], LIMIT).await.unwrap_err();
    assert!(matches!(error, VtyError::Closed { missing: 2, .. } | VtyError::Io { .. }), "{error}");
}

#[tokio::test]
async fn no_daemon_and_a_silent_daemon_are_errors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bgpd.vty");
    assert!(matches!(Vty::connect(&path, LIMIT).await, Err(VtyError::Connect { .. })));
    let _listener = UnixListener::bind(&path).unwrap();
    let short = Duration::from_millis(20);
    assert!(matches!(Vty::connect(&path, short).await, Err(VtyError::Deadline { .. })));
}
