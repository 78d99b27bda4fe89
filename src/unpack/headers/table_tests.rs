use super::super::{HeaderEntry, HeaderKind};
use super::*;
use crate::image::descriptor;
use snapshot::{FileKind, RootfsPath};

const PASSWD: &[u8] = b"root:x:0:0::/:/bin/sh\n";

fn frame(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// A layer that has only this table, after one frame with a passwd file.
fn layer(document: &str) -> (Descriptor, Vec<u8>) {
    let (file, table) = (frame(PASSWD), frame(document.as_bytes()));
    let position = format!("{}:{}:{}:1", file.len(), table.len(), document.len());
    let blob = [&file[..], &table].concat();
    let mut layer = descriptor("layer", &Digest::of(&blob), blob.len() as u64);
    let prefix = PREFIXES[0];
    layer.annotations = Some(BTreeMap::from([
        (format!("{prefix}manifest-position"), position),
        (format!("{prefix}manifest-checksum"), Digest::of(&table).to_string()),
    ]));
    (layer, blob)
}

fn part(blob: &[u8], span: &Range<u64>) -> Vec<u8> {
    blob[usize::try_from(span.start).unwrap()..usize::try_from(span.end).unwrap()].to_vec()
}

fn read(document: &str) -> Result<HeaderIndex, TableError> {
    let (layer, blob) = layer(document);
    let place = TablePlace::of(&layer).unwrap();
    let table = ContentsTable::read(&place, &part(&blob, &place.span))?;
    let contents: Vec<_> = table.wanted().iter().map(|file| part(&blob, &file.span)).collect();
    table.into_index(Digest::of(&blob), Digest::of(b"tar"), &contents)
}

fn rows(rows: &str) -> String {
    format!(r#"{{"version":1,"entries":[{rows}]}}"#)
}

/// A passwd file of so many bytes, that has this digest and is in the first `end` bytes.
fn passwd(size: usize, digest: &Digest, end: usize) -> String {
    rows(&format!(
        r#"{{"type":"reg","name":"etc/passwd","mode":420,"size":{size},"digest":"{digest}",
            "offset":0,"endOffset":{end}}}"#
    ))
}

#[test]
fn rows_become_headers() {
    let index = read(&rows(
        r#"{"type":"dir","name":"./","mode":493,"modtime":"2020-01-02T03:04:05.5Z"},
           {"type":"reg","name":"a","mode":2541,"uid":1,"gid":2,"size":7,
            "modtime":"0001-01-01T00:00:00Z","xattrs":{"user.x":"AAE="}},
           {"type":"chunk","name":"a","offset":4},
           {"type":"symlink","name":"l","linkName":"../x","mode":511},
           {"type":"hardlink","name":"h","linkName":"./a"},
           {"type":"char","name":"c","mode":438,"devMajor":1,"devMinor":3},
           {"type":"reg","name":"d/.wh.gone"},{"type":"reg","name":"d/.wh..wh..opq"}"#,
    ))
    .unwrap();
    let path = |path: &str| RootfsPath::new(path).unwrap();
    let entry = |kind, mode| HeaderEntry { kind, mode, ..HeaderEntry::IMPLIED };
    let mtime = Timestamp { seconds: 1_577_934_245, nanoseconds: 500_000_000 };
    let file = HeaderEntry {
        uid: 1,
        gid: 2,
        xattrs: Xattrs::from([(b"user.x".to_vec(), vec![0, 1])]),
        ..entry(HeaderKind::Regular { size: 7, content: None, digest: None }, 0o4755)
    };
    let null = HeaderKind::Special { kind: FileKind::CharDevice, major: 1, minor: 3 };
    let expected = vec![
        Header::Entry(path("/"), HeaderEntry { mtime, ..HeaderEntry::IMPLIED }),
        Header::Entry(path("/a"), file),
        Header::Entry(path("/l"), entry(HeaderKind::Symlink(b"../x".to_vec()), 0o777)),
        Header::HardLink { path: path("/h"), target: path("/a") },
        Header::Entry(path("/c"), entry(null, 0o666)),
        Header::Hides(path("/d/gone")),
        Header::Opaque(path("/d")),
    ];
    assert_eq!(index.headers, expected);
}

#[test]
fn a_passwd_file_is_fetched_and_checked() {
    let end = frame(PASSWD).len();
    let index = read(&passwd(PASSWD.len(), &Digest::of(PASSWD), end)).unwrap();
    let Header::Entry(_, entry) = &index.headers[0] else { panic!("{index:?}") };
    let content = Some(PASSWD.to_vec());
    let digest = Some(Digest::of(PASSWD));
    assert_eq!(entry.kind, HeaderKind::Regular { size: PASSWD.len() as u64, content, digest });

    for wrong in [
        passwd(PASSWD.len(), &Digest::of(b"another"), end),
        passwd(PASSWD.len() - 1, &Digest::of(PASSWD), end),
        passwd(PASSWD.len() + 1, &Digest::of(PASSWD), end),
        passwd(PASSWD.len(), &Digest::of(PASSWD), end + 1),
        passwd(PASSWD.len(), &Digest::of(PASSWD), end - 1),
        passwd(PASSWD.len(), &Digest::of(PASSWD), 0),
    ] {
        assert!(read(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_not_understood_is_an_error() {
    for wrong in [
        "{}".to_owned(),
        r#"{"version":2,"entries":[]}"#.to_owned(),
        rows(r#"{"type":"door","name":"a"}"#),
        rows(r#"{"type":"reg","name":"a/../b"}"#),
        rows(r#"{"type":"reg","name":""}"#),
        rows(r#"{"type":"reg","name":"/"}"#),
        rows("{\"type\":\"reg\",\"name\":\"a\u{fffd}\"}"),
        rows(r#"{"type":"symlink","name":"a"}"#),
        rows(r#"{"type":"hardlink","name":"a","linkName":"../b"}"#),
        rows(r#"{"type":"reg","name":"a","xattrs":{"user.x":"?"}}"#),
        rows(r#"{"type":"reg","name":"a","modtime":"yesterday"}"#),
        rows(r#"{"type":"dir","name":"a/.wh.b/c"}"#),
    ] {
        assert!(read(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_place_is_believed_as_far_as_it_can_be_one() {
    let (layer, blob) = layer(&rows(""));
    let place = TablePlace::of(&layer).unwrap();
    let mut other = part(&blob, &place.span);
    other[0] ^= 1;
    assert!(matches!(ContentsTable::read(&place, &other), Err(TableError::Digest)));

    let length = blob.len();
    for position in [
        "",
        "1:2:3",
        "1:2:3:2",
        "a:2:3:1",
        &format!("{length}:1:3:1"),
        &format!("1:2:{}:1", TABLE_BYTES + 1),
        &format!("{}:2:3:1", u64::MAX),
    ] {
        let mut layer = layer.clone();
        let annotations = layer.annotations.as_mut().unwrap();
        annotations.insert(format!("{}manifest-position", PREFIXES[0]), position.to_owned());
        assert_eq!(TablePlace::of(&layer), None, "{position}");
    }
}
