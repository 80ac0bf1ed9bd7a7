//! Cuts lines out of a byte stream.
//!
//! It must not hold more than its limit, nor look into a line.

use bytes::{Buf, Bytes, BytesMut};

use crate::session::PeerError;

/// Longest line that a server takes from a miner, in bytes without the line end. The longest real
/// request is below 1 KiB.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// Bytes that have arrived and are no whole line yet.
#[derive(Debug)]
pub struct LineBuffer {
    input: BytesMut,
    /// So many bytes of `input` are known to hold no line end.
    scanned: usize,
    line_bytes_max: usize,
}

impl LineBuffer {
    /// Takes lines of at most `line_bytes_max` bytes.
    pub fn new(line_bytes_max: usize) -> Self {
        Self { input: BytesMut::new(), scanned: 0, line_bytes_max }
    }

    /// Takes bytes from the peer.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Bytes that wait to be taken as lines.
    pub fn len(&self) -> usize {
        self.input.len()
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// Takes the next line that is not empty, without its `\n` or `\r\n`.
    ///
    /// A line over the limit and a NUL byte end the connection: neither is JSON text.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, PeerError> {
        loop {
            let unscanned = self.input.get(self.scanned..).unwrap_or_default();
            let Some(offset) = memchr::memchr(b'\n', unscanned) else {
                self.scanned = self.input.len();
                // One byte more than the limit may still be the `\r` of a line end.
                return match self.scanned > self.line_bytes_max.saturating_add(1) {
                    true => Err(PeerError::OverLimit("bytes of a line")),
                    false => Ok(None),
                };
            };
            let mut line = self.input.split_to(self.scanned + offset);
            self.input.advance(1);
            self.scanned = 0;
            if line.ends_with(b"\r") {
                line.truncate(line.len() - 1);
            }
            if line.len() > self.line_bytes_max {
                return Err(PeerError::OverLimit("bytes of a line"));
            }
            if memchr::memchr(0, &line).is_some() {
                return Err(PeerError::Misbehaved("a NUL byte in a line"));
            }
            if !line.is_empty() {
                return Ok(Some(line.freeze()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Result<Vec<Bytes>, PeerError> {
        let mut buffer = LineBuffer::new(10);
        let mut lines = Vec::new();
        for chunk in chunks {
            buffer.receive(chunk);
            while let Some(line) = buffer.next_line()? {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    #[test]
    fn both_line_ends_are_taken_and_empty_lines_skipped() {
        let taken = lines(&[b"one\ntwo\r\n\n\r\nthree\n"]).unwrap();
        assert_eq!(taken, ["one", "two", "three"]);
    }

    #[test]
    fn a_line_may_arrive_in_any_fragments() {
        let taken = lines(&[b"o", b"ne\r", b"\nt", b"wo", b"\n"]).unwrap();
        assert_eq!(taken, ["one", "two"]);
    }

    #[test]
    fn a_line_over_the_limit_is_refused_whether_whole_or_not() {
        assert!(lines(&[b"0123456789\r\n"]).is_ok());
        for chunks in [&[b"0123456789a\n".as_slice()], &[b"0123456789ab".as_slice()]] {
            assert!(matches!(lines(chunks), Err(PeerError::OverLimit(_))));
        }
    }

    #[test]
    fn a_nul_byte_is_refused() {
        assert!(matches!(lines(&[b"a\0b\n"]), Err(PeerError::Misbehaved(_))));
    }
}
