//! What a step takes by itself: measured in the process that does it, and told in a line that the
//! comparing process finds in the command's output.
//!
//! The CPU time of what the kernel does for a tracker (events, copies on an overlay) is that of the
//! process that caused it, so that the difference to a RUN that nobody records is what the tracker
//! costs the command.

use std::io;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

use super::super::record::CommandCost;

/// How a line begins that says what a step took.
const TOOK: &str = "took: ";

/// Steps with fewer operations than this tell nothing: clocks are too coarse for them.
const FEWEST: u64 = 1000;

/// Does a step that returns its number of operations, and returns the line that says what it took.
pub(super) fn measured(act: &dyn Fn() -> io::Result<u64>) -> io::Result<String> {
    let (started, (user, system)) = (Instant::now(), cpu()?);
    let operation_count = act()?;
    let wall_s = started.elapsed().as_secs_f64();
    let (user_after, system_after) = cpu()?;
    if operation_count < FEWEST {
        return Ok(String::new());
    }
    let cost = CommandCost {
        operation_count,
        wall_s,
        user_s: user_after.saturating_sub(user).as_secs_f64(),
        system_s: system_after.saturating_sub(system).as_secs_f64(),
    };
    Ok(format!("{TOOK}{}\n", serde_json::to_string(&cost)?))
}

/// Returns what a line of a step's output says it took; `None` for other lines.
pub(in super::super) fn read_cost(line: &str) -> Option<CommandCost> {
    serde_json::from_str(line.trim_end().strip_prefix(TOOK)?).ok()
}

/// Returns the CPU time of this process so far, in its own code and in the kernel.
fn cpu() -> io::Result<(Duration, Duration)> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let duration = |time: TimeVal| {
        Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or_default())
    };
    Ok((duration(usage.user_time()), duration(usage.system_time())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_read_back_from_its_line() {
        let line = measured(&|| Ok(5000)).expect("it does nothing");
        let cost = read_cost(&line).expect("a cost");
        assert_eq!(cost.operation_count, 5000);
        assert!(cost.user_s >= 0.0 && cost.system_s >= 0.0 && cost.wall_s >= 0.0);
        assert_eq!(read_cost("took: a while"), None);
        assert_eq!(read_cost("something else"), None);
    }

    #[test]
    fn a_step_of_little_says_nothing() {
        assert_eq!(measured(&|| Ok(999)).expect("it does nothing"), "");
        assert!(measured(&|| Err(io::ErrorKind::NotFound.into())).is_err());
    }
}
