//! `COPY` and `ADD`: what goes where.

use snapshot::Digest;

use super::error::{PlanError, PlanErrorKind};
use super::mode::FileMode;
use super::remote::{RemoteFile, RemoteKind, without_password};
use super::repository::{RemoteRepository, RepositoryFlags};
use super::stage::{Outcome, StageReader, StageState, rootfs_path};
use super::step::{
    Archives, CopyItem, CopySource, CopyStep, Destination, Footing, InlineFile, StepKind,
};
use crate::dockerfile::instruction::{Add, Copy, Sources};
use crate::dockerfile::shell::Lex;
use crate::dockerfile::{Spanned, Word};

pub(super) fn read_copy(
    reader: &StageReader<'_, '_>,
    state: &StageState,
    copy: &Copy,
) -> Result<Outcome, PlanError> {
    let from = match &copy.from {
        Some(word) => reader.copy_source(word)?,
        None => CopySource::Context,
    };
    let mut history = String::from("COPY");
    if on(&copy.parents) {
        history.push_str(" --parents");
    }
    let flags = flags(reader, state, [&copy.chown, &copy.chmod], &mut history)?;
    let has_parents = on(&copy.parents);
    let files =
        sources(reader, state, &copy.sources, &mut history, |source, _| {
            match RemoteKind::of(source) {
                None if has_parents => with_parents(source),
                None => rootfs_path(source).map(CopyItem::Path),
                Some(_) => Err(PlanErrorKind::CopyOfUrl { word: without_password(source) }),
            }
        })?;
    Ok(Outcome {
        kind: StepKind::Copy(CopyStep {
            exclude: excluded(reader, state, &copy.exclude)?,
            footing: footing(&copy.link),
            ..files.into_step(from, flags, Archives::Copied)
        }),
        history: Some(history),
        unsupported: None,
    })
}

pub(super) fn read_add(
    reader: &StageReader<'_, '_>,
    state: &StageState,
    add: &Add,
) -> Result<Outcome, PlanError> {
    let mut history = String::from("ADD");
    let flags = flags(reader, state, [&add.chown, &add.chmod], &mut history)?;
    let checksum = match &add.checksum {
        Some(word) => Some((reader.word(state, word)?, word.span)),
        None => None,
    };
    let checksum = checksum.filter(|(text, _)| !text.is_empty());
    // Unless it is said, what comes from elsewhere is not unpacked.
    let archives = |default| match add.unpack.as_ref().map(|flag| flag.value) {
        None => default,
        Some(true) => Archives::Unpacked,
        Some(false) => Archives::Copied,
    };
    let files = sources(reader, state, &add.sources, &mut history, |source, word| {
        match RemoteKind::of(source) {
            None => rootfs_path(source).map(CopyItem::Path),
            Some(RemoteKind::File) => {
                let digest = checksum.as_ref().map(|(text, _)| digest(text)).transpose()?;
                let archives = archives(Archives::Copied);
                RemoteFile::parse(source, &word.value, digest, archives).map(CopyItem::File)
            }
            Some(RemoteKind::Repository) => {
                let flags = RepositoryFlags {
                    checksum: checksum.as_ref().map(|(text, _)| text.as_str()),
                    keep_git_directory: add.keep_git_dir.as_ref().map(|flag| flag.value),
                };
                let repository = RemoteRepository::parse(source, flags).map_err(|source| {
                    PlanErrorKind::Repository { word: word.value.clone(), source }
                })?;
                Ok(CopyItem::Repository(repository))
            }
        }
    })?;
    if let Some((_, span)) = checksum
        && !matches!(files.sources.as_slice(), [CopyItem::File(_) | CopyItem::Repository(_)])
    {
        return Err(PlanErrorKind::ChecksumOfOthers.at(span));
    }
    Ok(Outcome {
        kind: StepKind::Copy(CopyStep {
            exclude: excluded(reader, state, &add.exclude)?,
            footing: footing(&add.link),
            ..files.into_step(CopySource::Context, flags, archives(Archives::Unpacked))
        }),
        history: Some(history),
        unsupported: None,
    })
}

fn digest(text: &str) -> Result<Digest, PlanErrorKind> {
    text.parse().map_err(|_| PlanErrorKind::Checksum { text: text.to_owned() })
}

/// Expands the patterns of `--exclude`.
fn excluded(
    reader: &StageReader<'_, '_>,
    state: &StageState,
    words: &[Word],
) -> Result<Vec<String>, PlanError> {
    words.iter().map(|word| reader.word(state, word)).collect()
}

fn footing(link: &Option<Spanned<bool>>) -> Footing {
    match on(link) {
        true => Footing::Nothing,
        false => Footing::Stage,
    }
}

/// A flag that is off says nothing.
fn on(flag: &Option<Spanned<bool>>) -> bool {
    flag.as_ref().is_some_and(|flag| flag.value)
}

/// Parts a source at its first `/./`: what is before it is where the rest is looked for, and only the
/// directories of the rest are made.
fn with_parents(source: &str) -> Result<CopyItem, PlanErrorKind> {
    let (directory, pattern) = source.split_once("/./").unwrap_or(("/", source));
    let (directory, pattern) = (rootfs_path(directory)?, rootfs_path(pattern)?);
    Ok(CopyItem::WithParents { directory, pattern })
}

struct Flags {
    owner: Option<String>,
    mode: Option<FileMode>,
}

/// Expands `--chown` and `--chmod` and writes them down. Empty ones count as absent.
fn flags(
    reader: &StageReader<'_, '_>,
    state: &StageState,
    [chown, chmod]: [&Option<Word>; 2],
    history: &mut String,
) -> Result<Flags, PlanError> {
    let owner = match chown {
        Some(word) => Some(reader.word(state, word)?).filter(|owner| !owner.is_empty()),
        None => None,
    };
    if let Some(owner) = &owner {
        history.push_str(&format!(" --chown={owner}"));
    }
    let mut mode = None;
    if let Some(word) = chmod {
        let text = reader.word(state, word)?;
        if !text.is_empty() {
            let read = FileMode::parse(&text);
            mode = Some(read.map_err(|error| PlanErrorKind::Chmod(error).at(word.span))?);
            history.push_str(&format!(" --chmod={text}"));
        }
    }
    Ok(Flags { owner, mode })
}

struct Files {
    sources: Vec<CopyItem>,
    inline: Vec<InlineFile>,
    destination: Destination,
}

impl Files {
    fn into_step(self, from: CopySource, flags: Flags, archives: Archives) -> CopyStep {
        CopyStep {
            from,
            sources: self.sources,
            inline: self.inline,
            destination: self.destination,
            owner: flags.owner,
            mode: flags.mode,
            archives,
            exclude: Vec::new(),
            footing: Footing::Stage,
        }
    }
}

/// Reads what is copied, and where to; `read` says what a source is.
fn sources(
    reader: &StageReader<'_, '_>,
    state: &StageState,
    written: &Sources,
    history: &mut String,
    mut read: impl FnMut(&str, &Word) -> Result<CopyItem, PlanErrorKind>,
) -> Result<Files, PlanError> {
    let mut sources = Vec::with_capacity(written.paths.len());
    for word in &written.paths {
        let source = reader.word(state, word)?;
        history.push(' ');
        history.push_str(&without_password(&source));
        sources.push(read(&source, word).map_err(|kind| kind.at(word.span))?);
    }
    let mut inline = Vec::with_capacity(written.inline.len());
    for file in &written.inline {
        history.push_str(" <<");
        history.push_str(&file.name);
        let content = match (file.expand, std::str::from_utf8(&file.content)) {
            (true, Ok(text)) => {
                let expanded = Lex::for_heredoc().expand(text, |name| state.variables.get(name));
                let expanded = expanded.map_err(|source| {
                    PlanErrorKind::Expand { word: format!("<<{}", file.name), source }.at(file.span)
                })?;
                expanded.text.into_bytes()
            }
            // Text that is no UTF-8 has no variables that could be told apart from its bytes.
            _ => file.content.clone(),
        };
        let is_name = rootfs_path(&file.name)
            .is_ok_and(|path| path.as_bytes() == file.name.as_bytes() && !path.is_root())
            && !file.name.contains('/');
        if !is_name {
            return Err(PlanErrorKind::InlineName { name: file.name.clone() }.at(file.span));
        }
        inline.push(InlineFile { name: file.name.clone(), content });
    }
    let typed = reader.word(state, &written.destination)?;
    history.push_str(&format!(" {typed} # buildkit"));
    let destination =
        destination(state, &typed).map_err(|kind| kind.at(written.destination.span))?;
    Ok(Files { sources, inline, destination })
}

/// Returns where a destination leads, taken from the working directory unless it is absolute.
fn destination(state: &StageState, typed: &str) -> Result<Destination, PlanErrorKind> {
    let from =
        if typed.starts_with('/') { rootfs_path("/")? } else { state.working_directory()? };
    let path = from
        .join(typed)
        .map_err(|source| PlanErrorKind::Path { word: typed.to_owned(), source })?;
    let is_directory = matches!(typed, "" | ".") || typed.ends_with('/') || typed.ends_with("/.");
    Ok(Destination { path, is_directory })
}
