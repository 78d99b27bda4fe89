//! What confines this container: rights, filters, profiles, another kernel.

use super::facts::Facts;
use super::finding::Finding;
use crate::build::Outlook;
use crate::sandbox::Right;

/// The kernel's names, by number.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

pub(super) fn findings(facts: &Facts, outlook: &Outlook) -> Vec<Finding> {
    vec![
        capabilities(facts.process.effective),
        rights(outlook),
        processes(facts.process.effective),
        seccomp(facts.process.seccomp),
        match &facts.profile {
            Some(profile) => Finding::fact("security profile", format!("`{profile}`")),
            None => Finding::fact("security profile", "none"),
        },
        new_privileges(facts.process.no_new_privileges),
        gvisor(facts),
    ]
}

fn has(effective: u64, name: &str) -> bool {
    let number = CAPABILITIES.iter().position(|known| *known == name);
    number.is_some_and(|number| effective >> number & 1 == 1)
}

fn capabilities(effective: u64) -> Finding {
    const ABOUT: &str = "capabilities";
    let names: Vec<&str> = CAPABILITIES.into_iter().filter(|name| has(effective, name)).collect();
    match names.as_slice() {
        [] => Finding::fact(ABOUT, "none"),
        names if names.len() == CAPABILITIES.len() => Finding::fact(ABOUT, "all"),
        names => Finding::fact(ABOUT, names.join(" ")),
    }
}

/// What was tried with files, and not what capabilities promise: a user namespace has all of them,
/// and makes no device.
fn rights(outlook: &Outlook) -> Finding {
    const ABOUT: &str = "owners and kinds of files";
    if outlook.rights.is_empty() {
        return Finding::not_tried(ABOUT, "not reached");
    }
    let refused: Vec<Right> = outlook
        .rights
        .iter()
        .filter_map(|(right, error)| error.is_some().then_some(*right))
        .collect();
    if refused.is_empty() {
        return Finding::yes(ABOUT, "all can be made, and commands can become other users");
    }
    let purposes: Vec<&str> = refused.iter().map(|right| right.purpose()).collect();
    let names: Vec<&str> = refused.iter().flat_map(|right| right.capabilities()).copied().collect();
    let cost = match refused.as_slice() {
        [Right::Devices] => "device nodes of a base are in the image and not on disk",
        _ => "an image that needs it ends the build with an error that names the file",
    };
    Finding::no(ABOUT, format!("refused: {}", purposes.join("; ")))
        .costs(cost)
        .given_by(format!("`capabilities.add: [{}]`", names.join(", ")))
}

fn processes(effective: u64) -> Finding {
    const ABOUT: &str = "ending processes";
    if has(effective, "KILL") {
        return Finding::yes(ABOUT, "of any user");
    }
    Finding::no(ABOUT, "only those of our own user")
        .costs("what a RUN as another user leaves behind ends the build with an error")
        .given_by("`capabilities.add: [KILL]`")
}

fn seccomp(mode: Option<u32>) -> Finding {
    const ABOUT: &str = "seccomp";
    match mode {
        Some(0) => Finding::fact(ABOUT, "no filter"),
        Some(1) => Finding::fact(ABOUT, "strict"),
        Some(2) => Finding::fact(ABOUT, "a filter decides which system calls there are"),
        Some(mode) => Finding::fact(ABOUT, format!("mode {mode}")),
        None => Finding::fact(ABOUT, "the kernel does not say"),
    }
}

fn new_privileges(is_set: bool) -> Finding {
    const ABOUT: &str = "new privileges";
    if !is_set {
        return Finding::yes(ABOUT, "programs may gain them");
    }
    Finding::no(ABOUT, "`no_new_privs` is set")
        .costs("`sudo` and other set-user-id programs do not work in a RUN")
        .given_by("`allowPrivilegeEscalation: true`")
}

fn gvisor(facts: &Facts) -> Finding {
    const ABOUT: &str = "kernel";
    let release = &facts.kernel.release;
    if facts.kernel.is_gvisor() {
        return Finding::fact(ABOUT, format!("gVisor's, which calls itself {release}"))
            .costs("nobody has measured zuwai there; changes are found by looking at everything");
    }
    Finding::fact(ABOUT, format!("Linux {release}, no sign of gVisor"))
}
