//! A RUN: from the plan's words to a process, and back to how it ended.

use snapshot::{NewDirectory, Rootfs};

use super::ExecuteError;
use super::identity::{process_identity, read_database};
use crate::plan::{RunNetwork, RunStep};
use crate::sandbox::{OutputLine, PipeFile, RunOutcome, RunSpec, Sandbox, StepMount, StepNetwork};
use crate::secret::Secret;

/// A RUN with what it is given beside its files.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// What to run.
    pub step: &'a RunStep,
    /// What is mounted meanwhile, outer ones first.
    pub mounts: &'a [StepMount],
    /// Secrets that are in its environment, by variable; they stand over the step's own.
    pub secrets: &'a [(String, Secret)],
}

impl<'a> From<&'a RunStep> for Invocation<'a> {
    /// Takes a step without anything beside its files.
    fn from(step: &'a RunStep) -> Self {
        Self { step, mounts: &[], secrets: &[] }
    }
}

/// Runs a step's command and returns when every process of it is dead.
///
/// Users are those of the stage's own files, read now: an earlier step may have made them. `HOME`
/// is added where the step has none. A working directory that is missing is made, as WORKDIR would,
/// and is a change of this step.
///
/// # Errors
/// [`ExecuteError::Identity`] for an unknown user, and what the sandbox says. A command that ran
/// and failed is an `Ok`.
pub fn run(
    sandbox: &Sandbox,
    rootfs: &Rootfs,
    invocation: Invocation<'_>,
    on_output: &mut dyn FnMut(OutputLine<'_>),
) -> Result<RunOutcome, ExecuteError> {
    let Invocation { step, mounts, secrets } = invocation;
    let database = read_database(rootfs)?;
    let identity = process_identity(&step.user, &database)
        .map_err(|source| ExecuteError::Identity { name: step.user.clone(), source })?;
    let (uid, gid) = (identity.uid, identity.gid);
    rootfs.create_dir_all(&step.working_directory, &NewDirectory { mode: 0o755, uid, gid })?;
    let spec = RunSpec {
        argv: step.argv.clone(),
        env: environment(&with_secrets(&step.environment, secrets), &identity.home),
        working_dir: step.working_directory.clone(),
        uid,
        gid,
        groups: identity.groups,
        pipes: step
            .script
            .iter()
            .map(|script| PipeFile {
                name: String::from_utf8_lossy(script.path.file_name().unwrap_or_default())
                    .into_owned(),
                content: script.content.clone(),
            })
            .collect(),
        mounts: mounts.to_vec(),
        network: match step.network {
            RunNetwork::Shared => StepNetwork::Shared,
            RunNetwork::None => StepNetwork::None,
        },
    };
    Ok(sandbox.run(rootfs, &spec, on_output)?)
}

/// Returns the step's variables and its secrets, each name once.
fn with_secrets(
    variables: &[(String, String)],
    secrets: &[(String, Secret)],
) -> Vec<(String, String)> {
    let is_secret = |name: &String| secrets.iter().any(|(secret, _)| secret == name);
    let plain = variables.iter().filter(|(name, _)| !is_secret(name)).cloned();
    let secrets = secrets.iter().map(|(name, secret)| (name.clone(), secret.expose().to_owned()));
    plain.chain(secrets).collect()
}

/// Returns the variables in the kernel's form; a `HOME` that is unset or empty is filled in.
fn environment(variables: &[(String, String)], home: &str) -> Vec<String> {
    let mut environment: Vec<String> = variables
        .iter()
        .filter(|(name, value)| name != "HOME" || !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if !environment.iter().any(|pair| pair.starts_with("HOME=")) {
        environment.push(format!("HOME={home}"));
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_filled_in_where_it_is_missing() {
        let check = |variables: &[(&str, &str)], expected: &[&str]| {
            let variables: Vec<(String, String)> = variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            assert_eq!(environment(&variables, "/home/app"), expected);
        };
        check(&[], &["HOME=/home/app"]);
        check(&[("A", "b"), ("HOME", "/x")], &["A=b", "HOME=/x"]);
        check(&[("HOME", ""), ("B", "")], &["B=", "HOME=/home/app"]);
        check(&[("HOMEX", "/x")], &["HOMEX=/x", "HOME=/home/app"]);
    }
}
