//! One descriptor, from the executor to the supervisor.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Something has to be sent for a descriptor to go with.
const COMPANION: &[u8; 1] = b"d";

/// Sends a copy of `descriptor`; the other end has to expect it.
pub(super) fn send(socket: impl AsFd, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = rustix::io::retry_on_intr(|| {
        sendmsg(&socket, &[IoSlice::new(COMPANION)], &mut ancillary, SendFlags::NOSIGNAL)
    })?;
    if sent == COMPANION.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Takes the descriptor that was sent after what has been read so far.
pub(super) fn receive(socket: impl AsFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut companion = [0; COMPANION.len()];
    rustix::io::retry_on_intr(|| {
        let mut room = [IoSliceMut::new(&mut companion)];
        recvmsg(&socket, &mut room, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut received = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    received
        .next()
        .and_then(|mut descriptors| descriptors.next())
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_descriptor_arrives_after_what_was_written_before_it() {
        let (mut near, mut far) = UnixStream::pair().expect("sockets");
        let (mut reader, mut writer) = io::pipe().expect("a pipe");
        near.write_all(b"request").expect("room");
        send(&near, writer.as_fd()).expect("sent");
        writer.write_all(b"one ").expect("room");
        drop(writer);
        let mut request = [0; 7];
        far.read_exact(&mut request).expect("it was written");
        let mut copy = std::fs::File::from(receive(&far).expect("a descriptor"));
        copy.write_all(b"pipe").expect("room");
        drop(copy);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        assert_eq!((&request, text.as_str()), (b"request", "one pipe"));
        near.write_all(b"x").expect("room");
        assert!(receive(&far).is_err());
    }
}
