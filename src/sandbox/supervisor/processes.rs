//! Who is alive: the processes of this PID namespace, read from `/proc`.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::{Dir, Mode, OFlags, openat};

/// Longest `stat` line that is read; the kernel's are a few hundred bytes.
const LIMIT_BYTES: u64 = 4096;

/// The kernel's table of processes, opened before RUN could cover `/proc`.
pub(super) struct ProcessTable {
    proc: OwnedFd,
}

/// A process that is not yet dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub pid: i32,
    pub parent: i32,
    /// At most 15 bytes, and whatever the process likes.
    pub name: String,
}

impl ProcessTable {
    pub fn open() -> rustix::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { proc: rustix::fs::open("/proc", flags, Mode::empty())? })
    }

    /// Returns every process that is no zombie; what vanishes meanwhile is left out.
    fn all(&self) -> Vec<Process> {
        let Ok(entries) = Dir::read_from(&self.proc) else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse::<i32>().ok())
            .filter_map(|pid| {
                let path = format!("{pid}/stat");
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                let stat = openat(&self.proc, path, flags, Mode::empty()).ok()?;
                let mut line = Vec::new();
                File::from(stat).take(LIMIT_BYTES).read_to_end(&mut line).ok()?;
                parse(pid, &line)
            })
            .collect()
    }

    /// Returns all but ourselves, which in a PID namespace of our own is everything of the step.
    pub fn others(&self) -> Vec<Process> {
        let own = nix::unistd::getpid().as_raw();
        self.all().into_iter().filter(|process| process.pid != own).collect()
    }

    /// Returns our children, their children, and so on.
    pub fn descendants(&self) -> Vec<Process> {
        descendants_of(nix::unistd::getpid().as_raw(), self.all())
    }
}

/// Reads one `stat` line; `None` for a zombie, which is dead but for the reaping.
fn parse(pid: i32, line: &[u8]) -> Option<Process> {
    // The name is in parentheses and may hold parentheses, blanks and line ends itself.
    let open = line.iter().position(|&byte| byte == b'(')?;
    let close = line.iter().rposition(|&byte| byte == b')')?;
    let name = line.get(open + 1..close)?;
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let (state, parent) = (fields.next()?, fields.next()?.parse().ok()?);
    let name = String::from_utf8_lossy(name).into_owned();
    (!matches!(state, "Z" | "X")).then_some(Process { pid, parent, name })
}

fn descendants_of(top: i32, mut all: Vec<Process>) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![top];
    while let Some(parent) = parents.pop() {
        let (children, others) = all.into_iter().partition(|process| process.parent == parent);
        all = others;
        let children: Vec<Process> = children;
        parents.extend(children.iter().map(|child| child.pid));
        found.extend(children);
    }
    found.sort_by_key(|process| process.pid);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, name: &str) -> Process {
        Process { pid, parent, name: name.to_owned() }
    }

    #[test]
    fn names_may_hold_anything() {
        assert_eq!(parse(7, b"7 (sh) S 1 7 7 0"), Some(process(7, 1, "sh")));
        assert_eq!(parse(7, b"7 (a) Z 1) R 3 7"), Some(process(7, 3, "a) Z 1")));
        assert_eq!(parse(7, b"7 (\n( )) D 12 7"), Some(process(7, 12, "\n( )")));
        assert_eq!(parse(7, b"7 (dead) Z 1 7"), None);
        assert_eq!(parse(7, b"7 (x"), None);
        assert_eq!(parse(7, b"7 (x) S"), None);
        assert_eq!(parse(7, b""), None);
    }

    #[test]
    fn descendants_are_found_at_any_depth_and_strangers_are_not() {
        let all = vec![
            process(1, 0, "init"),
            process(5, 1, "us"),
            process(9, 7, "grandchild"),
            process(7, 5, "child"),
            process(8, 5, "child"),
            process(6, 1, "stranger"),
            process(10, 6, "stranger"),
            process(11, 9, "deep"),
        ];
        let pids: Vec<i32> = descendants_of(5, all).iter().map(|process| process.pid).collect();
        assert_eq!(pids, [7, 8, 9, 11]);
    }

    #[test]
    fn we_are_in_the_table() {
        let table = ProcessTable::open().expect("/proc");
        let own = nix::unistd::getpid().as_raw();
        assert!(table.all().iter().any(|process| process.pid == own));
        assert!(table.others().iter().all(|process| process.pid != own));
    }
}
