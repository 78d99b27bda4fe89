//! What a build looks like on the terminal, against `tests/golden/report/`.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;

use super::*;
use crate::report::event::{LongWork, Phase, SnapshotReach, SnapshotWork, Step};
use crate::report::fault::{Class, Excerpt};
use crate::report::settings::{Colors, ProgressForm};

/// A writer that keeps what was written, shared with the test.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no thread panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no thread panicked").clone()).expect("text")
    }
}

/// A terminal on two pages, with a clock that stands still.
fn terminal(settings: ReportSettings) -> (Terminal, Page, Page) {
    let (stdout, stderr) = (Page::default(), Page::default());
    let moment = Moment {
        since_start: Duration::from_millis(12_500),
        time: "2026-11-05T10:20:30Z".parse().expect("a time"),
    };
    let clock: Clock = Arc::new(move || moment);
    (by_hand(settings, clock, &stdout, &stderr), stdout, stderr)
}

fn by_hand(settings: ReportSettings, clock: Clock, stdout: &Page, stderr: &Page) -> Terminal {
    let display = Display::new(settings.progress, ProgressDrawTarget::hidden());
    let shared = Shared::new(Box::new(stdout.clone()), Box::new(stderr.clone()), display);
    Terminal { settings, clock, ticks: Ticks::ByHand, shared: Arc::new(Mutex::new(shared)) }
}

fn settings(format: Format) -> ReportSettings {
    ReportSettings { format, ..ReportSettings::default() }
}

fn step(number: usize, line: u32, text: &str) -> Step {
    Step { stage: 0, number, total: 3, line: Some(line), text: text.to_owned() }
}

/// One event of each kind, in the order of a build.
fn build() -> Vec<Event> {
    let second = Duration::from_secs(1);
    vec![
        Event::ResolvingImage { reference: "debian:12".into() },
        Event::TrackerChosen {
            tracker: "inotify".into(),
            reason: "fanotify: cannot make an event queue".into(),
        },
        Event::StageStarted { index: 0, base: "debian:12".into(), base_index: None },
        Event::UnpackSkipped,
        Event::HeadersRead { layer_count: 2, known_count: 1, entry_count: 6_000, elapsed: second },
        Event::UnpackStarted { because_of: "RUN make".into() },
        Event::UnpackFinished { entry_count: 6_000, bytes: 99_000_000, elapsed: second },
        Event::StepStarted(step(1, 2, "RUN make")),
        Event::RunOutput { bytes: b"cc -o hello \x1b[1mhello.c\x1b[0m\r\n".to_vec() },
        Event::SnapshotStarted { reach: SnapshotReach::FullFilesystem },
        Event::SnapshotTaken(SnapshotWork {
            changed_count: 10,
            tracker: Some("walk".into()),
            fallback: Some("the event queue overflowed".into()),
            known_count: 6_008,
            examined_count: 6_010,
            listed_count: 300,
            opened_count: 4,
            hashed_bytes: 1_000,
            elapsed: second,
            ..SnapshotWork::default()
        }),
        Event::LayerWritten {
            digest: "sha256:11".into(),
            size_bytes: 500,
            tar_bytes: 2_048,
            elapsed: second,
        },
        Event::StepFinished { step: step(1, 2, "RUN make"), elapsed: second * 3 },
        Event::SnapshotTaken(SnapshotWork {
            tracker: Some("inotify".into()),
            is_tracked: true,
            content_because: vec!["renaming does not move ctime".into()],
            scope_count: Some(2),
            known_count: 6_012,
            examined_count: 3,
            elapsed: second,
            ..SnapshotWork::default()
        }),
        Event::StepStarted(step(2, 3, "COPY . /src")),
        Event::SnapshotStarted { reach: SnapshotReach::Files },
        Event::NothingChanged,
        Event::StepStarted(Step { line: None, ..step(3, 0, "ENV A=b") }),
        Event::Warning { text: "the tag `latest` moves".into() },
        Event::Warning { text: "the tag `latest` moves".into() },
        Event::ImageBuilt { digest: "sha256:22".into() },
        Event::OutputWritten { kind: "docker tarball", path: "/out/image.tar".into() },
        Event::PushStarted { destination: "registry.example.com/app:1".into() },
        Event::Pushed { reference: "registry.example.com/app@sha256:22".into() },
        Event::PushSkipped,
        Event::PhaseTimed { phase: Phase::Run, elapsed: second * 8 },
        Event::PhaseTimed { phase: Phase::Pull, elapsed: second * 2 },
        Event::PhaseTimed { phase: Phase::Run, elapsed: second },
    ]
}

/// Compares with a golden file.
fn golden(found: &str, name: &str, expected: &str) {
    assert_eq!(found, expected, "tests/golden/report/{name}");
}

#[test]
fn a_build_in_each_format() {
    let report = |format| {
        let (terminal, stdout, stderr) = terminal(settings(format));
        build().into_iter().for_each(|event| terminal.send(event));
        terminal.finish();
        assert_eq!(stdout.text(), "cc -o hello \x1b[1mhello.c\x1b[0m\r\n");
        stderr.text()
    };
    golden(
        &report(Format::Color(Colors::Off)),
        "plain.txt",
        include_str!("../../../tests/golden/report/plain.txt"),
    );
    golden(
        &report(Format::Color(Colors::On)),
        "color.txt",
        include_str!("../../../tests/golden/report/color.txt"),
    );
    golden(
        &report(Format::Text),
        "text.txt",
        include_str!("../../../tests/golden/report/text.txt"),
    );
    golden(
        &report(Format::Json),
        "json.txt",
        include_str!("../../../tests/golden/report/json.txt"),
    );
}

/// What pipelines look for in a log, as kaniko v1.24 writes it.
const KANIKOS: [&str; 9] = [
    "Retrieving image manifest debian:12",
    "Building stage 'debian:12' [idx: '0', base-idx: '-1']",
    "Unpacking rootfs as cmd RUN make requires it.",
    "Taking snapshot of full filesystem...",
    "Taking snapshot of files...",
    "No files were changed, appending empty layer to config. No layer added to image.",
    "Pushing image to registry.example.com/app:1",
    "Pushed registry.example.com/app@sha256:22",
    "Skipping push to container registry due to --no-push flag",
];

#[test]
fn lines_that_pipelines_look_for_are_kanikos_to_the_last_byte() {
    let lines = |format| {
        let (terminal, _, stderr) = terminal(settings(format));
        build().into_iter().for_each(|event| terminal.send(event));
        stderr.text()
    };
    let time = "2026-11-05T10:20:30Z";
    // What stands before the message, and behind it.
    let formats = [
        (Format::Color(Colors::Off), "INFO[0012] ".to_owned(), String::new()),
        (Format::Color(Colors::On), "\x1b[36mINFO\x1b[0m[0012] ".to_owned(), String::new()),
        (Format::Text, format!("time=\"{time}\" level=info msg=\""), "\"".to_owned()),
        (
            Format::Json,
            "{\"level\":\"info\",\"msg\":\"".to_owned(),
            format!("\",\"time\":\"{time}\"}}"),
        ),
    ];
    for (format, before, behind) in formats {
        let log = lines(format);
        for message in KANIKOS {
            let wanted = format!("{before}{message}{behind}");
            assert!(log.lines().any(|line| line == wanted), "no line is `{wanted}` in:\n{log}");
        }
    }
}

#[test]
fn levels_below_the_verbosity_are_left_out() {
    let lines = |level| {
        let settings = ReportSettings { level, ..settings(Format::Color(Colors::Off)) };
        let (terminal, _, stderr) = terminal(settings);
        build().into_iter().for_each(|event| terminal.send(event));
        terminal.finish();
        stderr.text()
    };
    assert_eq!(lines(Level::Warn), "WARN[0012] the tag `latest` moves\n");
    assert_eq!(lines(Level::Error), "");
    assert_eq!(lines(Level::Panic), "");
    let debug = lines(Level::Debug);
    assert!(debug.contains("DEBU[0012] step finished"), "{debug}");
    assert!(!lines(Level::Info).contains("DEBU"));
}

#[derive(Debug, Error)]
#[error("the command of `RUN` failed with exit code 2")]
struct Failed {
    source: Middle,
}

#[derive(Debug, Error)]
#[error(transparent)]
struct Middle(#[from] io::Error);

impl Fault for Failed {
    fn class(&self) -> Class {
        Class::User
    }

    fn hint(&self) -> Option<String> {
        Some("run the command in a shell of the base image:\nrunc run --tty".to_owned())
    }

    fn exit_code(&self) -> u8 {
        2
    }

    fn excerpt(&self) -> Option<Excerpt> {
        let text = "FROM debian:12\n\nRUN make \\\n\tall \x1b[31m\nCMD x\n";
        Excerpt::cut("ci/Dockerfile", text, 3, 4)
    }
}

fn failed() -> Failed {
    Failed { source: io::Error::other("no rule to make target").into() }
}

#[test]
fn an_error_has_three_parts_and_shows_its_place() {
    let report = |format, error_colors| {
        let settings = ReportSettings { error_colors, ..settings(format) };
        let (terminal, stdout, stderr) = terminal(settings);
        terminal.fail(&failed());
        assert_eq!(stdout.text(), "");
        stderr.text()
    };
    golden(
        &report(Format::Color(Colors::On), Colors::Off),
        "error.txt",
        include_str!("../../../tests/golden/report/error.txt"),
    );
    golden(
        &report(Format::Text, Colors::Off),
        "error.txt",
        include_str!("../../../tests/golden/report/error.txt"),
    );
    golden(
        &report(Format::Color(Colors::Off), Colors::On),
        "error_color.txt",
        include_str!("../../../tests/golden/report/error_color.txt"),
    );
    golden(
        &report(Format::Json, Colors::On),
        "error_json.txt",
        include_str!("../../../tests/golden/report/error_json.txt"),
    );
}

#[test]
fn columns_of_an_excerpt_are_marked() {
    #[derive(Debug, Error)]
    #[error("unknown instruction `RUNN`")]
    struct Unknown;
    impl Fault for Unknown {
        fn class(&self) -> Class {
            Class::User
        }
        fn excerpt(&self) -> Option<Excerpt> {
            Excerpt::cut("Dockerfile", "\n\n\n\n\n\n\n\n\n  RUNN make", 10, 10)
                .map(|excerpt| excerpt.with_columns(2..6))
        }
    }
    let (terminal, _, stderr) = terminal(settings(Format::Color(Colors::Off)));
    terminal.fail(&Unknown);
    assert_eq!(
        stderr.text(),
        "error: unknown instruction `RUNN`\n  --> Dockerfile:10\n   |\n10 |   RUNN make\n   |   ^^^^\n"
    );
}

#[test]
fn an_error_is_shown_at_any_verbosity() {
    let quiet = ReportSettings { level: Level::Panic, ..settings(Format::Text) };
    let (terminal, _, stderr) = terminal(quiet);
    terminal.fail(&failed());
    assert!(stderr.text().starts_with("error: the command of `RUN` failed"));
}

#[test]
fn log_lines_of_this_program_pass_and_those_of_others_only_as_warnings() {
    use tracing_subscriber::layer::SubscriberExt;
    let settings = ReportSettings { level: Level::Debug, ..settings(Format::Color(Colors::Off)) };
    let (terminal, _, stderr) = terminal(settings);
    let subscriber = tracing_subscriber::registry().with(Bridge::new(terminal));
    tracing::subscriber::with_default(subscriber, || {
        tracing::debug!(target: "zuwai::plan", stages = 2, name = "a b", "planned");
        tracing::trace!(target: "zuwai::plan", "too fine");
        tracing::info!(target: "hyper::client", "authorization: Basic abc");
        tracing::warn!(target: "hyper::client", "connection closed");
        tracing::debug!(target: "zuwaiish", "another crate");
    });
    assert_eq!(
        stderr.text(),
        "DEBU[0012] planned                                       stages=2 name=\"a b\"\n\
         WARN[0012] connection closed\n"
    );
}

#[test]
fn work_that_takes_long_is_told_of_every_ten_seconds() {
    let json = ReportSettings { progress: ProgressForm::Hidden, ..settings(Format::Json) };
    let quiet = ReportSettings { level: Level::Warn, ..settings(Format::Text) };
    let line = "INFO[0011] Still downloading                             name=\"sha256:1\" \
                done=\"500 MB\" total=\"2.0 GB\" percent=25 rate=\"45 MB/s\"\n";
    for (settings, expected) in
        [(settings(Format::Color(Colors::Off)), line), (json, ""), (quiet, "")]
    {
        let (stdout, stderr) = (Page::default(), Page::default());
        let seconds = Arc::new(AtomicU64::new(0));
        let read = Arc::clone(&seconds);
        let clock: Clock = Arc::new(move || Moment {
            since_start: Duration::from_secs(read.load(Ordering::Relaxed)),
            time: "2026-11-05T10:20:30Z".parse().expect("a time"),
        });
        let terminal = by_hand(settings, clock, &stdout, &stderr);
        let gauge = Gauge::new(LongWork::Download, "sha256:1", Some(2_000_000_000));
        terminal.send(Event::WorkStarted(gauge.clone()));
        gauge.add(500_000_000);
        for now in 0..=20 {
            seconds.store(now, Ordering::Relaxed);
            if now != 10 {
                terminal.tick();
            }
        }
        drop(gauge);
        assert_eq!(terminal.tick(), None);
        assert_eq!((stdout.text().as_str(), stderr.text().as_str()), ("", expected));
    }
}
