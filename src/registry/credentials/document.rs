//! Credentials handed over on an open descriptor, so that they are never on disk, in an argument or
//! in the environment.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use super::CredentialError;
use super::config_file::{ConfigFile, LARGEST_FILE};

/// Reads a document of the form of Docker's `config.json` from a descriptor to its end, and closes
/// it. The path names the descriptor in messages.
///
/// # Errors
/// When there is no such descriptor, it is neither a file nor a pipe, or what it gives is no
/// configuration. Nothing at all is an error too: a pipe that somebody forgot to fill.
pub(super) fn read(descriptor: u32) -> Result<(PathBuf, ConfigFile), CredentialError> {
    let path = match descriptor {
        0 => PathBuf::from("/dev/stdin"),
        other => PathBuf::from(format!("/dev/fd/{other}")),
    };
    let text =
        bytes(descriptor).map_err(|source| CredentialError::Read { path: path.clone(), source })?;
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(CredentialError::Empty { path });
    }
    match ConfigFile::parse(&text) {
        Ok(config) => Ok((path, config)),
        Err(source) => Err(CredentialError::Parse { path, source }),
    }
}

fn bytes(descriptor: u32) -> io::Result<Vec<u8>> {
    if descriptor == 0 {
        return limited(io::stdin().lock());
    }
    // Opened anew, because a number alone is no claim on a descriptor.
    let file = File::open(format!("/proc/self/fd/{descriptor}"))?;
    let text = limited(file);
    // Whoever passed it on has given it up. It stays open only if it is not ours to close.
    if let Ok(descriptor) = i32::try_from(descriptor) {
        let _ = nix::unistd::close(descriptor);
    }
    text
}

fn limited(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let count = reader.take(LARGEST_FILE + 1).read_to_end(&mut text)?;
    if u64::try_from(count).is_ok_and(|count| count <= LARGEST_FILE) {
        Ok(text)
    } else {
        Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::{AsRawFd, IntoRawFd};

    use super::*;
    use crate::registry::host::RegistryHost;

    /// Fills a pipe and reads its far end by number.
    fn through_a_pipe(text: &[u8]) -> (u32, Result<(PathBuf, ConfigFile), CredentialError>) {
        let (reader, mut writer) = io::pipe().unwrap();
        let bytes = text.to_vec();
        let filled = std::thread::spawn(move || writer.write_all(&bytes));
        let number = u32::try_from(reader.into_raw_fd()).unwrap();
        let read = read(number);
        // A reader that stops early breaks the pipe.
        let _ = filled.join().unwrap();
        (number, read)
    }

    #[test]
    fn a_document_comes_through_a_pipe_which_is_closed() {
        let text = br#"{"auths": {"r.example": {"auth": "dXNlcjpwYXNz"}}}"#;
        let (number, read) = through_a_pipe(text);
        let (path, config) = read.unwrap();
        assert_eq!(path, PathBuf::from(format!("/dev/fd/{number}")));
        let entry = config.entry(&RegistryHost::new("r.example"), "app").unwrap();
        assert!(entry.credential().unwrap().is_some());
    }

    #[test]
    fn what_is_no_document_is_named_by_its_descriptor() {
        let message = |text: &[u8]| {
            let (number, read) = through_a_pipe(text);
            read.unwrap_err().to_string().replace(&number.to_string(), "N")
        };
        assert_eq!(message(b" \n"), "`/dev/fd/N` gave no registry credentials");
        assert_eq!(message(b"{"), "cannot parse registry credentials in `/dev/fd/N`");
        let large = vec![b' '; usize::try_from(LARGEST_FILE).unwrap() + 1];
        assert_eq!(message(&large), "cannot read registry credentials from `/dev/fd/N`");
    }

    #[test]
    fn a_descriptor_that_is_not_open_or_no_stream_is_refused() {
        assert!(matches!(read(1_000_000), Err(CredentialError::Read { .. })));
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let number = u32::try_from(socket.as_raw_fd()).unwrap();
        assert!(matches!(read(number), Err(CredentialError::Read { .. })));
    }
}
