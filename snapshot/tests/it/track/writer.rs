//! The process that does what a step does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const PROGRAM: &str = include_str!("operations.py");

/// Lines sent before answers are read: all of them fit into a pipe.
const LINES_AHEAD: usize = 100;

/// An operation and its arguments, as `operations.py` takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation(pub Vec<String>);

impl Operation {
    pub fn new<const N: usize>(words: [&str; N]) -> Self {
        Self(words.map(str::to_owned).to_vec())
    }

    pub fn name(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }
}

/// A program that does file operations in a directory.
pub struct Writer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Processes that it has left behind.
    pub daemons: Vec<String>,
}

impl Writer {
    /// `outside` is a directory that nobody tracks.
    pub fn start(directory: &Path, outside: &Path) -> Self {
        let mut child = Command::new(python())
            // Nothing of the machine's own, which takes longer to load than the program.
            .args(["-I", "-S", "-c", PROGRAM])
            .arg(outside)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed by hack/test.sh");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, input, output, daemons: Vec::new() }
    }

    /// Does what follows in a process of its own, in another directory.
    pub fn enter(&mut self, directory: &Path) {
        let directory = directory.to_str().expect("UTF-8");
        assert_eq!(self.run(&[Operation::new(["enter", directory])]), ["ok"]);
    }

    /// Kills the process that [`Writer::enter`] has made, and waits until the kernel has closed its
    /// files.
    pub fn leave(&mut self) {
        assert_eq!(self.run(&[Operation::new(["leave"])]), ["ok"]);
    }

    /// Does the operations one after another; returns the answers.
    pub fn run(&mut self, operations: &[Operation]) -> Vec<String> {
        let mut answers = Vec::new();
        for operations in operations.chunks(LINES_AHEAD) {
            for Operation(words) in operations {
                writeln!(self.input, "{}", words.join("\t")).expect("the writer reads");
            }
            self.input.flush().expect("the writer reads");
            for operation in operations {
                let mut answer = String::new();
                self.output.read_line(&mut answer).expect("the writer answers");
                assert!(answer.ends_with('\n'), "the writer ended at {operation:?}");
                let answer = answer.trim_end().to_owned();
                if let Some(process) = answer.strip_prefix("daemon ") {
                    self.daemons.push(process.to_owned());
                }
                answers.push(answer);
            }
        }
        answers
    }

    /// Ends what was left behind, as a supervisor does before a snapshot.
    pub fn end_daemons(&mut self) {
        for process in self.daemons.drain(..) {
            let process: i32 = process.parse().expect("a process id");
            let process = rustix::process::Pid::from_raw(process).expect("not zero");
            // It may have ended by itself.
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            while rustix::process::test_kill_process(process).is_ok() {
                if std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()))
                    .is_ok_and(|stat| stat.contains(") Z "))
                {
                    break;
                }
                std::thread::yield_now();
            }
        }
    }
}

/// Returns Debian's own where there is one: others are often found by a shell script, which takes
/// longer than most steps.
fn python() -> &'static str {
    let debians = "/usr/bin/python3";
    if Path::new(debians).exists() { debians } else { "python3" }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end_daemons();
        // Killed rather than told to end: it may hold files open on a file system that goes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
