//! What a layer says of some paths: read back from the image that a build wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::record::StepTruth;
use super::tree::{self, DIRECTORY, Entry, REGULAR, SYMLINK, hash, hash_content, hash_xattrs};

/// How many missed paths are named.
const EXAMPLE_LIMIT: usize = 10;
const WHITEOUT: &[u8] = b".wh.";
const XATTR: &str = "SCHILY.xattr.";

/// The entries and whiteouts of a layer.
#[derive(Debug, Default)]
pub(super) struct Layer {
    entries: BTreeMap<Vec<u8>, Entry>,
    removed: BTreeSet<Vec<u8>>,
}

impl Layer {
    /// Reads a layer from an OCI layout.
    pub(super) fn open(layout: &Path, digest: &str) -> io::Result<Self> {
        let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
        let mut file = BufReader::new(File::open(layout.join("blobs/sha256").join(hex))?);
        let reader: Box<dyn Read> = match file.fill_buf()? {
            [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(file)?),
            _ => Box::new(file),
        };
        Self::read(reader)
    }

    fn read(reader: impl Read) -> io::Result<Self> {
        let mut layer = Self::default();
        let mut archive = tar::Archive::new(reader);
        for member in archive.entries()? {
            layer.add(&mut member?)?;
        }
        Ok(layer)
    }

    fn add(&mut self, member: &mut tar::Entry<'_, impl Read>) -> io::Result<()> {
        let path = clean(&member.path_bytes());
        let (directory, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => path.split_at(slash + 1),
            None => (&b""[..], path.as_slice()),
        };
        if let Some(removed) = name.strip_prefix(WHITEOUT) {
            self.removed.insert([directory, removed].concat());
            return Ok(());
        }
        let header = member.header().clone();
        if header.entry_type() == tar::EntryType::Link {
            let target = clean(&member.link_name_bytes().unwrap_or_default());
            if let Some(entry) = self.entries.get(&target).copied() {
                self.entries.insert(path, entry);
            }
            return Ok(());
        }
        let number = |result: io::Result<u64>| {
            result.and_then(|number| {
                u32::try_from(number).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
            })
        };
        let kind = match header.entry_type() {
            tar::EntryType::Directory => DIRECTORY,
            tar::EntryType::Symlink => SYMLINK,
            tar::EntryType::Char => 0o020_000,
            tar::EntryType::Block => 0o060_000,
            tar::EntryType::Fifo => 0o010_000,
            _ => REGULAR,
        };
        let (mut uid, mut gid) = (number(header.uid())?, number(header.gid())?);
        let mut mtime = (i64::try_from(header.mtime()?).unwrap_or_default(), 0);
        let mut xattrs: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for extension in member.pax_extensions()?.into_iter().flatten() {
            let extension = extension?;
            let value = || extension.value().map_err(io::Error::other);
            match extension.key().map_err(io::Error::other)? {
                "mtime" => mtime = time(value()?)?,
                "uid" => uid = value()?.parse().map_err(io::Error::other)?,
                "gid" => gid = value()?.parse().map_err(io::Error::other)?,
                key => {
                    if let Some(name) = key.strip_prefix(XATTR) {
                        xattrs.insert(name.as_bytes().to_vec(), extension.value_bytes().to_vec());
                    }
                }
            }
        }
        let content = match kind {
            SYMLINK => hash(&member.link_name_bytes().unwrap_or_default()),
            _ => hash_content(member, &mut [0; 64 * 1024])?,
        };
        let device = match kind {
            0o020_000 | 0o060_000 => (
                header.device_major()?.unwrap_or_default(),
                header.device_minor()?.unwrap_or_default(),
            ),
            _ => (0, 0),
        };
        let mode = if kind == SYMLINK { 0 } else { header.mode()? & 0o7777 };
        let xattrs = hash_xattrs(xattrs.iter().map(|(name, value)| (&**name, &**value)));
        self.entries.insert(path, Entry { kind, mode, uid, gid, mtime, content, xattrs, device });
        Ok(())
    }

    /// Returns what is wrong with what the layer makes of a changed path; `None` if nothing is.
    fn fault(&self, path: &[u8], now: Option<&Entry>) -> Option<String> {
        match (self.entries.get(path), now) {
            (Some(entry), Some(now)) if entry == now => None,
            (Some(entry), Some(now)) => Some(entry.difference(now)),
            (None, Some(_)) => Some("not in the layer".to_owned()),
            (Some(_), None) => Some("in the layer, and gone from the tree".to_owned()),
            (None, None) if self.hides(path) => None,
            (None, None) => Some("its removal is not in the layer".to_owned()),
        }
    }

    /// Tells whether the path, as a lower layer has it, is not in the image.
    fn hides(&self, path: &[u8]) -> bool {
        let ancestors = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let is_file =
            |above: &[u8]| self.entries.get(above).is_some_and(|entry| entry.kind != DIRECTORY);
        self.removed.contains(path)
            || ancestors
                .filter_map(|(slash, _)| path.get(..slash))
                .any(|above| self.removed.contains(above) || is_file(above))
    }
}

/// Compares what changed with what a layer holds of it.
pub(super) fn judge(layer: &Layer, changes: &BTreeMap<Vec<u8>, Option<Entry>>) -> StepTruth {
    verdict(changes, |path, now| layer.fault(path, now))
}

/// Compares what changed with the paths that an algorithm reports.
pub(super) fn judge_paths(
    reported: &BTreeSet<Vec<u8>>,
    changes: &BTreeMap<Vec<u8>, Option<Entry>>,
) -> StepTruth {
    verdict(changes, |path, now| {
        let missed = if now.is_some() { "not reported" } else { "its removal is not reported" };
        (!reported.contains(path)).then(|| missed.to_owned())
    })
}

fn verdict(
    changes: &BTreeMap<Vec<u8>, Option<Entry>>,
    fault: impl Fn(&[u8], Option<&Entry>) -> Option<String>,
) -> StepTruth {
    let mut truth = StepTruth { changed: changes.len() as u64, ..StepTruth::default() };
    for (path, now) in changes {
        if let Some(fault) = fault(path, now.as_ref()) {
            truth.missed += 1;
            if truth.examples.len() < EXAMPLE_LIMIT {
                truth.examples.push(format!("/{}: {fault}", String::from_utf8_lossy(path)));
            }
        }
    }
    truth
}

/// Takes the dots and slashes around a member's name away.
fn clean(name: &[u8]) -> Vec<u8> {
    let parts = name.split(|byte| *byte == b'/');
    let parts = parts.filter(|part| !part.is_empty() && *part != b".");
    parts.fold(Vec::new(), |path, part| tree::join(&path, part))
}

/// Reads a pax time, exactly.
fn time(text: &str) -> io::Result<(i64, u32)> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| invalid())?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().map_err(|_| invalid())?;
    match (text.starts_with('-'), nanoseconds) {
        (true, 1..) => Ok((seconds - 1, 1_000_000_000 - nanoseconds)),
        _ => Ok((seconds, nanoseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_times_are_exact() {
        assert_eq!(time("12.5").expect("a time"), (12, 500_000_000));
        assert_eq!(time("12").expect("a time"), (12, 0));
        assert_eq!(time("-1.25").expect("a time"), (-2, 750_000_000));
        assert!(time("x").is_err());
    }

    #[test]
    fn names_lose_their_dots_and_slashes() {
        for (name, expected) in [("./a/b/", "a/b"), ("/a", "a"), ("./", ""), ("a", "a")] {
            assert_eq!(clean(name.as_bytes()), expected.as_bytes(), "{name}");
        }
    }

    fn entry(kind: u32) -> Entry {
        Entry {
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: (1, 2),
            content: hash(b""),
            xattrs: hash_xattrs(std::iter::empty()),
            device: (0, 0),
        }
    }

    #[test]
    fn what_a_layer_lacks_is_counted() {
        let older = Entry { mtime: (0, 0), ..entry(REGULAR) };
        let layer = Layer {
            entries: BTreeMap::from([
                (b"same".to_vec(), entry(REGULAR)),
                (b"stale".to_vec(), older),
                (b"file".to_vec(), entry(REGULAR)),
            ]),
            removed: BTreeSet::from([b"gone".to_vec()]),
        };
        let changes = BTreeMap::from([
            (b"same".to_vec(), Some(entry(REGULAR))),
            (b"stale".to_vec(), Some(entry(REGULAR))),
            (b"new".to_vec(), Some(entry(REGULAR))),
            (b"gone".to_vec(), None),
            (b"gone/below".to_vec(), None),
            (b"file/below".to_vec(), None),
            (b"other".to_vec(), None),
        ]);
        assert_eq!(
            judge(&layer, &changes),
            StepTruth {
                changed: 7,
                missed: 3,
                examples: vec![
                    "/new: not in the layer".into(),
                    "/other: its removal is not in the layer".into(),
                    "/stale: mtime".into(),
                ],
            }
        );
    }
}
