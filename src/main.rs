//! The `zuwai` program: parse, run, exit code.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use zuwai::build::BuildError;
use zuwai::cli::{self, Environment, Facts, Failure, Invocation};
use zuwai::image::Reference;
use zuwai::interrupt::{Interrupt, Interrupted};
use zuwai::report::Terminal;
use zuwai::report::fault::Fault;
use zuwai::report::settings::{Format, ReportSettings};
use zuwai::store::{Access, SharedStore, StoreError};
use zuwai::warm::WarmError;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    // Before anything else: the supervisor of a step must stay single-threaded, and is started by
    // whatever name the program has.
    if words.get(1).is_some_and(|word| word == zuwai::sandbox::SUBCOMMAND) {
        return zuwai::sandbox::supervisor::main();
    }
    // Process 1 of a container reaps and waits; a child of it does the work.
    if let Some(code) = zuwai::sandbox::supervisor::leave_pid_one() {
        return code;
    }
    match invocation(&words) {
        Ok(Invocation::Print(text)) => {
            Terminal::open(ReportSettings::default()).print(&text);
            ExitCode::SUCCESS
        }
        Ok(Invocation::Build(request)) => build(*request),
        Ok(Invocation::Plan(request)) => plan(*request),
        Ok(Invocation::Doctor(request)) => doctor(*request),
        Ok(Invocation::DoctorOfRegistries { request, references }) => {
            doctor_of_registries(*request, &references)
        }
        Ok(Invocation::Broker(request)) => broker(&request),
        Ok(Invocation::Warm(request)) => warm(*request),
        Ok(Invocation::Cache(request)) => cache(&request),
        Ok(Invocation::Compare(request)) => compare(*request),
        Ok(Invocation::Measure { job, request }) => measure(&job, *request),
        Ok(Invocation::Step(step)) => perform(&step),
        Err(Failure { error, report }) => fail(&Terminal::open(report), &error),
    }
}

fn invocation(words: &[OsString]) -> Result<Invocation, Failure> {
    let environment = Environment::read();
    let facts = Facts::gather(&environment)
        .map_err(|error| Failure { error, report: ReportSettings::default() })?;
    cli::parse(words, &environment, &facts)
}

fn build(request: cli::BuildRequest) -> ExitCode {
    let terminal = open_terminal(&request);
    let built = interrupt()
        .map_err(BuildError::Runtime)
        .and_then(|interrupt| zuwai::build::build(&request.options, &terminal, &interrupt));
    match built {
        Ok(_) => {
            terminal.finish();
            ExitCode::SUCCESS
        }
        Err(error) => fail(&terminal, &error),
    }
}

fn plan(request: cli::BuildRequest) -> ExitCode {
    let terminal = open_terminal(&request);
    let planned = interrupt()
        .map_err(BuildError::Runtime)
        .and_then(|interrupt| zuwai::build::show_plan(&request.options, &terminal, &interrupt));
    match planned {
        Ok(text) => {
            terminal.print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&terminal, &error),
    }
}

fn doctor(request: cli::BuildRequest) -> ExitCode {
    let terminal = open_terminal(&request);
    let examination = zuwai::doctor::examine(&request.options);
    terminal.print(&match request.report.format {
        Format::Json => examination.json(),
        Format::Text | Format::Color(_) => examination.table(),
    });
    match &examination.error {
        None => ExitCode::SUCCESS,
        Some(error) => fail(&terminal, error),
    }
}

fn doctor_of_registries(request: cli::BuildRequest, references: &[Reference]) -> ExitCode {
    let terminal = open_terminal(&request);
    let examination = match zuwai::doctor::examine_registry(&request.options, references) {
        Ok(examination) => examination,
        Err(error) => return fail(&terminal, &error),
    };
    terminal.print(&match request.report.format {
        Format::Json => examination.json(),
        Format::Text | Format::Color(_) => examination.table(),
    });
    match examination.error() {
        None => ExitCode::SUCCESS,
        Some(error) => fail(&terminal, error),
    }
}

fn broker(request: &cli::BrokerRequest) -> ExitCode {
    let terminal = Terminal::open(request.report);
    terminal.capture_logs();
    request.warnings.iter().for_each(|warning| terminal.warn(warning));
    match zuwai::broker::run(&request.options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&terminal, &error),
    }
}

fn warm(request: cli::WarmRequest) -> ExitCode {
    let terminal = Terminal::open(request.report);
    terminal.capture_logs();
    request.warnings.iter().for_each(|warning| terminal.warn(warning));
    let warmed = interrupt()
        .map_err(WarmError::Runtime)
        .and_then(|interrupt| zuwai::warm::warm(&request.options, &terminal, &interrupt));
    match warmed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&terminal, &error),
    }
}

fn cache(request: &cli::CacheRequest) -> ExitCode {
    let terminal = Terminal::open(request.report);
    terminal.capture_logs();
    let store = SharedStore::open(&request.directory, Access::Read);
    let is_json = request.report.format == Format::Json;
    let looked = match &request.wish {
        None => store.items().map(|items| if is_json { items.json() } else { items.table() }),
        Some(wish) => {
            store.prune(wish).map(|pruned| if is_json { pruned.json() } else { pruned.table() })
        }
    };
    match looked {
        Ok(text) => {
            terminal.print(&text);
            ExitCode::SUCCESS
        }
        Err(source) => {
            let (action, path) = ("look after", store.folder().to_path_buf());
            fail(&terminal, &StoreError::Io { action, path, source })
        }
    }
}

fn compare(request: cli::CompareRequest) -> ExitCode {
    let terminal = Terminal::open(request.report);
    terminal.capture_logs();
    request.warnings.iter().for_each(|warning| terminal.warn(warning));
    let outcome = zuwai::compare::compare(&request.options).and_then(|comparison| {
        terminal.print(&comparison.table());
        comparison.soundness()
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&terminal, &error),
    }
}

fn measure(job: &Path, request: cli::BuildRequest) -> ExitCode {
    let terminal = open_terminal(&request);
    let interrupt = match interrupt() {
        Ok(interrupt) => interrupt,
        Err(error) => return fail(&terminal, &BuildError::Runtime(error)),
    };
    match zuwai::compare::measure(job, &request.options, &terminal, &interrupt) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&terminal, &error),
    }
}

fn perform(step: &str) -> ExitCode {
    let terminal = Terminal::open(ReportSettings::default());
    match zuwai::compare::perform(step, Path::new("/")) {
        Ok(text) => {
            terminal.print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&terminal, &error),
    }
}

/// Returns what SIGTERM and SIGINT end a build by; a build that takes too long is left as it is.
#[expect(clippy::exit, reason = "the build that would return is the one that takes too long")]
fn interrupt() -> std::io::Result<Interrupt> {
    Interrupt::new(|signal| std::process::exit(Interrupted(signal).code().into()))
}

fn open_terminal(request: &cli::BuildRequest) -> Terminal {
    let terminal = Terminal::open(request.report);
    terminal.capture_logs();
    for warning in &request.warnings {
        terminal.warn(warning);
    }
    for note in &request.notes {
        tracing::debug!("{note}");
    }
    terminal
}

fn fail(terminal: &Terminal, fault: &dyn Fault) -> ExitCode {
    terminal.fail(fault);
    ExitCode::from(fault.exit_code())
}
