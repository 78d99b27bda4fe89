//! What a command is kept from where it shares its processes with others.
//!
//! The kernel lets a process look into another (`/proc/PID/{mem,environ,fd,maps,root}`, ptrace) when
//! both have one user and the other has no capability that the first lacks, or when the first has
//! `SYS_PTRACE`. So a command that lacks one capability of its neighbours cannot look into any of
//! them: the executor, which is hidden besides, this supervisor, and whatever else runs in the
//! container, such as the shell of a CI runner with its variables.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, capabilities, remove_capability_from_bounding_set, set_capabilities,
};

/// What commands lack. `SETPCAP` is what next to no command needs: it takes capabilities away from
/// the bounding set, and sets security bits. `SYS_PTRACE` only privileged containers have.
const WITHHELD: [CapabilitySet; 2] = [CapabilitySet::SYS_PTRACE, CapabilitySet::SETPCAP];

/// Takes from this process and what it executes the means to look into its neighbours.
///
/// What is permitted stays so until a program is executed. Where the container itself has no
/// `SETPCAP`, nothing can be taken, and does not have to be unless it has `SYS_PTRACE`.
pub(super) fn withhold() -> rustix::io::Result<()> {
    for capability in WITHHELD {
        match remove_capability_from_bounding_set(capability) {
            Ok(()) | Err(Errno::PERM) => {}
            Err(error) => return Err(error),
        }
    }
    // What is inheritable reaches root's programs past the bounding set; old container runtimes
    // set it.
    let mut sets = capabilities(None)?;
    for capability in WITHHELD {
        sets.inheritable.remove(capability);
    }
    set_capabilities(None, sets)
}
