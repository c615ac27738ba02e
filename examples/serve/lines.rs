//! What the two chats read: lines of a bounded length.

use std::io::{self, BufRead, Read};

/// Bytes of a line that are taken; the rest is another line.
const MOST: u64 = 1024;

/// The next line, without its end; `None` at the end of the stream. What is not UTF-8 is replaced.
pub(crate) fn line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if reader.by_ref().take(MOST).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&bytes).trim_end().to_owned()))
}
