//! `struct inotify_event`.

use super::{EventError, take_i32, take_slice, take_u32, until_nul};

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InotifyEvent<'a> {
    /// The watch, -1 for an overflow.
    pub(crate) descriptor: i32,
    /// What happened (`IN_*`).
    pub(crate) mask: u32,
    /// The name in the watched directory; empty when it is about the watched inode itself.
    pub(crate) name: &'a [u8],
}

/// The events in what one `read` returned. Ends after an error.
#[derive(Debug, Clone)]
pub(crate) struct InotifyEvents<'a> {
    rest: &'a [u8],
}

impl<'a> InotifyEvents<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn parse(&mut self) -> Result<InotifyEvent<'a>, EventError> {
        let descriptor = take_i32(&mut self.rest)?;
        let mask = take_u32(&mut self.rest)?;
        let _cookie = take_u32(&mut self.rest)?;
        let length = take_u32(&mut self.rest)?;
        let length = usize::try_from(length).map_err(|_| EventError::Length)?;
        let name = until_nul(take_slice(&mut self.rest, length)?);
        Ok(InotifyEvent { descriptor, mask, name })
    }
}

impl<'a> Iterator for InotifyEvents<'a> {
    type Item = Result<InotifyEvent<'a>, EventError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let event = self.parse();
        if event.is_err() {
            self.rest = &[];
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(descriptor: i32, mask: u32, name: &[u8]) -> Vec<u8> {
        let length = u32::try_from(name.len()).expect("short");
        let numbers = [descriptor.to_ne_bytes(), mask.to_ne_bytes(), [0; 4], length.to_ne_bytes()];
        [&numbers.concat(), name].concat()
    }

    #[test]
    fn records_are_read_one_after_another() {
        let bytes = [
            record(1, 2, b""),
            record(7, 0x4000_0100, b"name\0\0\0\0\0\0\0\0\0\0\0\0"),
            record(-1, 0x4000, b""),
            record(8, 1, b"sixteen-bytes-ok"),
        ]
        .concat();
        let events: Result<Vec<_>, _> = InotifyEvents::new(&bytes).collect();
        let event = |descriptor, mask, name| InotifyEvent { descriptor, mask, name };
        let expected = [
            event(1, 2, &b""[..]),
            event(7, 0x4000_0100, b"name"),
            event(-1, 0x4000, b""),
            event(8, 1, b"sixteen-bytes-ok"),
        ];
        assert_eq!(events.as_deref(), Ok(&expected[..]));
    }

    #[test]
    fn lengths_that_cannot_be_are_errors() {
        let whole = record(1, 2, b"name\0\0\0\0");
        for length in 1..whole.len() {
            let events: Vec<_> = InotifyEvents::new(&whole[..length]).collect();
            assert_eq!(events, [Err(EventError::Length)], "{length}");
        }
        let mut endless = record(1, 2, b"");
        endless[12..].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(InotifyEvents::new(&endless).next(), Some(Err(EventError::Length)));
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            // At least one header's bytes for each event.
            prop_assert!(InotifyEvents::new(&bytes).count() <= bytes.len().div_ceil(16));
        }
    }
}
