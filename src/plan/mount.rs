//! `RUN --mount`: what a command finds while it runs, and no layer has.

use snapshot::RootfsPath;

use super::error::{PlanError, PlanErrorKind};
use super::stage::{StageReader, StageState, rootfs_path};
use super::step::{CopySource, CopyStep};
use crate::dockerfile::Word;
use crate::dockerfile::instruction::{Mount, MountError, MountFlag, MountType, Sharing};

/// Where secrets are that no `target` names.
const SECRETS: &str = "/run/secrets";

/// The mode of a secret's file that no `mode` names.
const SECRET_MODE: u32 = 0o400;

/// The name that stands for nothing at all.
const SCRATCH: &str = "scratch";

/// Something that a command finds while it runs, and no layer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunMount {
    /// Files of a context, a stage or an image.
    Bind(BindMount),
    /// A directory that outlives the build.
    Cache(CacheMount),
    /// An empty file system in memory.
    Tmpfs(TmpfsMount),
    /// A secret.
    Secret(SecretMount),
}

/// Files of a context, a stage or an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    /// Where they are.
    pub from: CopySource,
    /// Which of them: a directory or a file.
    pub source: RootfsPath,
    /// Where the command finds them.
    pub target: RootfsPath,
    /// Whether it may write to them.
    pub access: MountAccess,
}

/// A directory that outlives the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// What it is called; equal names are the same directory.
    pub id: String,
    /// How commands that use it at once share it.
    pub sharing: Sharing,
    /// Where its first content comes from; `None`: it begins empty.
    pub from: Option<CopySource>,
    /// Which directory of it is mounted.
    pub source: RootfsPath,
    /// Where the command finds it.
    pub target: RootfsPath,
    /// Whether it may write to it.
    pub access: MountAccess,
    /// The owner and mode that it is made with, where the Dockerfile gives one of them.
    pub owner: Option<MountOwner>,
}

/// An empty file system in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TmpfsMount {
    /// Where the command finds it.
    pub target: RootfsPath,
    /// How much may be in it; `None`: the kernel's limit, half of the memory.
    pub size_bytes: Option<u64>,
}

/// A secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMount {
    /// What the command line calls it.
    pub id: String,
    /// The file that it is in.
    pub target: Option<RootfsPath>,
    /// The environment variable that it is in.
    pub variable: Option<String>,
    /// Whether the build fails without it; where it may be missing, there is then no such file.
    pub is_required: bool,
    /// Owner and mode of the file.
    pub owner: MountOwner,
}

/// Owner and mode of something mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountOwner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// Whether a command may write to what is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountAccess {
    /// It may not.
    ReadOnly,
    /// It may; of a bind, what it wrote is gone afterwards.
    Writable,
}

impl BindMount {
    /// Returns the copy that reads what is mounted.
    pub fn as_copy(&self) -> CopyStep {
        CopyStep::whole(self.from.clone(), self.source.clone())
    }
}

impl RunMount {
    /// Returns what it takes files from; contexts among it.
    pub fn source(&self) -> Option<&CopySource> {
        match self {
            Self::Bind(bind) => Some(&bind.from),
            Self::Cache(cache) => cache.from.as_ref(),
            Self::Tmpfs(_) | Self::Secret(_) => None,
        }
    }

    /// Returns where the command finds it; `None` for what is in its environment alone.
    pub fn target(&self) -> Option<&RootfsPath> {
        match self {
            Self::Bind(bind) => Some(&bind.target),
            Self::Cache(cache) => Some(&cache.target),
            Self::Tmpfs(tmpfs) => Some(&tmpfs.target),
            Self::Secret(secret) => secret.target.as_ref(),
        }
    }
}

impl From<MountError> for PlanError {
    fn from(error: MountError) -> Self {
        PlanErrorKind::Mount(error).into()
    }
}

/// Returns the stage, image or context that a `--mount` names as its source, unexpanded: it holds
/// no variables.
pub(super) fn source_word(flag: &MountFlag) -> Option<Word> {
    let named = flag.options.iter().rev().find(|option| option.key == "from")?;
    let value = named.value.clone().filter(|value| !value.is_empty() && value != SCRATCH)?;
    Some(Word { value, span: flag.text.span })
}

/// Reads the mounts of a RUN, outer ones before those that are inside of them.
pub(super) fn read(
    reader: &StageReader<'_, '_>,
    state: &StageState,
    flags: &[MountFlag],
) -> Result<Vec<RunMount>, PlanError> {
    let mut mounts = Vec::with_capacity(flags.len());
    for flag in flags {
        let read = read_one(reader, state, flag);
        mounts.push(read.map_err(|error| match error.span {
            Some(_) => error,
            None => error.kind.at(flag.text.span),
        })?);
    }
    // Stable: of two on one path, the later covers the earlier.
    mounts.sort_by(|one, other| one.target().cmp(&other.target()));
    Ok(mounts)
}

fn read_one(
    reader: &StageReader<'_, '_>,
    state: &StageState,
    flag: &MountFlag,
) -> Result<RunMount, PlanError> {
    let span = flag.text.span;
    let mount =
        flag.resolve(|value| reader.word(state, &Word { value: value.to_owned(), span }))?;
    let target = |text: &str| -> Result<RootfsPath, PlanError> {
        let from = match text.starts_with('/') {
            true => RootfsPath::root(),
            false => state.working_directory()?,
        };
        let path = from
            .join(text)
            .map_err(|source| PlanErrorKind::Path { word: text.to_owned(), source })?;
        if path.is_root() {
            return Err(PlanErrorKind::MountOnRoot { target: text.to_owned() }.into());
        }
        Ok(path)
    };
    let from = match source_word(flag) {
        Some(word) => Some(reader.copy_source(&word)?),
        None => None,
    };
    let access = match mount.read_only {
        true => MountAccess::ReadOnly,
        false => MountAccess::Writable,
    };
    match mount.kind {
        MountType::Bind if mount.from == SCRATCH => Err(PlanErrorKind::CopyFromScratch.into()),
        MountType::Bind => Ok(RunMount::Bind(BindMount {
            from: from.unwrap_or(CopySource::Context),
            source: rootfs_path(&mount.source)?,
            target: target(&mount.target)?,
            access,
        })),
        MountType::Cache => Ok(RunMount::Cache(CacheMount {
            id: match mount.id.as_str() {
                // Before it is taken from the working directory: BuildKit's, and so shared by
                // Dockerfiles that name it alike.
                "" => clean(&mount.target),
                id => id.to_owned(),
            },
            sharing: mount.sharing.unwrap_or(Sharing::Shared),
            from,
            source: rootfs_path(&mount.source)?,
            target: target(&mount.target)?,
            access,
            owner: cache_owner(&mount),
        })),
        MountType::Tmpfs => Ok(RunMount::Tmpfs(TmpfsMount {
            target: target(&mount.target)?,
            size_bytes: u64::try_from(mount.size_bytes).ok().filter(|size| *size > 0),
        })),
        MountType::Secret => {
            let secret = SecretNames::of(&mount);
            Ok(RunMount::Secret(SecretMount {
                target: secret.target.map(|path| target(&path)).transpose()?,
                variable: secret.variable,
                id: secret.id,
                is_required: mount.required,
                owner: MountOwner {
                    uid: mount.uid.unwrap_or_default(),
                    gid: mount.gid.unwrap_or_default(),
                    mode: mount.mode.unwrap_or(SECRET_MODE) & 0o7777,
                },
            }))
        }
        MountType::Ssh => {
            let feature = "RUN --mount=type=ssh".to_owned();
            Err(PlanErrorKind::NotSupported { feature }.into())
        }
    }
}

/// Returns what a cache is made with where the Dockerfile says it; with a `source`, that is for
/// whoever made the source.
fn cache_owner(mount: &Mount) -> Option<MountOwner> {
    let is_given = mount.uid.is_some() || mount.gid.is_some() || mount.mode.is_some();
    let is_whole = rootfs_path(&mount.source).is_ok_and(|path| path.is_root());
    (is_given && is_whole).then(|| MountOwner {
        uid: mount.uid.unwrap_or_default(),
        gid: mount.gid.unwrap_or_default(),
        mode: mount.mode.unwrap_or(0o755) & 0o7777,
    })
}

struct SecretNames {
    id: String,
    target: Option<String>,
    variable: Option<String>,
}

impl SecretNames {
    /// Fills in what of a secret's names the Dockerfile leaves out.
    fn of(mount: &Mount) -> Self {
        let given = [&mount.source, &mount.id].into_iter().find(|name| !name.is_empty());
        let id = given.map_or_else(|| base_name(&mount.target).to_owned(), String::clone);
        let target = match (mount.target.as_str(), &mount.env) {
            ("", Some(_)) => None,
            ("", None) => Some(format!("{SECRETS}/{}", base_name(&id))),
            (target, _) => Some(target.to_owned()),
        };
        let variable = mount.env.as_ref().map(|name| match name.as_str() {
            "" => id.clone(),
            name => name.to_owned(),
        });
        Self { id, target, variable }
    }
}

fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

/// Cleans a path lexically, as Go's `path.Clean` does.
fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_absolute => {}
            part => parts.push(part),
        }
    }
    match (is_absolute, parts.join("/")) {
        (true, path) => format!("/{path}"),
        (false, path) if path.is_empty() => ".".to_owned(),
        (false, path) => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caches_id_is_its_target_cleaned() {
        for (path, expected) in [
            ("/root/.cache/", "/root/.cache"),
            ("", "."),
            ("./a//b/..", "a"),
            ("../x", "../x"),
            ("/../x", "/x"),
            ("a/../..", ".."),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }
}
