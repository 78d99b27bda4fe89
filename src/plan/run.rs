//! `RUN`: what is run, and with which environment.

use super::error::{PlanError, PlanErrorKind};
use super::mount;
use super::stage::{Outcome, StageReader, StageState, rootfs_path};
use super::step::{RunNetwork, RunStep, Script, StepKind};
use crate::dockerfile::instruction::{CommandLine, Heredoc, Network, Run, Security};
use crate::dockerfile::{HeredocWord, decode, drop_leading_tabs};
use crate::image::RuntimeConfig;

/// Where scripts of heredocs are while they run; as in BuildKit, and so in `docker history`.
const SCRIPT_DIRECTORY: &str = "/dev/pipes";

pub(super) fn read(
    reader: &StageReader<'_, '_>,
    state: &StageState,
    run: &Run,
) -> Result<Outcome, PlanError> {
    let (argv, script) = command(&state.image.config, run);
    let mut history = String::from("RUN ");
    for word in arguments(state).iter().chain(&argv) {
        history.push_str(word);
        history.push(' ');
    }
    history.push_str("# buildkit");
    let mut environment = state.variables.clone();
    let is_undeclared = |name: &&String| environment.get(name).is_none();
    let undeclared =
        reader.proxies.iter().map(|(name, _)| name).filter(is_undeclared).cloned().collect();
    for (name, value) in &reader.proxies {
        environment.set(name, value);
    }
    let script = match script {
        None => None,
        Some((name, content)) => {
            let path = rootfs_path(&script_path(&name)).map_err(PlanError::from)?;
            Some(Script { path, content })
        }
    };
    let (mounts, unsupported) = match mount::read(reader, state, &run.mounts) {
        Ok(mounts) => (mounts, unsupported(run)),
        Err(error) if matches!(error.kind, PlanErrorKind::NotSupported { .. }) => {
            (Vec::new(), Some(error))
        }
        Err(error) => return Err(error),
    };
    let step = RunStep {
        argv,
        environment: environment.to_vec(),
        undeclared,
        user: state.image.config.user.clone(),
        working_directory: state.working_directory()?,
        script,
        mounts,
        network: match run.network.as_ref().map(|network| network.value) {
            // Commands are in the network of the build anyway.
            None | Some(Network::Default | Network::Host) => RunNetwork::Shared,
            Some(Network::None) => RunNetwork::None,
        },
    };
    Ok(Outcome { kind: StepKind::Run(step), history: Some(history), unsupported })
}

fn unsupported(run: &Run) -> Option<PlanError> {
    let insecure = run.security.as_ref().filter(|asked| asked.value == Security::Insecure);
    let insecure = insecure.map(|asked| PlanErrorKind::Insecure.at(asked.span));
    let device = run.devices.first().map(|device| {
        let feature = "RUN --device".to_owned();
        PlanErrorKind::NotSupported { feature }.at(device.span)
    });
    let found = [insecure, device].into_iter().flatten();
    found.min_by_key(|error| error.span.map(|span| span.start))
}

/// Returns the program with its arguments, and the script that it names.
fn command(config: &RuntimeConfig, run: &Run) -> (Vec<String>, Option<(String, Vec<u8>)>) {
    let line = match &run.command {
        CommandLine::Exec(words) => return (words.clone(), None),
        CommandLine::Shell(line) => line,
    };
    let alone = match (run.heredocs.first(), HeredocWord::parse(line)) {
        (Some(heredoc), Ok(Some(_))) => Some(heredoc),
        _ => None,
    };
    let Some(heredoc) = alone else {
        return (with_shell(config, with_bodies(line, &run.heredocs)), None);
    };
    // The line is nothing but `<<NAME`: the body is the command, for shells without heredocs too.
    let content =
        if heredoc.chomp { drop_leading_tabs(&heredoc.body) } else { heredoc.body.clone() };
    if content.starts_with(b"#!") {
        let argv = with_shell(config, script_path(&heredoc.name));
        return (argv, Some((heredoc.name.clone(), content)));
    }
    (with_shell(config, decode(&content)), None)
}

fn script_path(name: &str) -> String {
    format!("{SCRIPT_DIRECTORY}/{name}")
}

/// Returns a line with its heredocs behind it, as the shell expects them.
fn with_bodies(line: &str, heredocs: &[Heredoc]) -> String {
    let mut text = line.to_owned();
    for heredoc in heredocs {
        text.push('\n');
        text.push_str(&decode(&heredoc.body));
        text.push_str(&heredoc.name);
    }
    text
}

/// Returns a shell form as what is run: the stage's shell with the text as its last argument.
pub(super) fn with_shell(config: &RuntimeConfig, text: String) -> Vec<String> {
    let mut argv = match config.shell.as_slice() {
        [] => vec!["/bin/sh".to_owned(), "-c".to_owned()],
        shell => shell.to_vec(),
    };
    argv.push(text);
    argv
}

/// Returns the arguments in sight as history shows them: `|2 A=1 B=`, with the values that they
/// have now.
fn arguments(state: &StageState) -> Vec<String> {
    let mut names: Vec<&str> = Vec::new();
    let mut shown = Vec::new();
    for (name, _) in &state.arguments {
        if names.contains(&name.as_str()) {
            continue;
        }
        names.push(name);
        let declared = state.arguments.iter().rev().find(|(known, _)| known == name);
        let declared = declared.and_then(|(_, value)| value.as_deref());
        let value = state.variables.get(name).or(declared).unwrap_or_default();
        shown.push(format!("{name}={value}"));
    }
    if !shown.is_empty() {
        shown.insert(0, format!("|{}", shown.len()));
    }
    shown
}
