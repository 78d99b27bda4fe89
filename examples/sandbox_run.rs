//! Runs one command in a sandbox: what a RUN does, and nothing else.
//!
//! `sandbox_run SUPERVISOR FORM ROOT [PROTECTED…] -- COMMAND…`, where `SUPERVISOR` is the `zuwai`
//! binary, `FORM` is `best`, `namespaces`, `user-namespace` or `in-place` (with `,force` for a root
//! that is not a container's), and `ROOT` is the directory to run in.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use snapshot::{Rootfs, RootfsPath};
use zuwai::report::fault::Fault;
use zuwai::sandbox::{
    Form, GRACE, HostFiles, Overwrite, RunOutcome, RunSpec, Sandbox, SandboxError, SandboxOptions,
    Surroundings, hide_process, supervisor,
};

fn main() -> ExitCode {
    if let Some(code) = supervisor::leave_pid_one() {
        return code;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, [supervisor, form, root, protected @ ..])) = words
        .iter()
        .position(|word| word == "--")
        .map(|at| (words[at + 1..].to_vec(), &words[..at]))
    else {
        return say("usage: sandbox_run SUPERVISOR FORM ROOT [PROTECTED…] -- COMMAND…");
    };
    let (form, overwrite) = match form.split_once(",force") {
        Some((form, _)) => (form, Overwrite::Forced),
        None => (form.as_str(), Overwrite::Refused),
    };
    let form = match form {
        "best" => None,
        "namespaces" => Some(Form::Namespaces),
        "user-namespace" => Some(Form::UserNamespace),
        "in-place" => Some(Form::InPlace),
        other => return say(&format!("no such form: {other}")),
    };
    let protected = protected.iter().map(PathBuf::from).collect();
    match run(Path::new(supervisor), form, overwrite, protected, Path::new(root), command) {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(error) => {
            let mut text = error.to_string();
            let mut cause: &dyn std::error::Error = &error;
            while let Some(next) = cause.source() {
                text.push_str(&format!("\ncause: {next}"));
                cause = next;
            }
            if let Some(hint) = error.hint() {
                text.push_str(&format!("\nhint: {hint}"));
            }
            say(&text);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(
    supervisor: &Path,
    form: Option<Form>,
    overwrite: Overwrite,
    protected: Vec<PathBuf>,
    root: &Path,
    argv: Vec<String>,
) -> Result<RunOutcome, SandboxError> {
    let sandbox = Sandbox::choose(SandboxOptions {
        supervisor: supervisor.to_owned(),
        host_files: HostFiles::read()?,
        form,
        overwrite,
        surroundings: Surroundings::default(),
        grace: GRACE,
    })?;
    hide_process()?;
    say(&format!("{}: {}", sandbox.form(), sandbox.reason()));
    if let Some(warning) = sandbox.warning() {
        say(&format!("warning: {warning}"));
    }
    let rootfs = match sandbox.open_place(&protected)? {
        Some(place) => place.root().clone(),
        None => Rootfs::open(root)?,
    };
    let spec = RunSpec {
        argv,
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
        working_dir: RootfsPath::root(),
        uid: 0,
        gid: 0,
        groups: Vec::new(),
        pipes: Vec::new(),
        mounts: Vec::new(),
        network: zuwai::sandbox::StepNetwork::Shared,
    };
    let outcome = sandbox.run(&rootfs, &spec, &mut |line| {
        let _ = std::io::stdout().write_all(line.bytes);
    })?;
    for straggler in &outcome.stragglers {
        say(&format!("killed: {}", straggler.name));
    }
    Ok(outcome)
}

fn say(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}
