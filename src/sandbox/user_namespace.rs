//! An ordinary user becomes root of a user namespace of its own.
//!
//! Everything that touches a root file system afterwards happens inside: the files of an image
//! belong to many users, and only there can an ordinary user make them. The process stays the same
//! one. Ids come from `/etc/subuid` and `/etc/subgid` through `newuidmap` and `newgidmap`, which
//! alone may hand them out.

use std::fs;
use std::io;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use snapshot::UnmappedOwner;

use super::SandboxError;
use super::run::Supervisor;
use super::wire::{IdMaps, IdRange, MapWay, Reply, Request, SetupAction};

/// Enters a user namespace with all ids that this user has, and a mount namespace with it.
///
/// The process must have one thread, and must not be hidden yet ([`super::hide_process`]): the
/// programs that map ids look at who owns it.
pub(super) fn enter(supervisor: &Path) -> Result<(), SandboxError> {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    let pid = std::process::id();
    let maps = if rustix::process::geteuid().is_root() {
        // All that we have ourselves: inside is as outside.
        IdMaps { pid, way: MapWay::Direct, uids: own_ids("uid_map")?, gids: own_ids("gid_map")? }
    } else {
        let name = name_of(uid);
        IdMaps {
            pid,
            way: MapWay::Programs,
            uids: ranges(uid, "/etc/subuid", uid, name.as_deref())?,
            gids: ranges(gid, "/etc/subgid", uid, name.as_deref())?,
        }
    };
    // Started before, because only from outside can ids be mapped that are not our own.
    let mapper = Supervisor::start(supervisor)?;
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).map_err(|errno| {
        SandboxError::NoUserNamespace { obstacle: obstacle(), source: errno.into() }
    })?;
    let mut said = Vec::new();
    let request = Request::MapIds(maps);
    match mapper.ask(&request, &mut |line| said.extend_from_slice(line.bytes))? {
        Reply::Works => Ok(()),
        Reply::SetupFailed(failure) => Err(match failure.action {
            SetupAction::FindMapper(program) => SandboxError::NoMapper { program },
            action => SandboxError::NoMapping {
                action,
                said: String::from_utf8_lossy(&said).trim().to_owned(),
            },
        }),
        other => Err(super::run::failure(other)),
    }
}

fn ranges(
    own: u32,
    file: &'static str,
    uid: u32,
    name: Option<&str>,
) -> Result<Vec<IdRange>, SandboxError> {
    let user = || name.map_or_else(|| uid.to_string(), str::to_owned);
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(SandboxError::HostFile { path: file.into(), source }),
    };
    let subordinate = subordinate(&text, uid, name);
    if subordinate.is_empty() {
        return Err(SandboxError::NoSubordinateIds { file, user: user() });
    }
    Ok(map(own, &subordinate))
}

/// Returns the ids of this process' own namespace, each mapped to itself.
fn own_ids(file: &str) -> Result<Vec<IdRange>, SandboxError> {
    let path = format!("/proc/self/{file}");
    let text = fs::read_to_string(&path)
        .map_err(|source| SandboxError::HostFile { path: path.into(), source })?;
    Ok(identity(&text))
}

/// Maps every id that a map knows to itself.
fn identity(map: &str) -> Vec<IdRange> {
    map.lines()
        .filter_map(|line| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
            let (inside, _, count) =
                (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
            Some(IdRange { inside, outside: inside, count })
        })
        .collect()
}

/// Returns the ranges, first id and count, that a file gives to a user by name or number.
fn subordinate(text: &str, uid: u32, name: Option<&str>) -> Vec<(u32, u32)> {
    let number = uid.to_string();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            let is_ours = Some(owner) == name || owner == number;
            (is_ours && count > 0).then_some((first, count))
        })
        .collect()
}

/// Maps root to ourselves and the ids from 1 on to the subordinate ones.
///
/// The kernel takes no id twice, while files do give the same ids by name and by number.
fn map(own: u32, subordinate: &[(u32, u32)]) -> Vec<IdRange> {
    let mut maps = vec![IdRange { inside: 0, outside: own, count: 1 }];
    let mut inside: u32 = 1;
    let mut given = subordinate.to_vec();
    given.sort_unstable();
    let mut free: u32 = 0;
    for (first, count) in given {
        let end = first.saturating_add(count);
        let outside = first.max(free);
        let count = end.saturating_sub(outside);
        free = free.max(end);
        // The greatest id means "none".
        let count = count.min((u32::MAX - 1).saturating_sub(inside));
        if count > 0 {
            maps.push(IdRange { inside, outside, count });
            inside = inside.saturating_add(count);
        }
    }
    maps
}

/// Returns the name that the machine has for a user.
fn name_of(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let number = uid.to_string();
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    })
}

/// Returns what to do where an owner in an image has no id here; `None` for other errors.
pub fn missing_ids_hint(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let refusal = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(UnmappedOwner { uid, gid }) = refusal.and_then(|inner| inner.downcast_ref()) {
            let greatest = uid.max(gid);
            return Some(format!(
                "the image needs ids up to {greatest}: give the user that many in `/etc/subuid` and \
                 `/etc/subgid`, or run zuwai as root"
            ));
        }
        cause = error.source();
    }
    None
}

/// What on this machine is known to keep ordinary users from user namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// `user.max_user_namespaces` is 0.
    MaxUserNamespaces,
    /// Debian's `kernel.unprivileged_userns_clone` is 0.
    UnprivilegedClone,
    /// Ubuntu's `kernel.apparmor_restrict_unprivileged_userns` is 1.
    AppArmor,
    /// Nothing that can be seen from here; in a container, its seccomp profile.
    Unknown,
}

impl Obstacle {
    /// Returns what an administrator can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::MaxUserNamespaces => "sudo sysctl -w user.max_user_namespaces=15000",
            Self::UnprivilegedClone => "sudo sysctl -w kernel.unprivileged_userns_clone=1",
            Self::AppArmor => {
                "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run zuwai as root"
            }
            Self::Unknown => "run zuwai as root",
        }
    }
}

/// Looks for what keeps us from user namespaces.
pub(super) fn obstacle() -> Obstacle {
    let is = |name: &str, value: &str| {
        fs::read_to_string(format!("/proc/sys/{name}")).is_ok_and(|text| text.trim() == value)
    };
    if is("user/max_user_namespaces", "0") {
        Obstacle::MaxUserNamespaces
    } else if is("kernel/unprivileged_userns_clone", "0") {
        Obstacle::UnprivilegedClone
    } else if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        Obstacle::AppArmor
    } else {
        Obstacle::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_found_by_name_and_number() {
        let text = "other:100:65536\n\
                    me:100000:65536\n\
                    1000:300000:10\n\
                    me:bad:1\n\
                    me:5\n\
                    me:7:0\n\
                    # me:1:1\n\
                    10000:1:1\n";
        assert_eq!(subordinate(text, 1000, Some("me")), [(100_000, 65536), (300_000, 10)]);
        assert_eq!(subordinate(text, 1000, None), [(300_000, 10)]);
        assert_eq!(subordinate(text, 7, Some("you")), []);
        assert_eq!(subordinate("", 7, Some("you")), []);
    }

    #[test]
    fn ids_that_are_given_twice_are_mapped_once() {
        let range = |inside, outside, count| IdRange { inside, outside, count };
        assert_eq!(map(7, &[(10, 5), (10, 5)]), [range(0, 7, 1), range(1, 10, 5)]);
        assert_eq!(
            map(7, &[(100, 3), (12, 6), (10, 5)]),
            [range(0, 7, 1), range(1, 10, 5), range(6, 15, 3), range(9, 100, 3)]
        );
    }

    #[test]
    fn root_maps_what_it_has_to_itself() {
        let range = |inside, count| IdRange { inside, outside: inside, count };
        assert_eq!(identity("         0          0 4294967295\n"), [range(0, u32::MAX)]);
        assert_eq!(identity("0 1000 1\n1 100000 65536\nbroken\n"), [range(0, 1), range(1, 65536)]);
    }

    #[test]
    fn root_is_ourselves_and_the_rest_follows_without_gaps() {
        let range = |inside, outside, count| IdRange { inside, outside, count };
        assert_eq!(map(1000, &[(100_000, 65536)]), [range(0, 1000, 1), range(1, 100_000, 65536)]);
        assert_eq!(
            map(7, &[(10, 5), (100, 3)]),
            [range(0, 7, 1), range(1, 10, 5), range(6, 100, 3)]
        );
        assert_eq!(
            map(7, &[(10, u32::MAX), (20, 1)]),
            [range(0, 7, 1), range(1, 10, u32::MAX - 10)]
        );
    }
}
