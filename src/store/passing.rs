//! A blob that is read as it comes and kept nowhere.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::arrival::NotArrived;

/// Pieces that wait for the reader at most.
const PIECES: usize = 16;

/// Bytes of a piece at most.
const PIECE_BYTES: usize = 64 << 10;

enum Piece {
    Data(Vec<u8>),
    /// Everything came, and is what was promised.
    End,
}

/// Makes both ends of a blob that passes by. At most 1 MiB is held between them.
pub fn passing_blob() -> (PassingWriter, PassingReader) {
    let (sender, receiver) = sync_channel(PIECES);
    let reader = PassingReader { receiver, current: io::Cursor::default(), has_ended: false };
    (PassingWriter { sender }, reader)
}

/// The end that is written to; waits for the reader. Dropped before [`Self::commit`], it gives the
/// blob up.
#[derive(Debug)]
pub struct PassingWriter {
    sender: SyncSender<Piece>,
}

impl PassingWriter {
    /// Says that the blob is whole and verified.
    pub fn commit(self) {
        // A reader that has gone does not want to know.
        let _ = self.sender.send(Piece::End);
    }
}

impl Write for PassingWriter {
    /// Takes bytes whether or not anybody reads them still: whether the blob is the right one is to
    /// be found out all the same, since it may be why the reader has gone.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE_BYTES);
        let _ = self.sender.send(Piece::Data(bytes.get(..length).unwrap_or_default().to_vec()));
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end that is read from. Comes to its end only after [`PassingWriter::commit`]; else it fails
/// with [`NotArrived`].
#[derive(Debug)]
pub struct PassingReader {
    receiver: Receiver<Piece>,
    current: io::Cursor<Vec<u8>>,
    has_ended: bool,
}

impl Read for PassingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.current.read(buffer)?;
            if count > 0 || buffer.is_empty() || self.has_ended {
                return Ok(count);
            }
            match self.receiver.recv() {
                Ok(Piece::Data(bytes)) => self.current = io::Cursor::new(bytes),
                Ok(Piece::End) => self.has_ended = true,
                Err(_) => return Err(io::Error::other(NotArrived)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_to_its_end() {
        let (mut writer, mut reader) = passing_blob();
        let sent: Vec<u8> = (0..3_000_000u32).map(|number| number.to_le_bytes()[0]).collect();
        let written = sent.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(&written).unwrap();
            writer.commit();
        });
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        writing.join().unwrap();
        assert!(read == sent);
    }

    #[test]
    fn what_was_given_up_has_no_end() {
        let (mut writer, mut reader) = passing_blob();
        writer.write_all(b"half").unwrap();
        drop(writer);
        let mut read = Vec::new();
        let error = reader.read_to_end(&mut read).unwrap_err();
        assert!(error.get_ref().unwrap().is::<NotArrived>(), "{error}");
        assert_eq!(read, b"half");
    }

    #[test]
    fn a_writer_outlives_its_reader() {
        let (mut writer, reader) = passing_blob();
        drop(reader);
        writer.write_all(&vec![0; 40 * PIECE_BYTES]).unwrap();
        writer.commit();
    }
}
