//! The rootfs' own `passwd` and `group`, parsed leniently: a line that makes no sense is no entry.

/// A line of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: Vec<u8>,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home directory.
    pub home: Vec<u8>,
}

/// A line of `/etc/group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name.
    pub name: Vec<u8>,
    /// Group id.
    pub gid: u32,
    /// Names of the users that have it as a supplementary group.
    pub members: Vec<Vec<u8>>,
}

/// The users and groups of a root file system; empty where it has no such files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Database {
    /// In the order of the file: the first match counts.
    pub users: Vec<User>,
    /// In the order of the file.
    pub groups: Vec<Group>,
}

impl Database {
    /// Parses the contents of the two files.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        Self { users: parse_users(passwd), groups: parse_groups(group) }
    }

    /// Returns the first user of that name.
    pub fn user(&self, name: &[u8]) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// Returns the first user with that id.
    pub fn user_by_id(&self, uid: u32) -> Option<&User> {
        self.users.iter().find(|user| user.uid == uid)
    }

    /// Returns the first group of that name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// Returns the ids of the groups that name `user` as a member, in the order of the file.
    pub fn groups_of(&self, user: &[u8]) -> Vec<u32> {
        self.groups
            .iter()
            .filter(|group| group.members.iter().any(|member| member == user))
            .map(|group| group.gid)
            .collect()
    }
}

fn parse_users(text: &[u8]) -> Vec<User> {
    lines(text)
        .filter_map(|fields| {
            let [name, _, uid, gid, rest @ ..] = fields.as_slice() else { return None };
            let home = rest.get(1).map(|home| home.to_vec()).unwrap_or_default();
            Some(User { name: name.to_vec(), uid: number(uid)?, gid: number(gid)?, home })
        })
        .collect()
}

fn parse_groups(text: &[u8]) -> Vec<Group> {
    lines(text)
        .filter_map(|fields| {
            let [name, _, gid, rest @ ..] = fields.as_slice() else { return None };
            let members = rest
                .first()
                .map(|members| members.split(|&byte| byte == b','))
                .into_iter()
                .flatten()
                .map(|member| member.trim_ascii().to_vec())
                .filter(|member| !member.is_empty())
                .collect();
            Some(Group { name: name.to_vec(), gid: number(gid)?, members })
        })
        .collect()
}

/// Returns the fields of every line that has any.
fn lines(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    text.split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
        .map(|line| line.split(|&byte| byte == b':').collect())
}

/// Returns the number that `text` spells in plain digits.
pub(super) fn number(text: &[u8]) -> Option<u32> {
    let is_plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if is_plain { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}
