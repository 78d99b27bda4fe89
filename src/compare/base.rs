//! The base image and Dockerfile of a scenario: an OCI layout made on the spot, with this program
//! in it and a tree.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use snapshot::{Digest, HashingWriter};

use super::error::CompareError;
use super::scenario::Scenario;
use super::step::{adversarial_base, content};
use crate::image::Platform;

/// Where the tree is, from the root.
pub(super) const TREE: &str = "srv/tree";
/// Where this program is, from the root; no snapshot looks at it.
pub(super) const PROGRAM: &str = ".compare-modes";
/// The mtime of everything in the base, in seconds since 1970.
pub(super) const MTIME: u64 = 1_600_000_000;

const FILE_BYTES: usize = 1024;
const FILES_A_DIRECTORY: u64 = 20;
const DIRECTORIES_A_TOP: u64 = 25;
/// Files below each directory of the tree's first level.
pub(super) const FILES_A_TOP: u64 = FILES_A_DIRECTORY * DIRECTORIES_A_TOP;

/// Returns where a numbered file of the tree is, from [`TREE`].
pub(super) fn file_path(number: u64) -> PathBuf {
    let directory = number / FILES_A_DIRECTORY;
    let top = directory / DIRECTORIES_A_TOP;
    PathBuf::from(format!("t{top:05}/d{directory:06}/f{number:07}"))
}

/// What a scenario's build is made of.
pub(super) struct Prepared {
    /// Flags of the build.
    pub(super) flags: Vec<String>,
    /// Files in the base, for the report.
    pub(super) description: String,
}

/// Makes the context, and the base unless one is given, in `directory`.
pub(super) fn prepare(
    scenario: Scenario,
    base: Option<&Path>,
    program: &Path,
    directory: &Path,
) -> Result<Prepared, CompareError> {
    let context = directory.join("context");
    fs::create_dir(&context).map_err(CompareError::at("create", &context))?;
    let mut dockerfile = String::from("FROM base\n");
    let (layout, description) = match base {
        Some(layout) => {
            for step in scenario.steps() {
                let number = step.split_once(':').map_or("0", |(_, number)| number);
                dockerfile.push_str(&format!(
                    "RUN mkdir -p /srv && echo {number} > /srv/small-{number}\n"
                ));
            }
            (layout.to_owned(), format!("on the image in {}", layout.display()))
        }
        None => {
            let layout = directory.join("base");
            let tools = Tools::find(program)?;
            write_layout(scenario, &tools, &layout)?;
            for step in scenario.steps() {
                dockerfile.push_str(&format!("RUN {}\n", json!(tools.command(&step))));
            }
            let count = scenario.file_count();
            (layout, format!("on a made tree of {count} files of {FILE_BYTES} bytes"))
        }
    };
    let file = context.join("Dockerfile");
    fs::write(&file, dockerfile).map_err(CompareError::at("write", &file))?;
    let flags = vec![
        format!("--context={}", context.display()),
        "--dockerfile=Dockerfile".to_owned(),
        format!("--build-context=base=oci-layout://{}", layout.display()),
        format!("--ignore-path=/{PROGRAM}"),
    ];
    Ok(Prepared { flags, description })
}

/// This program, and the libraries that it was started with.
struct Tools {
    /// Names in the image, and where each comes from.
    files: Vec<(String, PathBuf)>,
    /// The name of the dynamic loader among them, if there is one.
    loader: Option<String>,
}

impl Tools {
    fn find(program: &Path) -> Result<Self, CompareError> {
        let maps = Path::new("/proc/self/maps");
        let text = fs::read_to_string(maps).map_err(CompareError::at("read", maps))?;
        let mut files = vec![("zuwai".to_owned(), program.to_owned())];
        let mut loader = None;
        for path in text.lines().filter_map(|line| line.get(line.find('/')?..)) {
            let path = Path::new(path);
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let Some(name) = name.filter(|name| name.contains(".so")) else { continue };
            if files.iter().any(|(known, _)| *known == name) {
                continue;
            }
            if name.starts_with("ld-") {
                loader = Some(name.clone());
            }
            files.push((name, path.to_owned()));
        }
        Ok(Self { files, loader })
    }

    /// Returns the words of a RUN that performs a step.
    fn command(&self, step: &str) -> Vec<String> {
        let program = format!("/{PROGRAM}/zuwai");
        let mut words = match &self.loader {
            Some(loader) => vec![
                format!("/{PROGRAM}/{loader}"),
                "--library-path".to_owned(),
                format!("/{PROGRAM}"),
                program,
            ],
            None => vec![program],
        };
        words.extend([super::STEP.to_owned(), step.to_owned()]);
        words
    }
}

fn write_layout(scenario: Scenario, tools: &Tools, layout: &Path) -> Result<(), CompareError> {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(CompareError::at("create", &blobs))?;
    let at = |result: io::Result<LayerBlob>| result.map_err(CompareError::at("write", &blobs));
    let layers = [
        at(write_layer(&blobs, &mut |tar| add_tools(tar, tools)))?,
        at(write_layer(&blobs, &mut |tar| add_tree(tar, scenario)))?,
    ];
    let platform = Platform::of_this_machine();
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let config = json!({
        "os": platform.os,
        "architecture": platform.architecture,
        "variant": platform.variant,
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = put(&blobs, "application/vnd.oci.image.config.v1+json", &config)?;
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| {
            json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd",
                "digest": layer.digest.to_string(),
                "size": layer.size_bytes,
            })
        })
        .collect();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers });
    let manifest = put(&blobs, kind, &manifest)?;
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    for (name, text) in [
        ("index.json", index.to_string()),
        ("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }).to_string()),
    ] {
        let path = layout.join(name);
        fs::write(&path, text).map_err(CompareError::at("write", &path))?;
    }
    Ok(())
}

/// Writes a document as a blob and returns its descriptor.
fn put(blobs: &Path, kind: &str, document: &Value) -> Result<Value, CompareError> {
    let text = document.to_string();
    let digest = Digest::of(text.as_bytes());
    let path = blobs.join(digest.hex());
    fs::write(&path, &text).map_err(CompareError::at("write", &path))?;
    Ok(json!({ "mediaType": kind, "digest": digest.to_string(), "size": text.len() }))
}

struct LayerBlob {
    digest: Digest,
    diff_id: Digest,
    size_bytes: u64,
}

type Tar = tar::Builder<HashingWriter<zstd::Encoder<'static, HashingWriter<BufWriter<File>>>>>;

fn write_layer(
    blobs: &Path,
    fill: &mut dyn FnMut(&mut Tar) -> io::Result<()>,
) -> io::Result<LayerBlob> {
    let spool = blobs.join("spool");
    let file = HashingWriter::new(BufWriter::new(File::create(&spool)?));
    let mut tar = tar::Builder::new(HashingWriter::new(zstd::Encoder::new(file, 1)?));
    fill(&mut tar)?;
    let (encoder, diff_id) = tar.into_inner()?.into_parts();
    let file = encoder.finish()?;
    let size_bytes = file.count();
    let (mut file, digest) = file.into_parts();
    file.flush()?;
    let digest = digest.finish();
    fs::rename(spool, blobs.join(digest.hex()))?;
    Ok(LayerBlob { digest, diff_id: diff_id.finish(), size_bytes })
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(MTIME);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn add_directory(tar: &mut Tar, path: &str) -> io::Result<()> {
    let mut header = header(tar::EntryType::Directory, 0o755, 0);
    tar.append_data(&mut header, format!("{path}/"), io::empty())
}

fn add_file(tar: &mut Tar, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut header = header(tar::EntryType::Regular, mode, bytes.len() as u64);
    tar.append_data(&mut header, path, bytes)
}

fn add_tools(tar: &mut Tar, tools: &Tools) -> io::Result<()> {
    add_directory(tar, PROGRAM)?;
    for (name, path) in &tools.files {
        add_file(tar, &format!("{PROGRAM}/{name}"), 0o755, &fs::read(path)?)?;
    }
    Ok(())
}

fn add_tree(tar: &mut Tar, scenario: Scenario) -> io::Result<()> {
    for directory in ["srv", "tmp", "etc", TREE] {
        add_directory(tar, directory)?;
    }
    let mut open: Vec<PathBuf> = Vec::new();
    for number in 0..scenario.file_count() {
        let path = Path::new(TREE).join(file_path(number));
        let above: Vec<&Path> = path.ancestors().skip(1).take(2).collect();
        for directory in above.into_iter().rev() {
            if !open.iter().any(|known| known == directory) {
                add_directory(tar, &directory.to_string_lossy())?;
                // Only the last of each depth is met again.
                open.retain(|known| directory.starts_with(known));
                open.push(directory.to_owned());
            }
        }
        add_file(tar, &path.to_string_lossy(), 0o644, &content(number, FILE_BYTES))?;
    }
    if scenario == Scenario::Adversarial {
        add_adversarial(tar)?;
    }
    Ok(())
}

fn add_adversarial(tar: &mut Tar) -> io::Result<()> {
    use super::step::Member;
    for folder in ["", "/directory-swapped-a", "/directory-swapped-b"] {
        add_directory(tar, &format!("srv/adversarial{folder}"))?;
    }
    for (path, member) in adversarial_base() {
        match member {
            Member::File(bytes) => add_file(tar, &path, 0o644, &bytes)?,
            Member::Link(target) => {
                let mut header = header(tar::EntryType::Symlink, 0o777, 0);
                tar.append_link(&mut header, path, target)?;
            }
        }
    }
    Ok(())
}
