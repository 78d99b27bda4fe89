//! Finds the program of a command and executes it; says in words why that did not work.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use nix::errno::Errno;

use super::command::c_strings;
use crate::sandbox::start_failure::StartFailure;
use crate::sandbox::wire::Command;

/// Searched when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Bytes of a file that are enough to tell what it is: the kernel looks at 256.
const HEAD_BYTES: u64 = 4096;

/// Becomes the command's program; returns only when that fails, and says why.
pub(super) fn execute(command: &Command) -> StartFailure {
    let name = command.argv.first().map(String::as_str).unwrap_or_default();
    let (Ok(argv), Ok(env)) = (c_strings(&command.argv), c_strings(&command.env)) else {
        return StartFailure::Other { path: name.to_owned(), errno: Errno::EINVAL as i32 };
    };
    let path = search_path(&command.env);
    let mut denied = None;
    for candidate in candidates(name, path) {
        let Ok(file) = CString::new(candidate.as_bytes()) else { continue };
        let Err(errno) = nix::unistd::execve(&file, &argv, &env);
        match judge(&candidate, errno) {
            Verdict::NotHere => {}
            Verdict::Denied => denied = denied.or(Some(candidate)),
            Verdict::Final(failure) => return failure,
        }
    }
    match denied {
        Some(path) => StartFailure::Denied { path },
        None => StartFailure::NotFound { path: (!name.contains('/')).then(|| path.to_owned()) },
    }
}

/// Returns the value of `PATH`: the last one, as the C library's `getenv` would not, but as every
/// shell that reads such an environment ends up with.
fn search_path(env: &[String]) -> &str {
    env.iter().rev().find_map(|pair| pair.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH)
}

/// Returns the files that `name` may mean, in order.
fn candidates(name: &str, path: &str) -> Vec<String> {
    if name.is_empty() {
        return Vec::new();
    }
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    path.split(':')
        .map(|directory| match directory {
            "" => format!("./{name}"),
            directory => format!("{}/{name}", directory.trim_end_matches('/')),
        })
        .collect()
}

enum Verdict {
    /// Look further.
    NotHere,
    /// Look further, but remember it.
    Denied,
    /// This is the program, and it cannot be executed.
    Final(StartFailure),
}

/// Says what an error of `execve` means for the search.
fn judge(path: &str, errno: Errno) -> Verdict {
    let path = path.to_owned();
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => {
            // With the file there, it is what the file asks for that is missing.
            if !std::fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
                return Verdict::NotHere;
            }
            let interpreter = interpreter(&path).unwrap_or_else(|| "its loader".to_owned());
            Verdict::Final(StartFailure::MissingInterpreter { path, interpreter })
        }
        Errno::EACCES => match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Verdict::NotHere,
            Ok(_) | Err(_) => Verdict::Denied,
        },
        Errno::ENOEXEC => Verdict::Final(match head(&path).and_then(|head| foreign(&head)) {
            Some(machine) => StartFailure::ForeignArchitecture { path, machine },
            None => StartFailure::NotExecutable { path },
        }),
        Errno::E2BIG => Verdict::Final(StartFailure::TooLong),
        errno => Verdict::Final(StartFailure::Other { path, errno: errno as i32 }),
    }
}

fn head(path: &str) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(HEAD_BYTES).read_to_end(&mut head).ok()?;
    Some(head)
}

/// Returns the interpreter of a script or the loader of a dynamic program.
fn interpreter(path: &str) -> Option<String> {
    let head = head(path)?;
    if let Some(script) = script_interpreter(&head) {
        return Some(script);
    }
    let (offset, length) = elf_interpreter(&head)?;
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut loader = Vec::new();
    file.take(length.min(HEAD_BYTES)).read_to_end(&mut loader).ok()?;
    let loader = loader.split(|&byte| byte == 0).next()?;
    Some(String::from_utf8_lossy(loader).into_owned())
}

/// Returns the program named after `#!`.
fn script_interpreter(head: &[u8]) -> Option<String> {
    let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let name = line.trim_start_matches([' ', '\t']).split([' ', '\t']).next()?;
    // A script with DOS line ends asks for a program whose name ends in a carriage return.
    let shown = name.replace('\r', "\\r");
    (!shown.is_empty()).then_some(shown)
}

/// Fields of an ELF header that depend on its class and byte order.
struct Elf<'a> {
    bytes: &'a [u8],
    is_64: bool,
    is_little: bool,
}

impl<'a> Elf<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let [0x7f, b'E', b'L', b'F', class, order, ..] = bytes else { return None };
        Some(Self { bytes, is_64: *class == 2, is_little: *order == 1 })
    }

    fn number(&self, offset: usize, length: usize) -> Option<u64> {
        let field = self.bytes.get(offset..offset.checked_add(length)?)?;
        let shift = |number: u64, byte: &u8| (number << 8) | u64::from(*byte);
        Some(if self.is_little {
            field.iter().rev().fold(0, shift)
        } else {
            field.iter().fold(0, shift)
        })
    }

    fn machine(&self) -> Option<u64> {
        self.number(18, 2)
    }
}

/// Returns where in the file the loader's name is, and its length.
fn elf_interpreter(head: &[u8]) -> Option<(u64, u64)> {
    const INTERPRETER_SEGMENT: u64 = 3;
    let elf = Elf::new(head)?;
    let (table, size, count) = if elf.is_64 {
        (elf.number(32, 8)?, elf.number(54, 2)?, elf.number(56, 2)?)
    } else {
        (elf.number(28, 4)?, elf.number(42, 2)?, elf.number(44, 2)?)
    };
    (0..count).find_map(|index| {
        let at = usize::try_from(table.checked_add(size.checked_mul(index)?)?).ok()?;
        if elf.number(at, 4)? != INTERPRETER_SEGMENT {
            return None;
        }
        if elf.is_64 {
            Some((elf.number(at.checked_add(8)?, 8)?, elf.number(at.checked_add(32)?, 8)?))
        } else {
            Some((elf.number(at.checked_add(4)?, 4)?, elf.number(at.checked_add(16)?, 4)?))
        }
    })
}

/// Returns the architecture of a program that is not for this machine.
fn foreign(head: &[u8]) -> Option<String> {
    let machine = Elf::new(head)?.machine()?;
    (machine != this_machine()).then(|| machine_name(machine))
}

/// Returns this machine's number, read off our own program.
fn this_machine() -> u64 {
    head("/proc/self/exe").and_then(|head| Elf::new(&head).and_then(|elf| elf.machine())).unwrap_or(
        match std::env::consts::ARCH {
            "aarch64" => 183,
            _ => 62,
        },
    )
}

fn machine_name(machine: u64) -> String {
    match machine {
        3 => "386".to_owned(),
        8 => "mips".to_owned(),
        20 => "ppc".to_owned(),
        21 => "ppc64".to_owned(),
        22 => "s390x".to_owned(),
        40 => "arm".to_owned(),
        62 => "amd64".to_owned(),
        183 => "arm64".to_owned(),
        243 => "riscv64".to_owned(),
        258 => "loong64".to_owned(),
        other => format!("machine number {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_slash_is_searched_in_path() {
        assert_eq!(
            candidates("sh", "/bin:/usr/bin/::x"),
            ["/bin/sh", "/usr/bin/sh", "./sh", "x/sh"]
        );
        assert_eq!(candidates("./sh", "/bin"), ["./sh"]);
        assert_eq!(candidates("/a/b", "/bin"), ["/a/b"]);
        assert_eq!(candidates("", "/bin"), Vec::<String>::new());
    }

    #[test]
    fn the_path_comes_from_the_environment_of_the_step() {
        let env = |pairs: &[&str]| pairs.iter().map(|pair| (*pair).to_owned()).collect::<Vec<_>>();
        assert_eq!(search_path(&env(&["A=1", "PATH=/a", "PATH=/b"])), "/b");
        assert_eq!(search_path(&env(&["XPATH=/a"])), DEFAULT_PATH);
        assert_eq!(search_path(&env(&["PATH="])), "");
    }

    #[test]
    fn the_interpreter_of_a_script_is_named() {
        let check = |head: &[u8], expected: Option<&str>| {
            assert_eq!(script_interpreter(head).as_deref(), expected);
        };
        check(b"#!/bin/bash\necho", Some("/bin/bash"));
        check(b"#! /usr/bin/env python3", Some("/usr/bin/env"));
        check(b"#!/bin/sh\r\necho", Some("/bin/sh\\r"));
        check(b"#!\n", None);
        check(b"echo", None);
    }

    #[test]
    fn programs_tell_their_machine_and_loader() {
        let mut arm = b"\x7fELF\x02\x01\x01".to_vec();
        arm.resize(64, 0);
        arm[18] = 183;
        assert_eq!(foreign(&arm).as_deref(), (this_machine() != 183).then_some("arm64"));
        assert_eq!(elf_interpreter(&arm), None);
        arm[32] = 64; // table of segments
        arm[54] = 56; // size of one
        arm[56] = 2; // their count
        arm.resize(64 + 2 * 56, 0);
        arm[64] = 1;
        arm[120] = 3;
        arm[128] = 200; // offset of the name
        arm[152] = 28; // its length
        assert_eq!(elf_interpreter(&arm), Some((200, 28)));
        assert_eq!(elf_interpreter(&arm[..130]), None);
        assert_eq!(foreign(b"#!/bin/sh"), None);
        assert_eq!(foreign(b"\x7fELF"), None);
        let own = head("/proc/self/exe").expect("own program can be read");
        assert_eq!(foreign(&own), None);
    }
}
