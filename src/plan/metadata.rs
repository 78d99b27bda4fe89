//! The instructions that change the config alone, and `WORKDIR`.

use super::error::{PlanError, PlanErrorKind};
use super::history::{duration, list, quoted_list};
use super::run::with_shell;
use super::stage::{Outcome, StageReader, StageState, rootfs_path};
use super::step::{StepKind, WorkdirStep};
use super::variables::set_entry;
use crate::dockerfile::Word;
use crate::dockerfile::instruction::ports::expand_ports;
use crate::dockerfile::instruction::signal::check_signal;
use crate::dockerfile::instruction::{CommandLine, Healthcheck, Pair};
use crate::image::{Empty, Healthcheck as HealthcheckConfig, RuntimeConfig};

/// Expands pairs, all with the variables before the instruction, and writes them down.
fn pairs(
    reader: &StageReader<'_, '_>,
    state: &StageState,
    keyword: &str,
    pairs: &[Pair],
) -> Result<(Vec<(String, String)>, String), PlanError> {
    let mut history = keyword.to_owned();
    let mut expanded = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let key = reader.word(state, &pair.key)?;
        let value = reader.word(state, &pair.value)?;
        history.push_str(&format!(" {key}={value}"));
        expanded.push((key, value));
    }
    Ok((expanded, history))
}

pub(super) fn env(
    reader: &StageReader<'_, '_>,
    state: &mut StageState,
    written: &[Pair],
) -> Result<Outcome, PlanError> {
    let (pairs, history) = pairs(reader, state, "ENV", written)?;
    for (name, value) in pairs {
        state.variables.set(&name, &value);
        set_entry(&mut state.image.config.env, &name, &value);
    }
    Ok(Outcome::metadata(history))
}

pub(super) fn label(
    reader: &StageReader<'_, '_>,
    state: &mut StageState,
    written: &[Pair],
) -> Result<Outcome, PlanError> {
    let (pairs, history) = pairs(reader, state, "LABEL", written)?;
    state.image.config.labels.extend(pairs);
    Ok(Outcome::metadata(history))
}

pub(super) fn expose(
    reader: &StageReader<'_, '_>,
    state: &mut StageState,
    written: &[Word],
) -> Result<Outcome, PlanError> {
    let mut ports = Vec::new();
    for word in written {
        for text in reader.expander.words(word, &state.variables)? {
            let found = expand_ports(&text);
            ports.extend(found.map_err(|error| PlanErrorKind::Port(error).at(word.span))?);
        }
    }
    let history = format!("EXPOSE {}", list(&ports));
    let known = &mut state.image.config.exposed_ports;
    known.extend(ports.into_iter().map(|port| (port, Empty {})));
    Ok(Outcome::metadata(history))
}

pub(super) fn volume(
    reader: &StageReader<'_, '_>,
    state: &mut StageState,
    written: &[Word],
) -> Result<Outcome, PlanError> {
    let mut volumes = Vec::with_capacity(written.len());
    for word in written {
        let volume = reader.word(state, word)?;
        if volume.is_empty() {
            return Err(PlanErrorKind::EmptyVolume.at(word.span));
        }
        volumes.push(volume);
    }
    let history = format!("VOLUME {}", list(&volumes));
    state.image.config.volumes.extend(volumes.into_iter().map(|volume| (volume, Empty {})));
    Ok(Outcome::metadata(history))
}

/// `WORKDIR`: relative ones go on from where the stage is.
///
/// An absolute one is cleaned but for a slash at its end, as kaniko stores it; BuildKit stores it as
/// written, which differs for `//` and `..` only.
pub(super) fn workdir(
    reader: &StageReader<'_, '_>,
    state: &mut StageState,
    word: &Word,
) -> Result<Outcome, PlanError> {
    let typed = reader.word(state, word)?;
    let here = |kind: PlanErrorKind| kind.at(word.span);
    let current = &state.image.config.working_dir;
    if typed.is_empty() && current.is_empty() {
        return Err(here(PlanErrorKind::EmptyWorkdir { word: word.value.clone() }));
    }
    let is_absolute = typed.starts_with('/');
    let written = if is_absolute { typed.clone() } else { format!("{current}/{typed}") };
    let path = rootfs_path(&written).map_err(here)?;
    let slash = if is_absolute && typed.ends_with('/') && !path.is_root() { "/" } else { "" };
    let cleaned = format!("/{}{slash}", String::from_utf8_lossy(path.as_bytes()));
    state.image.config.working_dir.clone_from(&cleaned);
    let user = state.image.config.user.clone();
    Ok(Outcome {
        kind: StepKind::Workdir(WorkdirStep { path, user }),
        history: Some(format!("WORKDIR {cleaned}")),
        unsupported: None,
    })
}

pub(super) fn user(
    reader: &StageReader<'_, '_>,
    state: &mut StageState,
    word: &Word,
) -> Result<Outcome, PlanError> {
    state.image.config.user = reader.word(state, word)?;
    Ok(Outcome::metadata(format!("USER {}", state.image.config.user)))
}

pub(super) fn stop_signal(
    reader: &StageReader<'_, '_>,
    state: &mut StageState,
    word: &Word,
) -> Result<Outcome, PlanError> {
    let text = reader.word(state, word)?;
    check_signal(&text).map_err(|error| PlanErrorKind::Signal(error).at(word.span))?;
    let history = format!("STOPSIGNAL {text}");
    state.image.config.stop_signal = text;
    Ok(Outcome::metadata(history))
}

pub(super) fn maintainer(state: &mut StageState, author: &Word) -> Outcome {
    state.image.author.clone_from(&author.value);
    Outcome::metadata(format!("MAINTAINER {}", author.value))
}

pub(super) fn cmd(state: &mut StageState, command: &CommandLine) -> Outcome {
    let argv = argv(&state.image.config, command);
    let history = format!("CMD {}", quoted_list(&argv));
    state.image.config.cmd = argv;
    state.image.config.args_escaped = true;
    state.has_cmd = true;
    Outcome::metadata(history)
}

/// `ENTRYPOINT`: a `CMD` that was inherited was meant for another entry point.
pub(super) fn entrypoint(state: &mut StageState, command: &CommandLine) -> Outcome {
    let argv = argv(&state.image.config, command);
    let history = format!("ENTRYPOINT {}", quoted_list(&argv));
    state.image.config.entrypoint = argv;
    if !state.has_cmd {
        state.image.config.cmd.clear();
    }
    Outcome::metadata(history)
}

fn argv(config: &RuntimeConfig, command: &CommandLine) -> Vec<String> {
    match command {
        CommandLine::Exec(words) => words.clone(),
        CommandLine::Shell(text) => with_shell(config, text.clone()),
    }
}

pub(super) fn shell(state: &mut StageState, words: &[String]) -> Outcome {
    state.image.config.shell = words.to_vec();
    Outcome::metadata(format!("SHELL {}", list(words)))
}

pub(super) fn healthcheck(state: &mut StageState, check: &Healthcheck) -> Outcome {
    let config = match check {
        Healthcheck::None => {
            HealthcheckConfig { test: vec!["NONE".to_owned()], ..HealthcheckConfig::default() }
        }
        Healthcheck::Command(command) => {
            let test = match &command.command {
                CommandLine::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                CommandLine::Exec(words) => {
                    std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect()
                }
            };
            HealthcheckConfig {
                test,
                interval: nanoseconds(command.interval),
                timeout: nanoseconds(command.timeout),
                start_period: nanoseconds(command.start_period),
                start_interval: nanoseconds(command.start_interval),
                retries: i64::from(command.retries),
                ..HealthcheckConfig::default()
            }
        }
    };
    let history = format!(
        "HEALTHCHECK {{Test:{} Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        list(&config.test),
        duration(config.interval),
        duration(config.timeout),
        duration(config.start_period),
        duration(config.start_interval),
        config.retries,
    );
    state.image.config.healthcheck = Some(config);
    Outcome::metadata(history)
}

/// Durations of Go are at most 292 years, which the Dockerfile's parser has checked.
fn nanoseconds(duration: Option<std::time::Duration>) -> i64 {
    duration.map_or(0, |duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}
