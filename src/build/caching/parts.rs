//! The parts that steps are made of.

use crate::build::options::{BuildOptions, CompressionChoice, Timestamps, VarRun};
use crate::cache::{KeyWriter, MadeOf};
use crate::execute::{Input, InputContent};
use crate::http::redact;
use crate::image::{Image, Platform, RuntimeConfig};
use crate::plan::{
    AddedSubmodules, Archives, BindMount, CacheMount, CopyItem, CopyStep, FileMode, Footing,
    GitDirectory, MountAccess, MountOwner, RemoteFile, RemoteRepository, RunMount, RunNetwork,
    RunStep, SecretMount, TmpfsMount, WorkdirStep,
};

/// Adds all that decides how steps become layers.
pub(super) fn option_parts(made_of: &mut MadeOf, options: &BuildOptions, platform: &Platform) {
    made_of.part("platform", "the platform", |writer| {
        writer.text("platform", &platform.to_string());
    });
    made_of.part("ignored", "`--ignore-path` or `--ignore-var-run`", |writer| {
        let ignored = &options.snapshots.ignored_paths;
        writer.list("ignored paths", ignored.len());
        ignored.iter().for_each(|path| writer.text("ignored", path));
        writer.flag("without /var/run", options.snapshots.var_run == VarRun::Ignored);
    });
    made_of.part("times", "`--reproducible`", |writer| {
        writer.flag("without times", options.layers.timestamps == Timestamps::Zeroed);
    });
    made_of.part("compression", "`--compression` or its level", |writer| {
        let (name, level) = match options.layers.compression {
            CompressionChoice::Gzip { level } => ("gzip", level),
            CompressionChoice::Zstd { level } => ("zstd", level),
        };
        writer.text("compression", name);
        writer.list("levels", usize::from(level.is_some()));
        level.iter().for_each(|level| writer.number("level", u64::from(*level)));
    });
}

/// Adds an image's files.
pub(super) fn layer_parts(made_of: &mut MadeOf, name: String, image: Option<&Image>) {
    made_of.part("layers", name, |writer| {
        let layers = image.map(Image::layers).unwrap_or_default();
        writer.list("layers", layers.len());
        layers.iter().for_each(|layer| writer.digest("diff id", &layer.diff_id));
    });
}

/// Adds what a command is, and all that it sees beside files; `config` is the image's at that point.
pub(super) fn run_parts(made_of: &mut MadeOf, run: &RunStep, config: &RuntimeConfig) {
    // What is mounted has parts of its own.
    let RunStep {
        argv,
        environment,
        undeclared,
        user,
        working_directory,
        script,
        mounts: _,
        network,
    } = run;
    made_of.part("command", "the instruction", |writer| {
        writer.list("words", argv.len());
        argv.iter().for_each(|word| writer.text("word", word));
        writer.list("scripts", usize::from(script.is_some()));
        if let Some(script) = script {
            writer.bytes("path", script.path.as_bytes());
            writer.bytes("content", &script.content);
        }
        writer.flag("without network", *network == RunNetwork::None);
    });
    for (name, value) in environment.iter().filter(|(name, _)| !undeclared.contains(name)) {
        let entry = format!("{name}={value}");
        let kind = if config.env.contains(&entry) { "ENV" } else { "ARG" };
        made_of.private_part("variable", format!("{kind} {name}"), |writer| {
            writer.text("name", name);
            writer.text("value", value);
        });
    }
    made_of.part("user", "the user", |writer| writer.text("user", user));
    made_of.part("directory", "the directory", |writer| {
        writer.bytes("directory", working_directory.as_bytes());
    });
}

/// Adds what a command is given, but for the files of a bind: names of caches and secrets, not what
/// is in them, and whether a secret is there, as the command does something else without it.
pub(super) fn mount_parts(made_of: &mut MadeOf, mount: &RunMount, is_given: &dyn Fn(&str) -> bool) {
    made_of.part("mount", "the instruction", |writer| {
        writer.list("targets", usize::from(mount.target().is_some()));
        mount.target().iter().for_each(|target| writer.bytes("target", target.as_bytes()));
        match mount {
            RunMount::Bind(BindMount { from: _, source, target: _, access }) => {
                writer.flag("bind is writable", *access == MountAccess::Writable);
                writer.bytes("source", source.as_bytes());
            }
            RunMount::Cache(cache) => {
                let CacheMount { id, sharing: _, from: _, source, target: _, access, owner } =
                    cache;
                writer.text("cache", id);
                writer.flag("cache is writable", *access == MountAccess::Writable);
                writer.bytes("source", source.as_bytes());
                writer.list("owners", usize::from(owner.is_some()));
                owner.iter().for_each(|owner| owner_part(writer, owner));
            }
            RunMount::Tmpfs(TmpfsMount { target: _, size_bytes }) => {
                writer.number("tmpfs", size_bytes.unwrap_or_default());
            }
            RunMount::Secret(secret) => {
                let SecretMount { id, target: _, variable, is_required: _, owner } = secret;
                writer.text("secret", id);
                writer.optional("variable", variable.as_deref());
                owner_part(writer, owner);
            }
        }
    });
    if let RunMount::Secret(SecretMount { id, .. }) = mount {
        made_of.part("secret", "whether there is a secret", |writer| {
            writer.flag("given", is_given(id));
        });
    }
}

fn owner_part(writer: &mut KeyWriter, owner: &MountOwner) {
    let MountOwner { uid, gid, mode } = owner;
    writer.number("user", u64::from(*uid));
    writer.number("group", u64::from(*gid));
    writer.number("mode", u64::from(*mode));
}

/// Adds what a WORKDIR makes.
pub(super) fn workdir_parts(made_of: &mut MadeOf, workdir: &WorkdirStep) {
    let WorkdirStep { path, user } = workdir;
    made_of.part("directory", "the directory", |writer| writer.bytes("path", path.as_bytes()));
    made_of.part("user", "the user", |writer| writer.text("user", user));
}

/// Adds what a COPY says, but for what it copies.
pub(super) fn copy_parts(made_of: &mut MadeOf, copy: &CopyStep) {
    let CopyStep { from: _, sources, inline, destination, owner, mode, archives, exclude, footing } =
        copy;
    made_of.part("copy", "the instruction", |writer| {
        writer.flag("archives are unpacked", *archives == Archives::Unpacked);
        writer.flag("on nothing", *footing == Footing::Nothing);
        writer.list("patterns", exclude.len());
        exclude.iter().for_each(|pattern| writer.text("without", pattern));
        writer.bytes("destination", destination.path.as_bytes());
        writer.flag("destination is a directory", destination.is_directory);
        writer.optional("owner", owner.as_deref());
        match mode {
            None => writer.optional("mode", None),
            Some(FileMode::Absolute(mode)) => writer.number("mode", u64::from(*mode)),
            Some(mode @ FileMode::Symbolic(_)) => writer.text("mode", &mode.to_string()),
        }
        writer.list("sources", sources.len());
        for source in sources {
            match source {
                CopyItem::Path(path) => writer.bytes("source", path.as_bytes()),
                CopyItem::WithParents { directory, pattern } => {
                    writer.bytes("below", directory.as_bytes());
                    writer.bytes("with parents", pattern.as_bytes());
                }
                // Where it is from does not matter, only what it is, which is a part of its own.
                CopyItem::File(RemoteFile { url: _, name, checksum: _, archives }) => {
                    writer.bytes("fetched as", name.as_bytes());
                    writer.flag("is unpacked", *archives == Archives::Unpacked);
                }
                CopyItem::Repository(repository) => repository_part(writer, repository),
            }
        }
        writer.list("inline files", inline.len());
        for file in inline {
            writer.text("name", &file.name);
            writer.bytes("content", &file.content);
        }
    });
}

/// Writes what of a repository is added; which commit that is, is a part of its own.
fn repository_part(writer: &mut KeyWriter, repository: &RemoteRepository) {
    let RemoteRepository { url, reference, directory, checksum: _, git_directory, submodules } =
        repository;
    writer.bytes("directory of a repository", directory.as_bytes());
    writer.flag("with submodules", *submodules == AddedSubmodules::Fetched);
    let has_git = *git_directory == GitDirectory::Kept;
    writer.flag("with .git", has_git);
    if has_git {
        // They are written there.
        writer.text("url", &redact(url));
        writer.optional("reference", reference.as_deref());
    }
}

/// Writes one thing that a COPY reads.
pub(super) fn input_part(writer: &mut KeyWriter, input: &Input) {
    let Input { source, path, kind, mode, xattrs, content } = input;
    writer.number("source", *source as u64);
    writer.bytes("path", path.as_bytes());
    writer.text("kind", &kind.to_string());
    writer.list("modes", usize::from(mode.is_some()));
    mode.iter().for_each(|mode| writer.number("mode", u64::from(*mode)));
    writer.list("attributes", xattrs.len());
    for (name, value) in xattrs {
        writer.bytes("name", name);
        writer.bytes("value", value);
    }
    match content {
        InputContent::Bytes(digest) => writer.digest("bytes", digest),
        InputContent::Target(target) => writer.bytes("target", target),
        InputContent::SameAs(first) => writer.bytes("same as", first.as_bytes()),
        InputContent::Device(major, minor) => {
            writer.number("major", u64::from(*major));
            writer.number("minor", u64::from(*minor));
        }
        InputContent::None => writer.optional("nothing", None),
    }
}
