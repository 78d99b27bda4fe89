//! `struct fanotify_event_metadata` with its file-identifier records.

use super::{EventError, take, take_i32, take_slice, take_u32, until_nul};

/// `FANOTIFY_METADATA_VERSION`.
const VERSION: u8 = 3;

/// Bytes of a record before what its kind has.
const RECORD_HEADER: usize = 4;

const INFO_FID: u8 = 1;
const INFO_DFID_NAME: u8 = 2;
const INFO_DFID: u8 = 3;

/// A file, as `name_to_handle_at(2)` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Handle<'a> {
    /// The file system's id.
    pub(crate) file_system: [i32; 2],
    /// How the file system has spelled the rest.
    pub(crate) handle_type: i32,
    /// Its own.
    pub(crate) bytes: &'a [u8],
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FanotifyEvent<'a> {
    /// What happened (`FAN_*`).
    pub(crate) mask: u64,
    /// The directory, and the name in it: `.` for the directory itself, empty where it is not told.
    pub(crate) entry: Option<(Handle<'a>, &'a [u8])>,
    /// What it happened to.
    pub(crate) target: Option<Handle<'a>>,
    /// A record of a kind that is not known was among them.
    pub(crate) has_unknown: bool,
}

/// The events in what one `read` returned. Ends after an error.
#[derive(Debug, Clone)]
pub(crate) struct FanotifyEvents<'a> {
    rest: &'a [u8],
}

impl<'a> FanotifyEvents<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn parse(&mut self) -> Result<FanotifyEvent<'a>, EventError> {
        let mut ahead = self.rest;
        let length = size(take_u32(&mut ahead)?)?;
        let mut event = take_slice(&mut self.rest, length)?;
        let _length = take_u32(&mut event)?;
        let [version, _reserved] = take(&mut event)?;
        if version != VERSION {
            return Err(EventError::Version(version));
        }
        let metadata_length = usize::from(u16::from_ne_bytes(take(&mut event)?));
        let mask = u64::from_ne_bytes(take(&mut event)?);
        let _descriptor = take_i32(&mut event)?;
        let _process = take_i32(&mut event)?;
        // A later kernel may have more in it; the records follow after that.
        let read = length - event.len();
        take_slice(&mut event, metadata_length.checked_sub(read).ok_or(EventError::Length)?)?;
        let mut parsed = FanotifyEvent { mask, entry: None, target: None, has_unknown: false };
        while !event.is_empty() {
            parsed.take_record(&mut event)?;
        }
        Ok(parsed)
    }
}

impl<'a> FanotifyEvent<'a> {
    fn take_record(&mut self, event: &mut &'a [u8]) -> Result<(), EventError> {
        let [kind, _padding] = take(event)?;
        let length = usize::from(u16::from_ne_bytes(take(event)?));
        let length = length.checked_sub(RECORD_HEADER).ok_or(EventError::Length)?;
        let mut record = take_slice(event, length)?;
        match kind {
            INFO_FID => self.target = Some(take_handle(&mut record)?),
            INFO_DFID | INFO_DFID_NAME => {
                let directory = take_handle(&mut record)?;
                self.entry = Some((directory, until_nul(record)));
            }
            _ => self.has_unknown = true,
        }
        Ok(())
    }
}

fn take_handle<'a>(record: &mut &'a [u8]) -> Result<Handle<'a>, EventError> {
    let file_system = [take_i32(record)?, take_i32(record)?];
    let length = size(take_u32(record)?)?;
    let handle_type = take_i32(record)?;
    let bytes = take_slice(record, length)?;
    Ok(Handle { file_system, handle_type, bytes })
}

fn size(number: u32) -> Result<usize, EventError> {
    usize::try_from(number).map_err(|_| EventError::Length)
}

impl<'a> Iterator for FanotifyEvents<'a> {
    type Item = Result<FanotifyEvent<'a>, EventError>;

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

    fn handle(handle_type: i32, bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).expect("short");
        let numbers = [7, 8, length.cast_signed(), handle_type].map(i32::to_ne_bytes);
        [&numbers.concat(), bytes].concat()
    }

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + RECORD_HEADER).expect("short");
        [&[kind, 0], &length.to_ne_bytes()[..], body].concat()
    }

    fn event(mask: u64, records: &[Vec<u8>]) -> Vec<u8> {
        let records = records.concat();
        let length = u32::try_from(24 + records.len()).expect("short");
        let mut event = length.to_ne_bytes().to_vec();
        event.extend([VERSION, 0]);
        event.extend(24_u16.to_ne_bytes());
        event.extend(mask.to_ne_bytes());
        event.extend([(-1_i32).to_ne_bytes(), 99_i32.to_ne_bytes()].concat());
        event.extend(records);
        event
    }

    fn parsed(handle_type: i32, bytes: &[u8]) -> Handle<'_> {
        Handle { file_system: [7, 8], handle_type, bytes }
    }

    #[test]
    fn records_are_read_in_any_combination() {
        let directory = handle(1, b"directory");
        let target = handle(0x81, b"target......");
        let named = [&directory[..], b"name\0\0\0"].concat();
        let bytes = [
            event(0x100, &[record(INFO_DFID_NAME, &named), record(INFO_FID, &target)]),
            event(2, &[record(INFO_FID, &target)]),
            event(4, &[record(INFO_DFID, &directory)]),
            event(0x4000, &[]),
            event(8, &[record(5, b"12345678"), record(INFO_FID, &target)]),
        ]
        .concat();
        let none = FanotifyEvent { mask: 0, entry: None, target: None, has_unknown: false };
        let directory = parsed(1, b"directory");
        let target = Some(parsed(0x81, b"target......"));
        let expected = [
            FanotifyEvent { mask: 0x100, entry: Some((directory, b"name")), target, ..none },
            FanotifyEvent { mask: 2, target, ..none },
            FanotifyEvent { mask: 4, entry: Some((directory, b"")), ..none },
            FanotifyEvent { mask: 0x4000, ..none },
            FanotifyEvent { mask: 8, target, has_unknown: true, ..none },
        ];
        let events: Result<Vec<_>, _> = FanotifyEvents::new(&bytes).collect();
        assert_eq!(events.as_deref(), Ok(&expected[..]));
    }

    #[test]
    fn a_longer_header_is_skipped() {
        let mut bytes = event(2, &[]);
        bytes[0] += 4;
        bytes[6] += 4;
        bytes.extend([9; 4]);
        let events: Vec<_> = FanotifyEvents::new(&bytes).collect();
        let expected = FanotifyEvent { mask: 2, entry: None, target: None, has_unknown: false };
        assert_eq!(events, [Ok(expected)]);
    }

    #[test]
    fn what_does_not_add_up_is_an_error() {
        let whole = event(2, &[record(INFO_FID, &handle(1, b"12345678"))]);
        for length in 1..whole.len() {
            let events: Vec<_> = FanotifyEvents::new(&whole[..length]).collect();
            assert_eq!(events, [Err(EventError::Length)], "{length}");
        }
        let edited = |place: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[place] = byte;
            FanotifyEvents::new(&bytes).next().map(|event| event.map(|event| event.mask))
        };
        assert_eq!(edited(4, 4), Some(Err(EventError::Version(4))));
        for (place, byte) in [(0, 3), (6, 23), (26, 3), (26, 255), (36, 9), (39, 1)] {
            assert_eq!(edited(place, byte), Some(Err(EventError::Length)), "{place}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(FanotifyEvents::new(&bytes).count() <= bytes.len().div_ceil(4) + 1);
        }

        #[test]
        fn any_bytes_in_a_record_end(
            kind in 0u8..6,
            body in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let bytes = event(2, &[record(kind, &body)]);
            let _ = FanotifyEvents::new(&bytes).collect::<Vec<_>>();
        }
    }
}
