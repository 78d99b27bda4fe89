//! Runs the builds, one process each: first those that check, then the measured ones, interleaved.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::aggregate::{self, Run, Runs};
use super::base;
use super::error::CompareError;
use super::job::{Job, document_at};
use super::machine::Machine;
use super::memory::{ControlGroup, Peaks};
use super::mode::Mode;
use super::record::RunRecord;
use super::report::{Comparison, FORMAT, ScenarioReport};
use super::{Check, CompareOptions, MEASURE, Subject};

/// A directory of this comparison, removed at its end.
struct Place(PathBuf);

impl Place {
    fn create(below: &Path) -> Result<Self, CompareError> {
        let path = below.join(format!("compare-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(CompareError::at("create", &path))?;
        Ok(Self(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // It is in a directory of ours, and what matters is in the report.
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::debug!(directory = %self.0.display(), %error, "not removed");
        }
    }
}

/// What all builds have in common.
struct Builds<'a> {
    options: &'a CompareOptions,
    directory: &'a Path,
    flags: Vec<String>,
}

/// Runs everything and returns the report.
pub(super) fn run(options: &CompareOptions) -> Result<Comparison, CompareError> {
    let place = Place::create(&options.work_directory)?;
    let source = ControlGroup::create(&group_name("probe"));
    let source = source.map_or("resident set of the building process", |group| group.source());
    let machine = Machine::describe(&place.0, source);
    let mut flags = options.build_flags.clone();
    let scenario = match &options.subject {
        Subject::Build(description) => {
            ScenarioReport { name: "build".to_owned(), description: description.clone() }
        }
        Subject::Scenario { scenario, base } => {
            tracing::info!(%scenario, "making the scenario's base");
            let prepared = base::prepare(*scenario, base.as_deref(), &options.program, &place.0)?;
            flags.extend(prepared.flags);
            ScenarioReport {
                name: scenario.to_string(),
                description: format!("{}, {}", scenario.description(), prepared.description),
            }
        }
    };
    let builds = Builds { options, directory: &place.0, flags };
    let modes = builds.run_all()?;
    if let Some(first) = modes.first()
        && modes.iter().all(|mode| mode.error.is_some())
    {
        return Err(CompareError::NothingBuilt {
            mode: first.mode.to_string(),
            reason: first.error.clone().unwrap_or_default(),
        });
    }
    Ok(Comparison {
        format: FORMAT,
        machine,
        scenario,
        runs: options.runs.get(),
        checked: options.check == Check::Soundness,
        modes: aggregate::rows(modes),
    })
}

fn group_name(suffix: &str) -> String {
    format!("zuwai-compare-{}-{suffix}", std::process::id())
}

impl Builds<'_> {
    fn run_all(&self) -> Result<Vec<Runs>, CompareError> {
        let start =
            |mode: &Mode| Runs { mode: *mode, measured: vec![], checked: None, error: None };
        let mut modes: Vec<Runs> = self.options.modes.iter().map(start).collect();
        if self.options.check == Check::Soundness {
            for runs in &mut modes {
                tracing::info!(mode = %runs.mode, "looking for what it misses");
                match self.run_one(runs.mode, Check::Soundness)? {
                    Ok(run) => runs.checked = Some(run.record),
                    Err(error) => runs.error = Some(error),
                }
            }
        }
        for round in 0..self.options.runs.get() {
            // Each mode comes first once, so that none always meets the caches of the same other.
            let length = modes.len();
            let first = usize::try_from(round).unwrap_or_default() % length.max(1);
            for position in 0..length {
                let Some(runs) = modes.get_mut((first + position) % length) else { continue };
                if runs.error.is_some() {
                    continue;
                }
                tracing::info!(mode = %runs.mode, run = round + 1, "measuring");
                match self.run_one(runs.mode, Check::None)? {
                    Ok(run) => runs.measured.push(run),
                    Err(error) => runs.error = Some(error),
                }
            }
        }
        Ok(modes)
    }

    /// Runs one build; the inner error is the build's.
    fn run_one(&self, mode: Mode, check: Check) -> Result<Result<Run, String>, CompareError> {
        let directory = self.directory.join("run");
        fs::create_dir(&directory).map_err(CompareError::at("create", &directory))?;
        let group = ControlGroup::create(&group_name("run"));
        let job = Job {
            mode: mode.to_string(),
            check: check == Check::Soundness,
            control_groups: group.iter().map(ControlGroup::processes).collect(),
            record: directory.join("record.json"),
        };
        let job_file = directory.join("job.json");
        let text = serde_json::to_vec(&job).map_err(document_at(&job_file))?;
        fs::write(&job_file, text).map_err(CompareError::at("write", &job_file))?;
        let log = directory.join("log");
        let mut command = self.command(mode, check, &directory, &job_file, &log)?;
        let sampler = group.map(ControlGroup::sample);
        let cpu_before = children_cpu();
        let start = Instant::now();
        let status = command.status().map_err(CompareError::at("run", &self.options.program))?;
        let wall_s = start.elapsed().as_secs_f64();
        let cpu_s = children_cpu() - cpu_before;
        let peaks = sampler.map_or(Peaks::default(), |sampler| sampler.finish());
        let record: Option<RunRecord> = match fs::read(&job.record) {
            Ok(text) => Some(serde_json::from_slice(&text).map_err(document_at(&job.record))?),
            // It did not get so far.
            Err(_) => None,
        };
        let outcome = match record {
            Some(RunRecord { error: Some(error), .. }) => Err(error),
            Some(record) if status.success() => Ok(Run { wall_s, cpu_s, peaks, record }),
            _ => Err(last_error(&fs::read_to_string(&log).unwrap_or_default())),
        };
        fs::remove_dir_all(&directory).map_err(CompareError::at("remove", &directory))?;
        Ok(outcome)
    }

    fn command(
        &self,
        mode: Mode,
        check: Check,
        directory: &Path,
        job: &Path,
        log: &Path,
    ) -> Result<Command, CompareError> {
        let output = File::create(log).map_err(CompareError::at("create", log))?;
        let errors = output.try_clone().map_err(CompareError::at("open", log))?;
        let mut command = Command::new(&self.options.program);
        command.arg(MEASURE).arg(job).args(&self.flags).args(mode.build_flag());
        command.arg(format!("--kaniko-dir={}", directory.join("work").display()));
        // What a build leaves in `/` would be there before the next one.
        command.arg("--cleanup=true");
        if check == Check::Soundness {
            command.arg(format!("--oci-layout-path={}", directory.join("image").display()));
        }
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        Ok(command)
    }
}

/// Returns the CPU time of all children that have ended, in seconds.
fn children_cpu() -> f64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return 0.0 };
    let microseconds = (usage.user_time() + usage.system_time()).num_microseconds();
    std::time::Duration::from_micros(u64::try_from(microseconds).unwrap_or_default()).as_secs_f64()
}

/// Returns what a program that ended without a record said last: its error and what caused it.
fn last_error(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let start = lines.iter().rposition(|line| line.starts_with("error: ")).unwrap_or_default();
    let said = lines.iter().skip(start).filter(|line| !line.starts_with("hint: "));
    let said: Vec<&str> = said.map(|line| line.trim_start_matches("error: ")).collect();
    match said.is_empty() {
        true => "it ended without a word".to_owned(),
        false => said.join(": ").replace(": cause: ", ": "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_child_is_found_in_its_log() {
        let log = "INFO[0000] x\nerror: unknown flag `--tracker`\nhint: did you\n";
        assert_eq!(last_error(log), "unknown flag `--tracker`");
        assert_eq!(last_error("error: a\ncause: b\n"), "a: b");
        assert_eq!(last_error(""), "it ended without a word");
    }
}
