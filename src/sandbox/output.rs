//! The output of a step, cut into lines: bytes unchanged, memory bounded.

/// Longest piece that is handed on without having seen its newline.
const LIMIT_BYTES: usize = 64 << 10;

/// A piece of a step's output: a line with its newline, or a part of one when the line is longer
/// than 64 KiB or the output ended without a newline. The pieces, joined, are the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLine<'a> {
    /// The bytes, unchanged.
    pub bytes: &'a [u8],
}

/// Cuts a stream of chunks into lines.
#[derive(Default)]
pub(super) struct LineCutter {
    pending: Vec<u8>,
}

impl LineCutter {
    /// Takes the next chunk and hands on every line that it completes.
    pub fn push(&mut self, mut chunk: &[u8], on_output: &mut dyn FnMut(OutputLine<'_>)) {
        while !chunk.is_empty() {
            let line_end = chunk.iter().position(|&byte| byte == b'\n').map(|index| index + 1);
            let room = LIMIT_BYTES - self.pending.len();
            let taken = line_end.unwrap_or(chunk.len()).min(room);
            let (piece, rest) = chunk.split_at(taken);
            chunk = rest;
            let is_complete = piece.last() == Some(&b'\n') || taken == room;
            if is_complete && self.pending.is_empty() {
                on_output(OutputLine { bytes: piece });
            } else {
                self.pending.extend_from_slice(piece);
                if is_complete {
                    self.finish(on_output);
                }
            }
        }
    }

    /// Hands on what is left when the output has ended.
    pub fn finish(&mut self, on_output: &mut dyn FnMut(OutputLine<'_>)) {
        if !self.pending.is_empty() {
            on_output(OutputLine { bytes: &self.pending });
            self.pending.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(chunks: &[&[u8]], expected: &[&[u8]]) {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut cutter = LineCutter::default();
        let mut keep = |line: OutputLine<'_>| lines.push(line.bytes.to_vec());
        for chunk in chunks {
            cutter.push(chunk, &mut keep);
        }
        cutter.finish(&mut keep);
        assert_eq!(lines, expected);
    }

    #[test]
    fn lines_come_whole_and_unchanged() {
        check(&[], &[]);
        check(&[b""], &[]);
        check(&[b"a\nb\n"], &[b"a\n", b"b\n"]);
        check(&[b"a", b"b\nc", b"\n"], &[b"ab\n", b"c\n"]);
        check(&[b"\n\n"], &[b"\n", b"\n"]);
        check(&[b"a\r\nprogress\rmore"], &[b"a\r\n", b"progress\rmore"]);
        check(&[b"\xff\0\n", b"\xfe"], &[b"\xff\0\n", b"\xfe"]);
    }

    #[test]
    fn a_long_line_comes_in_pieces_of_bounded_size() {
        let long = vec![b'x'; LIMIT_BYTES + 3];
        check(&[&long, b"\ny"], &[&long[..LIMIT_BYTES], b"xxx\n", b"y"]);
        check(&[&long[..10], &long[10..], b"\n"], &[&long[..LIMIT_BYTES], b"xxx\n"]);
        check(&[&long[..LIMIT_BYTES], b"\n"], &[&long[..LIMIT_BYTES], b"\n"]);
    }
}
