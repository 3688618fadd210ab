//! A tar archive, compressed with gzip. In: names and texts. Out: bytes.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Bytes of a block (POSIX.1-2017, pax, section "ustar Interchange Format").
const BLOCK: usize = 512;

/// The files below a folder, with this modification time. Names are short and relative.
pub fn tar_gz(folder: &str, files: &[(String, String)], time: u64) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory does not fail.
    for (name, text) in files {
        let _ = encoder.write_all(&header(folder, name, text.len(), time));
        let _ = encoder.write_all(text.as_bytes());
        let _ = encoder.write_all(&vec![0; text.len().next_multiple_of(BLOCK) - text.len()]);
    }
    let _ = encoder.write_all(&[0; 2 * BLOCK]);
    encoder.finish().unwrap_or_default()
}

fn header(folder: &str, name: &str, size: usize, time: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8], most: usize| {
        for (place, byte) in block.iter_mut().skip(at).zip(text.iter().take(most)) {
            *place = *byte;
        }
    };
    put(0, name.as_bytes(), 100);
    put(100, b"0000600\0", 8);
    put(108, b"0000000\0", 8);
    put(116, b"0000000\0", 8);
    put(124, format!("{size:011o}\0").as_bytes(), 12);
    put(136, format!("{time:011o}\0").as_bytes(), 12);
    put(148, b"        ", 8);
    put(156, b"0", 1);
    put(257, b"ustar\x0000", 8);
    put(345, folder.as_bytes(), 155);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    for (place, byte) in block.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
        *place = byte;
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn tar_reads_the_archive() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(1500);
        let files = [("a.txt".to_owned(), "one\n".to_owned()), ("frr/b.conf".to_owned(), long.clone())];
        let path = dir.path().join("a.tar.gz");
        std::fs::write(&path, tar_gz("folder", &files, 1_795_876_674)).unwrap();
        let status = Command::new("tar").arg("-xzf").arg(&path).arg("-C").arg(dir.path()).stdin(Stdio::null()).status();
        assert!(status.unwrap().success());
        let text = |name: &str| std::fs::read_to_string(dir.path().join("folder").join(name)).unwrap();
        assert_eq!((text("a.txt").as_str(), text("frr/b.conf")), ("one\n", long));
    }
}
