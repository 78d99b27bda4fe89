//! What the Dockerfile mounts into a RUN: where it comes from, and what holds it meanwhile.
//!
//! First everything is gathered: roots of stages and images, directories of caches (held by their
//! locks), secrets. Then it is given to the command: mounted by the sandbox where that can mount
//! ([`real`]), put into its files and taken away again where it cannot ([`stand_in`]). The idea to
//! hold in mind: whatever becomes of the command, nothing of it is in the stage's files when the
//! next snapshot looks.

mod error;
mod files;
mod journal;
mod real;
mod stand_in;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use snapshot::{Rootfs, RootfsPath};

use super::error::StepError;
use super::roots::Home;
use super::session::Session;
use super::steps::Supply;
use crate::cache::KeyWriter;
use crate::dockerfile::instruction;
use crate::plan::{
    BindMount, CacheMount, CopySource, MountAccess, RunMount, RunStep, SecretMount, TmpfsMount,
};
use crate::report::event::Event;
use crate::sandbox::{MountedFile, StepMount};
use crate::secret::{Secret, SecretBytes};
use crate::store::{CacheVolume, Sharing};
pub use error::MountsError;
use files::FileSource;
pub(super) use journal::{ASIDE, rescue_last, settle_last};
use real::Real;
use stand_in::StandIns;

/// The build argument by which projects that share a store keep their caches apart; BuildKit's.
const NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// Everything that one command is given.
struct Gathered<'a> {
    items: Vec<Item<'a>>,
    /// Secrets of its environment, by variable.
    secrets: Vec<(String, Secret)>,
}

/// One thing that a command finds at a path.
struct Item<'a> {
    target: RootfsPath,
    content: ItemContent<'a>,
}

/// What a command finds.
enum ItemContent<'a> {
    /// Files that it may see, and write to as if they were its own.
    Bind { files: FileSource<'a>, source: RootfsPath, access: MountAccess },
    /// A directory that outlives it.
    Cache { volume: Rc<CacheVolume>, source: RootfsPath, access: MountAccess },
    /// An empty directory, in memory if that can be had.
    Memory { size_bytes: Option<u64> },
    /// A secret.
    Secret(MountedFile),
}

/// Who can use a cache while one command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CacheUse {
    /// Whoever its `sharing` lets.
    AsAsked,
    /// Nobody: it is moved or copied to where the command finds it.
    Alone,
}

/// Gives a command what the Dockerfile mounts, runs it, and takes everything away again.
///
/// # Errors
/// Those of `command` before any of ours.
pub(super) fn during<T>(
    session: &Session<'_>,
    run: &RunStep,
    home: &Home,
    supply: &mut dyn Supply,
    command: impl FnOnce(&[StepMount], &[(String, Secret)]) -> Result<T, StepError>,
) -> Result<T, StepError> {
    if run.mounts.is_empty() {
        return command(&[], &[]);
    }
    let Some(kept) = home.kept() else {
        let mut gathered = Gathered::of(session, run, CacheUse::AsAsked, supply)?;
        let secrets = std::mem::take(&mut gathered.secrets);
        let real = Real::of(session, gathered)?;
        let outcome = command(&real.mounts, &secrets);
        let closed = real.close(session);
        return outcome.and_then(|done| closed.map(|()| done));
    };
    let mut gathered = Gathered::of(session, run, CacheUse::Alone, supply)?;
    let secrets = std::mem::take(&mut gathered.secrets);
    for item in &gathered.items {
        if let ItemContent::Memory { size_bytes: Some(_) } = &item.content {
            let text = format!("`size` of the tmpfs at `{}` has no effect in place", item.target);
            session.events.send(Event::Warning { text });
        }
    }
    let stand_ins = StandIns::make(session, gathered, kept, supply)?;
    let outcome = command(&[], &secrets);
    let gone = stand_ins.take_away();
    outcome.and_then(|done| gone.map(|()| done))
}

impl Gathered<'_> {
    /// Finds what a command is to be given.
    fn of<'a>(
        session: &'a Session<'_>,
        run: &RunStep,
        cache_use: CacheUse,
        supply: &mut dyn Supply,
    ) -> Result<Gathered<'a>, StepError> {
        let mut gathered = Gathered { items: Vec::new(), secrets: Vec::new() };
        let volumes = open_volumes(session, run, cache_use, supply)?;
        for mount in &run.mounts {
            match mount {
                RunMount::Bind(bind) => gathered.items.push(bind_item(session, bind, supply)?),
                RunMount::Cache(cache) => {
                    // Every cache of the step was opened.
                    let opened = volumes.get(&volume_id(session, cache)).cloned();
                    gathered.items.extend(opened.map(|volume| Item {
                        target: cache.target.clone(),
                        content: ItemContent::Cache {
                            volume,
                            source: cache.source.clone(),
                            access: cache.access,
                        },
                    }));
                }
                RunMount::Tmpfs(TmpfsMount { target, size_bytes }) => gathered.items.push(Item {
                    target: target.clone(),
                    content: ItemContent::Memory { size_bytes: *size_bytes },
                }),
                RunMount::Secret(secret) => gathered.take_secret(session, secret)?,
            }
        }
        Ok(gathered)
    }

    fn take_secret(&mut self, session: &Session<'_>, mount: &SecretMount) -> Result<(), StepError> {
        let Some(secret) = session.secrets.get(&mount.id) else {
            if mount.is_required {
                return Err(MountsError::NoSecret { id: mount.id.clone() }.into());
            }
            return Ok(());
        };
        if let Some(variable) = &mount.variable {
            let text = text_of(secret).ok_or_else(|| MountsError::NoText {
                id: mount.id.clone(),
                variable: variable.clone(),
            })?;
            self.secrets.retain(|(known, _)| known != variable);
            self.secrets.push((variable.clone(), text));
        }
        if let Some(target) = &mount.target {
            let content = ItemContent::Secret(MountedFile {
                content: secret.expose().to_vec(),
                mode: mount.owner.mode,
                uid: mount.owner.uid,
                gid: mount.owner.gid,
            });
            self.items.push(Item { target: target.clone(), content });
        }
        Ok(())
    }
}

fn text_of(secret: &SecretBytes) -> Option<Secret> {
    let text = std::str::from_utf8(secret.expose()).ok()?;
    (!text.contains('\0')).then(|| Secret::new(text))
}

fn bind_item<'a>(
    session: &'a Session<'_>,
    bind: &BindMount,
    supply: &mut dyn Supply,
) -> Result<Item<'a>, StepError> {
    let files = source_of(session, &bind.from, supply)?;
    let content = ItemContent::Bind { files, source: bind.source.clone(), access: bind.access };
    Ok(Item { target: bind.target.clone(), content })
}

fn source_of<'a>(
    session: &'a Session<'_>,
    from: &CopySource,
    supply: &mut dyn Supply,
) -> Result<FileSource<'a>, StepError> {
    Ok(match from {
        CopySource::Context => FileSource::Context(&session.context),
        CopySource::NamedContext(name) => FileSource::Context(session.named_directory(name)?),
        CopySource::Stage(_) | CopySource::Image(_) => FileSource::Root(supply.copy_root(from)?),
    })
}

/// Opens the directory of each cache, once however often it is mounted, and in the order of their
/// ids: so no two builds can wait for each other.
fn open_volumes(
    session: &Session<'_>,
    run: &RunStep,
    cache_use: CacheUse,
    supply: &mut dyn Supply,
) -> Result<BTreeMap<String, Rc<CacheVolume>>, StepError> {
    let caches = run.mounts.iter().filter_map(|mount| match mount {
        RunMount::Cache(cache) => Some((volume_id(session, cache), cache)),
        RunMount::Bind(_) | RunMount::Tmpfs(_) | RunMount::Secret(_) => None,
    });
    let sorted: BTreeMap<String, &CacheMount> = caches.collect();
    let mut volumes = BTreeMap::new();
    for (id, cache) in sorted {
        let volume = open_volume(session, &id, cache, cache_use, supply)?;
        volumes.insert(id, Rc::new(volume));
    }
    Ok(volumes)
}

fn open_volume(
    session: &Session<'_>,
    id: &str,
    cache: &CacheMount,
    cache_use: CacheUse,
    supply: &mut dyn Supply,
) -> Result<CacheVolume, StepError> {
    let sharing = match (cache.sharing, cache_use) {
        (instruction::Sharing::Private, _) => Sharing::Private,
        (instruction::Sharing::Locked, _) | (_, CacheUse::Alone) => Sharing::Locked,
        (instruction::Sharing::Shared, CacheUse::AsAsked) => Sharing::Shared,
    };
    let first = match &cache.from {
        Some(from) => Some(source_of(session, from, supply)?),
        None => None,
    };
    let mut failed = None;
    let opened = session.volumes().open(id, sharing, session.interrupt, &mut |folder| {
        fill(folder, cache, first.as_ref()).map_err(|error| {
            let told = io::Error::other(error.to_string());
            failed = Some(error);
            told
        })
    });
    opened.map_err(|source| {
        failed.unwrap_or_else(|| MountsError::Cache { id: cache.id.clone(), source }.into())
    })
}

/// Makes a new cache's directory what the Dockerfile says.
fn fill(
    folder: &Path,
    cache: &CacheMount,
    first: Option<&FileSource<'_>>,
) -> Result<(), StepError> {
    let root = Rootfs::open(folder)?;
    if let Some(first) = first {
        first.copy_into(&RootfsPath::root(), &root)?;
    }
    let top = RootfsPath::root();
    match cache.owner {
        Some(owner) => {
            root.set_owner(&top, owner.uid, owner.gid)?;
            root.set_mode(&top, owner.mode)?;
        }
        None if first.is_none() => root.set_mode(&top, 0o755)?,
        None => {}
    }
    Ok(())
}

/// Returns the name of a cache's directory among all that the store keeps.
///
/// Those that begin differently are different ones, as in BuildKit: otherwise the first to come
/// would decide what the others find.
fn volume_id(session: &Session<'_>, cache: &CacheMount) -> String {
    let arguments = session.options.build_args.iter().rev();
    let namespace = arguments.into_iter().find(|argument| argument.name == NAMESPACE);
    let namespace = namespace.map_or("", |argument| argument.value.as_str());
    let mut id = String::new();
    if !namespace.is_empty() {
        id.push_str(&format!("{namespace}/"));
    }
    id.push_str(&cache.id);
    if cache.owner.is_none() && cache.from.is_none() {
        return id;
    }
    let mut writer = KeyWriter::new("cache mount");
    writer.list("owners", usize::from(cache.owner.is_some()));
    if let Some(owner) = cache.owner {
        writer.number("user", u64::from(owner.uid));
        writer.number("group", u64::from(owner.gid));
        writer.number("mode", u64::from(owner.mode));
    }
    match &cache.from {
        None | Some(CopySource::Context) => writer.optional("from", None),
        Some(CopySource::NamedContext(name)) => writer.text("context", name),
        Some(CopySource::Stage(stage)) => writer.number("stage", *stage as u64),
        Some(CopySource::Image(request)) => writer.text("image", &format!("{request:?}")),
    }
    // A blank begins no id that is a path, and separates what people read from what they do not.
    format!("{id} {}", writer.finish())
}
