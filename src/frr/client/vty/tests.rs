use super::*;
use tokio::net::UnixListener;

const LIMIT: Duration = Duration::from_secs(5);

/// A daemon that echoes each command with status 0 and closes the connection after `answers` of them.
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

async fn exchange_with(answers: usize, commands: &[&str], limit: Duration) -> Result<Vec<Reply>, VtyError> {
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
    let replies = exchange_with(usize::MAX, &commands, LIMIT).await.unwrap();
    assert_eq!(replies, vec![Reply { text: line.clone(), status: ReplyStatus::Success }; 3000]);
}

#[tokio::test]
async fn a_connection_that_is_closed_is_reported_with_the_outstanding_replies() {
    let error = exchange_with(3, &["a", "b", "c", "d"], LIMIT).await.unwrap_err();
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
