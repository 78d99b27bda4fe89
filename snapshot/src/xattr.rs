//! Extended attributes: which of them belong in an image, and their digest.
//!
//! Owns the list of names; reading and writing is [`crate::Rootfs`]'s.

use std::collections::BTreeMap;

use crate::digest::{Digest, Digester};

/// Extended attributes by name, sorted.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Tells whether the attribute `name` belongs in an image.
///
/// In: file capabilities, POSIX ACLs, and what users set. Out: what describes this machine rather
/// than the file (SELinux labels, `trusted.*`, IMA), and overlayfs' own marks, which would mean
/// something to the file system a layer is unpacked on.
pub fn belongs_in_image(name: &[u8]) -> bool {
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => true,
        _ => {
            name.starts_with(b"user.")
                && !name.starts_with(b"user.overlay.")
                && !name.starts_with(b"user.fuseoverlayfs.")
        }
    }
}

/// Returns the digest of `xattrs`, `None` when there are none.
///
/// Names and values are framed by their lengths, so that no two sets share an input.
pub fn digest(xattrs: &Xattrs) -> Option<Digest> {
    if xattrs.is_empty() {
        return None;
    }
    let mut digester = Digester::new();
    for bytes in xattrs.iter().flat_map(|(name, value)| [name, value]) {
        digester.update(&(bytes.len() as u64).to_le_bytes());
        digester.update(bytes);
    }
    Some(digester.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_belong_in_an_image() {
        for (name, expected) in [
            ("security.capability", true),
            ("system.posix_acl_access", true),
            ("system.posix_acl_default", true),
            ("user.comment", true),
            ("user.overlay.opaque", false),
            ("user.fuseoverlayfs.opaque", false),
            ("trusted.overlay.opaque", false),
            ("trusted.anything", false),
            ("security.selinux", false),
            ("security.ima", false),
            ("userx", false),
            ("", false),
        ] {
            assert_eq!(belongs_in_image(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn digest_frames_names_and_values() {
        let set = |pairs: &[(&str, &str)]| -> Xattrs {
            pairs
                .iter()
                .map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()))
                .collect()
        };
        assert_eq!(digest(&set(&[])), None);
        let digests = [set(&[("ab", "c")]), set(&[("a", "bc")]), set(&[("a", ""), ("b", "c")])]
            .map(|s| digest(&s));
        assert!(digests.iter().all(Option::is_some));
        assert_ne!(digests[0], digests[1]);
        assert_ne!(digests[1], digests[2]);
        assert_eq!(digests[0], digest(&set(&[("ab", "c")])));
    }
}
