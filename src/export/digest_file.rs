//! The files that pipelines read after a build: digest and image names, byte for byte as kaniko's.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use snapshot::Digest;

use super::ExportError;
use crate::image::Reference;

/// A destination that was pushed, and what was pushed there.
#[derive(Clone, Debug)]
pub struct DestinationDigest {
    /// The destination as parsed.
    pub reference: Reference,
    /// The manifest's digest.
    pub digest: Digest,
}

/// Returns the text of `--image-name-with-digest-file`: `registry/repository@sha256:…`, a line each.
pub fn image_names(pushed: &[DestinationDigest]) -> String {
    let line =
        |one: &DestinationDigest| format!("{}@{}\n", repository_name(&one.reference), one.digest);
    pushed.iter().map(line).collect()
}

/// Returns the text of `--image-name-tag-with-digest-file`: `registry/repository:tag@sha256:…`, a
/// line each.
pub fn image_tags(pushed: &[DestinationDigest]) -> String {
    let line = |one: &DestinationDigest| {
        let tag = one.reference.tag().unwrap_or("latest");
        format!("{}:{tag}@{}\n", repository_name(&one.reference), one.digest)
    };
    pushed.iter().map(line).collect()
}

/// Returns the text of the file `images` in the directory that `BUILDER_OUTPUT` names: a JSON object
/// for each destination, as it was typed, a line each.
pub fn builder_output<'a>(typed: impl Iterator<Item = &'a str>, digest: &Digest) -> String {
    let line = |name| {
        // The order of the keys is that of kaniko's.
        let (name, digest) = (serde_json::json!(name), serde_json::json!(digest.to_string()));
        format!("{{\"name\":{name},\"digest\":{digest}}}\n")
    };
    typed.map(line).collect()
}

/// Returns `registry/repository` as kaniko's registry library names it: Docker Hub is
/// `index.docker.io`.
pub(super) fn repository_name(reference: &Reference) -> String {
    format!("{}/{}", reference.resolve_registry(), reference.repository())
}

/// Writes a small text file, making its parent directories (mode 0700, as kaniko does).
///
/// The file is written in place, because it may be a mounted file such as a Pod's termination log.
///
/// # Errors
/// [`ExportError::Write`] naming the file.
pub fn write_text(path: &Path, text: &str) -> Result<(), ExportError> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(parent).map_err(ExportError::at(parent))?;
    }
    fs::write(path, text).map_err(ExportError::at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kanikos_byte_for_byte() {
        let digest = Digest::of(b"");
        let one = |text: &str| DestinationDigest { reference: text.parse().unwrap(), digest };
        let pushed = [one("reg.example:5000/team/app:v1"), one("busybox")];
        assert_eq!(
            image_names(&pushed),
            format!(
                "reg.example:5000/team/app@{digest}\nindex.docker.io/library/busybox@{digest}\n"
            )
        );
        assert_eq!(
            image_tags(&pushed),
            format!(
                "reg.example:5000/team/app:v1@{digest}\n\
                 index.docker.io/library/busybox:latest@{digest}\n"
            )
        );
    }

    #[test]
    fn missing_parents_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/digest");
        write_text(&path, "sha256:x").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "sha256:x");
    }
}
