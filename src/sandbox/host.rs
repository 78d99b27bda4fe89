//! What a step sees of the machine it runs on: resolver configuration and host table.

use std::io;
use std::path::Path;

use super::SandboxError;
use super::stubs::HostFile;

/// The host name of a step in namespaces: the one BuildKit gives, so that a name baked into a
/// file is the same as with `docker build`.
pub const HOSTNAME: &str = "buildkitsandbox";

/// The contents of the two files that are mounted over the image's own during a RUN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFiles {
    /// For `/etc/resolv.conf`.
    pub resolv_conf: Vec<u8>,
    /// For `/etc/hosts`.
    pub hosts: Vec<u8>,
}

impl HostFiles {
    /// Reads the machine's own files; one that is absent counts as empty.
    ///
    /// Meant to be called before anything is unpacked, because an image unpacked onto `/` brings
    /// its own.
    ///
    /// # Errors
    /// [`SandboxError::HostFile`] when one exists and cannot be read.
    pub fn read() -> Result<Self, SandboxError> {
        Ok(Self {
            resolv_conf: read_if_there(Path::new("/etc/resolv.conf"))?,
            hosts: with_own_name(read_if_there(Path::new("/etc/hosts"))?),
        })
    }

    pub(super) fn content(&self, file: HostFile) -> &[u8] {
        match file {
            HostFile::ResolvConf => &self.resolv_conf,
            HostFile::Hosts => &self.hosts,
        }
    }
}

fn read_if_there(path: &Path) -> Result<Vec<u8>, SandboxError> {
    match std::fs::read(path) {
        Ok(content) => Ok(content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(SandboxError::HostFile { path: path.to_owned(), source }),
    }
}

/// Returns a host table that knows `localhost` and the step's own name besides what is there:
/// `hostAliases` of a Pod stay.
fn with_own_name(mut hosts: Vec<u8>) -> Vec<u8> {
    if !hosts.is_empty() && !hosts.ends_with(b"\n") {
        hosts.push(b'\n');
    }
    let names = |line: &[u8]| {
        let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
        line.split(u8::is_ascii_whitespace).skip(1).map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    let knows_localhost =
        hosts.split(|&byte| byte == b'\n').any(|line| names(line).contains(&b"localhost".to_vec()));
    if !knows_localhost {
        hosts.extend_from_slice(b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n");
    }
    hosts.extend_from_slice(format!("127.0.0.1\t{HOSTNAME}\n").as_bytes());
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_table_keeps_its_lines_and_gains_the_steps_name() {
        let check = |hosts: &str, expected: &str| {
            assert_eq!(
                String::from_utf8(with_own_name(hosts.as_bytes().to_vec())).unwrap(),
                expected
            );
        };
        check(
            "127.0.0.1 localhost\n10.0.0.1 db",
            "127.0.0.1 localhost\n10.0.0.1 db\n127.0.0.1\tbuildkitsandbox\n",
        );
        check(
            "",
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.0.1\tbuildkitsandbox\n",
        );
        check(
            "# localhost\n",
            "# localhost\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.0.1\tbuildkitsandbox\n",
        );
    }
}
