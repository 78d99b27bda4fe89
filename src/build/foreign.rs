//! What is in `/` and in no image, and what is in the image and cannot be in `/`.

use std::collections::{BTreeSet, HashSet};

use snapshot::layer::{Content, Contents};
use snapshot::{
    Change, ChangeKind, Changeset, FileKind, IgnoreList, Index, InodeId, Metadata, PathSet, Rootfs,
    RootfsError, RootfsPath, Row, xattr,
};

use super::error::StepError;
use super::islands::{Harvest, Islands, Sea};
use super::mirror::Mirror;
use super::roots::Home;
use super::session::Session;
use crate::archive::Beneath;
use crate::execute::{self, Target};
use crate::plan::{RunStep, WorkdirStep};
use crate::report::event::Event;

/// How the files of a stage and those of the container it is built in stand to each other.
pub(super) struct Foreign {
    /// Paths that were there before the first stage, and that no stage has changed.
    paths: HashSet<RootfsPath>,
    /// Directories that no snapshot looks at.
    protected: Vec<InodeId>,
    beneath: Beneath,
    /// What no layer shall have.
    ignore: IgnoreList,
    /// Where the program's own directories are in the root.
    own: Vec<RootfsPath>,
    /// What steps put beneath.
    put: BTreeSet<RootfsPath>,
    /// The same, until it is in a layer.
    waiting: BTreeSet<RootfsPath>,
    /// What commands took away of it, until a layer says so.
    removed: Vec<RootfsPath>,
    /// What the user was told is covered.
    told: HashSet<RootfsPath>,
}

/// What of the root is the build's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept<'a> {
    /// Where the program's own directories are.
    pub(super) own: &'a [RootfsPath],
    /// Those and the ones that it reads, such as the context.
    pub(super) protected: &'a [InodeId],
}

/// Who else is in the root.
pub(super) struct Strangers {
    /// What was there before the first stage.
    pub(super) paths: HashSet<RootfsPath>,
    /// Directories that no snapshot looks at.
    pub(super) protected: Vec<InodeId>,
    /// What no layer shall have.
    pub(super) ignore: IgnoreList,
    /// Where the program's own directories are in the root.
    pub(super) own: Vec<RootfsPath>,
}

impl Foreign {
    pub(super) fn new(strangers: Strangers, beneath: Beneath) -> Self {
        let Strangers { paths, protected, ignore, own } = strangers;
        let (put, waiting) = (BTreeSet::new(), BTreeSet::new());
        let (removed, told) = (Vec::new(), HashSet::new());
        Self { paths, protected, beneath, ignore, own, put, waiting, removed, told }
    }

    pub(super) fn protected(&self) -> impl Iterator<Item = InodeId> + '_ {
        self.protected.iter().copied()
    }

    fn beneath(&self) -> &Beneath {
        &self.beneath
    }

    /// Notes a path that a step put beneath, and returns what covers it if that was not named before.
    fn note(&mut self, path: RootfsPath) -> Option<RootfsPath> {
        let cover = self.beneath.cover(&path)?.clone();
        if !self.ignore.contains(&path) {
            self.waiting.insert(path.clone());
        }
        self.put.insert(path);
        self.told.insert(cover.clone()).then_some(cover)
    }

    /// Returns what a layer has to hold where a snapshot found `changes` on disk.
    ///
    /// Leaves out the removal of what was never in the image: a whiteout for nothing is an error to
    /// some who unpack it. What a stage has changed is the image's from then on. Adds what was put
    /// beneath, and takes it into the index.
    fn complete(
        &mut self,
        changes: Changeset,
        index: &mut Index,
    ) -> Result<Changeset, RootfsError> {
        let ours = |change: &Change| match change.kind {
            ChangeKind::Removed => !self.paths.contains(&change.path),
            ChangeKind::Added
            | ChangeKind::Modified
            | ChangeKind::Ancestor
            | ChangeKind::Linked => true,
        };
        let mut kept: Vec<Change> = changes.into_iter().filter(ours).collect();
        for path in std::mem::take(&mut self.removed) {
            // What no layer has yet needs no whiteout.
            if index.get(&path).is_some() && !self.ignore.contains(&path) {
                for above in path.ancestors() {
                    let metadata = index.get(&above).map(|row| row.metadata);
                    kept.push(Change { path: above, kind: ChangeKind::Ancestor, metadata });
                }
                index.remove(&path);
                kept.push(Change { path, kind: ChangeKind::Removed, metadata: None });
            }
        }
        for path in std::mem::take(&mut self.waiting) {
            // A later step may have replaced what it was in.
            let Some(metadata) = self.beneath.files().metadata(&path)? else { continue };
            let xattrs = xattr::digest(&self.beneath.files().xattrs(&path)?);
            let known = index.get(&path).filter(|_| !self.paths.contains(&path));
            for above in path.ancestors() {
                let metadata = index.get(&above).map(|row| row.metadata);
                kept.push(Change { path: above, kind: ChangeKind::Ancestor, metadata });
            }
            let kind = if known.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
            kept.push(Change { path: path.clone(), kind, metadata: Some(metadata) });
            index.insert(&path, Row { metadata, content: None, xattrs, shadow: true });
        }
        for change in &kept {
            self.paths.remove(&change.path);
        }
        Ok(Changeset::new(kept))
    }

    /// Makes of `root`, to which the stage was moved, what the stage is: the residents' directories
    /// go, and what was beneath comes.
    pub(super) fn move_into(&self, root: &Rootfs) -> Result<(), RootfsError> {
        let mut paths: Vec<&RootfsPath> = self.paths.iter().collect();
        paths.sort();
        // Inner ones first.
        for path in paths.into_iter().rev().filter(|path| !path.is_root()) {
            let is_directory = |found: Metadata| found.kind == FileKind::Directory;
            if root.metadata(path)?.is_some_and(is_directory) && root.read_dir(path)?.is_empty() {
                root.remove(path)?;
            }
        }
        self.beneath.move_into(root)
    }

    /// Says which of `changes` have their content beneath.
    fn place_contents(
        &self,
        changes: &Changeset,
        contents: &mut Contents,
    ) -> Result<(), RootfsError> {
        let root = self.beneath.files();
        let covered = |change: &&Change| self.beneath.cover(&change.path).is_some();
        for Change { path, .. } in changes.iter().filter(covered) {
            if root.metadata(path)?.is_some() {
                let (root, path) = (root.clone(), path.clone());
                let xattrs = root.xattrs(&path)?;
                contents
                    .insert(path.clone(), Content::Context { root, path, xattrs, expected: None });
            }
        }
        Ok(())
    }
}

impl Home {
    /// Returns the files of a stage, as a step that writes to them has them.
    pub(super) fn target<'a>(&'a self, rootfs: &'a Rootfs) -> Target<'a> {
        let foreign = self.foreign();
        Target::new(rootfs, foreign.map(Foreign::beneath))
            .with_foreign(foreign.map(|foreign| &foreign.paths))
    }

    /// Shows a command what the Dockerfile has put where something covers it, its working directory
    /// among that; tells the user what becomes of what is written there.
    pub(super) fn show(
        &mut self,
        session: &Session<'_>,
        rootfs: &Rootfs,
        run: &RunStep,
    ) -> Result<Option<Islands>, StepError> {
        let Self::Place(foreign) = self else { return Ok(None) };
        let start = rootfs.resolve(&run.working_directory)?;
        if let Some(cover) = foreign.beneath.cover(&start).cloned() {
            if foreign.told.insert(cover.clone()) {
                session.events.send(Event::Warning { text: covered_text(&cover) });
            }
            // What WORKDIR has not made, nobody has.
            let workdir = WorkdirStep { path: start.clone(), user: run.user.clone() };
            let made = execute::make_working_dir(self.target(rootfs), &workdir)?;
            self.note(session, made);
        }
        let Self::Place(foreign) = self else { return Ok(None) };
        if foreign.put.is_empty() {
            return Ok(None);
        }
        let execution = &session.options.execution;
        let sea = Sea {
            image: foreign.beneath.files(),
            put: &foreign.put,
            own: &foreign.own,
            start: &start,
            work: &execution.work_directory,
        };
        Islands::show(&sea).map(Some)
    }

    /// Takes what a command has made of what it was shown for the image's.
    pub(super) fn take_back(&mut self, islands: Islands) -> Result<(), StepError> {
        let Self::Place(foreign) = self else { return Ok(()) };
        let Harvest { changed, removed } = islands.take_back(foreign.beneath.files())?;
        for path in &removed {
            foreign.put.retain(|put| !put.starts_with(path));
            foreign.waiting.retain(|waiting| !waiting.starts_with(path));
        }
        foreign.removed.extend(removed);
        for path in changed {
            foreign.note(path);
        }
        Ok(())
    }

    /// Puts copies of entries, each after the directory that it is in, over what the stage has there.
    pub(super) fn lay(
        &self,
        rootfs: &Rootfs,
        from: &Rootfs,
        entries: &[(RootfsPath, Metadata)],
    ) -> Result<(), StepError> {
        let Some(beneath) = self.foreign().map(Foreign::beneath) else {
            return Ok(Mirror::new(from, rootfs).copy(entries)?);
        };
        let is_covered = |entry: &(RootfsPath, Metadata)| beneath.cover(&entry.0).is_some();
        let (covered, seen): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(is_covered);
        Mirror::new(from, rootfs).copy(&seen)?;
        for (path, _) in &covered {
            beneath.files().create_dir_all(&path.parent().unwrap_or_default(), &Beneath::WAY)?;
        }
        Ok(Mirror::new(from, beneath.files()).copy(&covered)?)
    }

    /// Takes note of what a step put where commands cannot see it, tells the user once of each such
    /// place, and returns the other paths.
    pub(super) fn note(
        &mut self,
        session: &Session<'_>,
        put: impl IntoIterator<Item = RootfsPath>,
    ) -> PathSet {
        let mut on_disk = PathSet::new();
        for path in put {
            match self {
                Self::Place(foreign) if foreign.beneath.cover(&path).is_some() => {
                    if let Some(cover) = foreign.note(path) {
                        session.events.send(Event::Warning { text: covered_text(&cover) });
                    }
                }
                Self::Place(_) | Self::Folder(_) | Self::Moved(_) | Self::Tree(_) => {
                    on_disk.insert(path);
                }
            }
        }
        on_disk
    }

    /// Returns what a layer has to hold where a snapshot found `changes` on disk.
    pub(super) fn complete(
        &mut self,
        changes: Changeset,
        index: &mut Index,
    ) -> Result<Changeset, RootfsError> {
        match self {
            Self::Place(foreign) => foreign.complete(changes, index),
            Self::Folder(_) | Self::Moved(_) | Self::Tree(_) => Ok(changes),
        }
    }

    /// Says where the content of `changes` is.
    pub(super) fn contents(
        &self,
        rootfs: &Rootfs,
        changes: &Changeset,
    ) -> Result<Contents, RootfsError> {
        let mut contents = Contents::in_rootfs(rootfs.clone());
        if let Some(foreign) = self.foreign() {
            foreign.place_contents(changes, &mut contents)?;
        }
        Ok(contents)
    }

    /// Returns what of `/` is the build's where a stage is in it; `None` where it has a directory of
    /// its own.
    pub(super) fn kept(&self) -> Option<Kept<'_>> {
        let foreign = self.foreign()?;
        Some(Kept { own: &foreign.own, protected: &foreign.protected })
    }

    fn foreign(&self) -> Option<&Foreign> {
        match self {
            Self::Place(foreign) => Some(foreign),
            Self::Folder(_) | Self::Moved(_) | Self::Tree(_) => None,
        }
    }
}

fn covered_text(cover: &RootfsPath) -> String {
    format!(
        "`{cover}` belongs to this container (it is mounted, or the build's own): the image gets \
         what the Dockerfile puts there, and what a RUN writes in directories that the Dockerfile \
         makes there; of the container's own files there, and of what a RUN writes beside them, it \
         gets nothing; mount the volume elsewhere"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &str, kind: ChangeKind) -> Change {
        let path = RootfsPath::new(path).expect("a path");
        Change { path, kind, metadata: None }
    }

    #[test]
    fn what_was_never_in_the_image_is_not_removed_from_it() {
        let path = |text: &str| RootfsPath::new(text).expect("a path");
        let paths = ["etc", "etc/a", "etc/b"].map(path).into_iter().collect();
        let folder = tempfile::tempdir().expect("a temporary directory");
        let files = Rootfs::open(folder.path()).expect("open");
        let strangers =
            Strangers { paths, protected: Vec::new(), ignore: IgnoreList::new(), own: Vec::new() };
        let mut foreign = Foreign::new(strangers, Beneath::new(files, Vec::new()));
        let mut complete = |changes: Vec<Change>| {
            let changes = Changeset::new(changes);
            foreign.complete(changes, &mut Index::new()).expect("nothing beneath")
        };
        let removed = |path: &str| change(path, ChangeKind::Removed);
        let modified = change("etc/b", ChangeKind::Modified);
        let kept = complete(vec![removed("etc/a"), modified, removed("usr")]);
        let kept: Vec<String> = kept.iter().map(|change| change.path.to_string()).collect();
        assert_eq!(kept, ["/etc/b", "/usr"]);
        // Once a stage has changed it, it is in the image, and its removal counts.
        let kept = complete(vec![removed("etc/b")]);
        assert_eq!(kept.len(), 1);
    }
}
