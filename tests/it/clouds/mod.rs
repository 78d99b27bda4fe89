//! Registries of clouds, without helper programs: whole runs of the program, against servers in this
//! process that keep to the clouds' protocols.

#![expect(clippy::unwrap_used, reason = "a test's helper fails by panicking")]

mod amazon;
mod azure;
mod google;
mod others;
mod secrets;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use snapshot::Digest;
use tempfile::TempDir;

use crate::contexts::Tls;
use crate::contexts::server::{Answer, Asked, Web, tunnel_to};

/// Every secret of these tests has this in it.
pub const MARKER: &str = "hunter2";

/// All that a cloud is, behind one address: a registry, and the servers that give tokens.
pub struct Cloud {
    tls: Tls,
    pub web: Web,
    proxy: String,
}

impl Cloud {
    /// Starts the servers of these names.
    pub async fn start(
        names: &[&str],
        handler: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let tls = Tls::of(names);
        let web = Web::start_tls(tls.pair(), handler).await;
        let proxy = tunnel_to(web.address).await;
        Self { tls, web, proxy }
    }

    /// Prepares a run for which all names lead here.
    pub fn run(&self) -> Run {
        let run = Run::new();
        let authority = run.file("ca.pem", &self.tls.certificate);
        run.env("SSL_CERT_FILE", authority).env("HTTPS_PROXY", &self.proxy)
    }

    /// Counts the requests to a host.
    pub fn count(&self, host: &str) -> usize {
        self.web.asked().iter().filter(|asked| asked.host == host).count()
    }
}

/// A run of the program.
pub struct Run {
    pub folder: TempDir,
    variables: BTreeMap<String, String>,
}

/// How a run ended.
pub struct Ended {
    pub success: bool,
    pub text: String,
    /// The run's home, with what it left there.
    pub folder: TempDir,
}

impl Run {
    pub fn new() -> Self {
        let run = Self { folder: tempfile::tempdir().unwrap(), variables: BTreeMap::new() };
        // No metadata server, unless the test has one.
        run.env("AWS_EC2_METADATA_DISABLED", "true").env("HTTP_PROXY", "http://127.0.0.1:9")
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Writes a file into the run's home, and returns where it is.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Asks what the registry of an image allows.
    pub async fn doctor(self, image: &str) -> Ended {
        self.end("zuwai", &["doctor", "--registry", image, "--log-format=text"]).await
    }

    /// Builds and pushes an image as kaniko's executor does.
    pub async fn build(self, destination: &str, arguments: &[&str]) -> Ended {
        self.file("context/Dockerfile", "FROM scratch\nCOPY hello /\n");
        self.file("context/hello", "hello\n");
        let context = format!("--context={}", self.folder.path().join("context").display());
        let destination = format!("--destination={destination}");
        let mut words = vec!["--log-format=text", context.as_str(), destination.as_str()];
        words.extend(arguments);
        self.end("executor", &words).await
    }

    async fn end(self, name: &str, words: &[&str]) -> Ended {
        let Self { folder, variables } = self;
        let program = folder.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_zuwai"), &program).unwrap();
        let mut command = Command::new(program);
        command
            .args(words)
            .arg(format!("--kaniko-dir={}", folder.path().join("work").display()))
            .current_dir(folder.path())
            .env_clear()
            // No helper program of the machine.
            .env("PATH", folder.path().join("bin"))
            .env("HOME", folder.path())
            .envs(variables)
            .stdin(Stdio::null());
        tokio::task::spawn_blocking(move || {
            let output = command.output().unwrap();
            let text =
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            let ended = Ended { success: output.status.success(), text, folder };
            assert!(!ended.text.contains(MARKER), "a secret is shown: {}", ended.text);
            ended
        })
        .await
        .unwrap()
    }
}

impl Ended {
    /// Asserts that it succeeded and said this.
    #[track_caller]
    pub fn says(&self, expected: &str) {
        assert!(self.success, "{}", self.text);
        assert!(self.text.contains(expected), "no `{expected}` in: {}", self.text);
    }

    /// Asserts that it failed and said this.
    #[track_caller]
    pub fn fails(&self, expected: &str) {
        assert!(!self.success, "{}", self.text);
        assert!(self.text.contains(expected), "no `{expected}` in: {}", self.text);
    }
}

/// Returns the `Authorization` of a user name and password.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Answers as a registry that takes whatever is pushed, from those who are known.
pub fn registry(asked: &Asked, is_known: bool, challenge: &str) -> Answer {
    if !is_known {
        return Answer::new(401, r#"{"errors": [{"code": "UNAUTHORIZED", "message": "who?"}]}"#)
            .header("www-authenticate", challenge);
    }
    let upload = "/v2/team/app/blobs/uploads/one";
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/v2/") => Answer::new(200, "{}"),
        ("POST", "/v2/team/app/blobs/uploads/") => Answer::new(202, "").header("location", upload),
        ("PATCH", path) if path == upload => {
            Answer::new(202, "").header("location", upload).header("range", "0-0")
        }
        ("PUT", path) if path == upload => Answer::new(201, ""),
        ("DELETE", path) if path == upload => Answer::new(204, ""),
        ("PUT", path) if path.contains("/manifests/") => {
            let digest = Digest::of(&asked.body).to_string();
            Answer::new(201, "").header("docker-content-digest", digest)
        }
        _ => Answer::new(404, r#"{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "none"}]}"#),
    }
}
