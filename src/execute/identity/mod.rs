//! Who: the ids behind `USER`, `--chown` and `WORKDIR`, looked up in the stage's own files.
//!
//! Pure but for [`read_database`]. Must never ask the machine's user database. The rules differ by
//! place: a bare number means one group in `USER` and another in `--chown`.

mod database;

use snapshot::{Rootfs, RootfsError, RootfsPath};
use thiserror::Error;

pub use database::{Database, Group, User};

use database::number;

/// Largest `passwd` or `group` that is read.
pub(super) const LIMIT_BYTES: u64 = 64 << 20;

/// The ids and the home directory of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
    /// Home directory, for `HOME`.
    pub home: String,
}

/// The ids of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Ownership {
    /// The owner of everything that nobody else was named for.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// A name that the stage's files do not know.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// No such user.
    #[error("user `{name}` is not in the image's `/etc/passwd`")]
    UnknownUser {
        /// As written.
        name: String,
    },
    /// No such group.
    #[error("group `{name}` is not in the image's `/etc/group`")]
    UnknownGroup {
        /// As written.
        name: String,
    },
    /// A number too large for an id.
    #[error("id `{number}` is too large")]
    OutOfRange {
        /// As written.
        number: String,
    },
}

/// Reads the users and groups of a stage; files that are absent count as empty.
///
/// Links are followed inside the root: a `/etc/passwd` that leads elsewhere leads to a file of the
/// image.
///
/// # Errors
/// When a file is there and cannot be read, or is no regular file.
pub fn read_database(rootfs: &Rootfs) -> Result<Database, RootfsError> {
    let read = |path: &str| -> Result<Vec<u8>, RootfsError> {
        let path = rootfs.resolve(&literal(path))?;
        match rootfs.metadata(&path)? {
            None => Ok(Vec::new()),
            Some(_) => rootfs.read_file(&path, LIMIT_BYTES),
        }
    };
    Ok(Database::parse(&read("etc/passwd")?, &read("etc/group")?))
}

fn literal(path: &str) -> RootfsPath {
    RootfsPath::new(path).expect("a literal path without NUL")
}

/// Returns who a RUN is under `USER` as the configuration has it; empty means root.
///
/// `uid:gid` in numbers asks no file for ids and gives no supplementary groups; `user` gives the
/// user's own groups; a number unknown to `passwd` gives group 0; `user:group` gives that group
/// alone.
///
/// # Errors
/// When a name is not in the stage's files.
pub fn process_identity(user: &str, database: &Database) -> Result<Identity, IdentityError> {
    let (name, group) = split(user);
    let name = if name.is_empty() { "0" } else { name };
    let id = parse_id(name)?;
    let found = match id {
        Some(uid) => database.user_by_id(uid),
        None => database.user(name.as_bytes()),
    };
    let (uid, own_gid) = match (found, id) {
        (Some(user), _) => (user.uid, user.gid),
        (None, Some(uid)) => (uid, 0),
        (None, None) => return Err(IdentityError::UnknownUser { name: name.to_owned() }),
    };
    let (gid, groups) = match group {
        Some(group) => (group_id(group, database)?, Vec::new()),
        None => {
            let groups = found.map(|user| database.groups_of(&user.name)).unwrap_or_default();
            (own_gid, groups)
        }
    };
    Ok(Identity { uid, gid, groups, home: home(uid, database) })
}

/// Returns the owner that `--chown` names.
///
/// A bare number is both user and group; a bare name gives the user's own group.
///
/// # Errors
/// When a name is not in the stage's files. BuildKit takes root there without a word; its
/// documentation and the classic builder say that the build fails.
pub fn file_ownership(owner: &str, database: &Database) -> Result<Ownership, IdentityError> {
    let (name, group) = split(owner);
    let (uid, own_gid) = match parse_id(name)? {
        Some(uid) => (uid, uid),
        None => {
            let user = database
                .user(name.as_bytes())
                .ok_or_else(|| IdentityError::UnknownUser { name: name.to_owned() })?;
            (user.uid, user.gid)
        }
    };
    let gid = match group {
        Some(group) => group_id(group, database)?,
        None => own_gid,
    };
    Ok(Ownership { uid, gid })
}

/// Returns the owner that numbers alone name, or that nobody names; `None` where a file has to be
/// asked.
pub fn owner_in_numbers(owner: &str) -> Option<Ownership> {
    if owner.is_empty() {
        return Some(Ownership::ROOT);
    }
    file_ownership(owner, &Database::default()).ok()
}

/// Returns the owner of a directory that `WORKDIR` makes under `USER`: as `--chown` has it, but a
/// user that does not exist (yet) gives root, as in BuildKit.
pub fn working_dir_ownership(user: &str, database: &Database) -> Ownership {
    if user.is_empty() {
        return Ownership::ROOT;
    }
    file_ownership(user, database).unwrap_or_else(|error| {
        tracing::debug!(user, %error, "the working directory belongs to root");
        Ownership::ROOT
    })
}

/// Splits at the first colon; a group that is empty is none.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((user, group)) => (user, (!group.is_empty()).then_some(group)),
        None => (text, None),
    }
}

fn group_id(group: &str, database: &Database) -> Result<u32, IdentityError> {
    if let Some(gid) = parse_id(group)? {
        return Ok(gid);
    }
    database
        .group(group.as_bytes())
        .map(|group| group.gid)
        .ok_or_else(|| IdentityError::UnknownGroup { name: group.to_owned() })
}

/// Returns the id that `text` spells, `None` when it is a name. The largest value means "no id" to
/// the kernel.
fn parse_id(text: &str) -> Result<Option<u32>, IdentityError> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match number(text.as_bytes()) {
        Some(u32::MAX) => Err(IdentityError::OutOfRange { number: text.to_owned() }),
        None if is_number => Err(IdentityError::OutOfRange { number: text.to_owned() }),
        id => Ok(id),
    }
}

fn home(uid: u32, database: &Database) -> String {
    let own = database.user_by_id(uid).map(|user| String::from_utf8_lossy(&user.home).into_owned());
    match own {
        Some(home) if !home.is_empty() => home,
        Some(_) | None if uid == 0 => "/root".to_owned(),
        Some(_) | None => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests;
