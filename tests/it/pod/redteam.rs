//! A Dockerfile whose commands look for the registry's password wherever a command can: files,
//! environments, memory, descriptors, maps and roots of every process, ptrace, core files, the
//! broker's socket.
//!
//! The same search finds it where it is planted: in a mounted `config.json`, and in the environment
//! of a process of the step's own.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::Pod;
use crate::registry::broker::Broker;
use crate::registry::build;
use crate::regsim::{Auth, RegSim};
use crate::skip::{Reason, skip};
use crate::witness::harness::{bases, run};

const USER: &str = "user";
const PASSWORD: &str = "redteammarker-0123456789";

const BASE: &str = "--build-context=base=oci-layout:///bases/busybox";

/// Commands put programs and libraries where the executor might look for its own.
const TAMPER: &str = "\
RUN <<'EOF'
echo /evil.so > /etc/ld.so.preload
printf '#!/bin/sh\\necho ran > /evil-ran\\n' > /evil
chmod 755 /evil
for name in sh git tar mount newuidmap docker-credential-x; do
  for directory in /usr/local/sbin /usr/local/bin /usr/sbin /sbin; do
    mkdir -p $directory && cp /evil $directory/$name
  done
done
! test -e /kaniko/executor || { mv /kaniko/executor /kaniko/moved && cp /evil /kaniko/executor; }
EOF
ENV LD_PRELOAD=/evil.so PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/bin
RUN [\"/bin/sh\", \"-c\", \"test ! -e /evil-ran && echo UNHARMED\"]
";

/// The registry's credentials, as a document.
fn document(sim: &RegSim) -> String {
    json!({"auths": {sim.host(): {"username": USER, "password": PASSWORD}}}).to_string()
}

/// Returns a pattern for `text` that it does not match itself.
fn pattern(text: &str) -> String {
    let (head, tail) = text.split_at(5);
    let (bracketed, rest) = tail.split_at(1);
    format!("{head}[{bracketed}]{rest}")
}

/// Writes a context whose commands search, do `more`, and tamper.
fn write_context(folder: &Path, sim: &RegSim, more: &str) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/pod");
    let encoded = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let patterns = format!("{}|{}", pattern("redteammarker"), pattern(&encoded[..24]));
    let search = fs::read_to_string(source.join("search.sh")).unwrap();
    let search = search.replace("PATTERNS", &patterns);
    compile_attack(folder);
    let registry = sim.host();
    let text = format!(
        "FROM base\nCOPY attack /attack\nENV REGISTRY={registry}\nRUN <<'SEARCH'\n{search}SEARCH\n\
         {more}{TAMPER}"
    );
    fs::write(folder.join("Dockerfile"), text).unwrap();
}

/// Makes the program that commands attack with.
fn compile_attack(folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/pod/attack.c");
    fs::create_dir_all(folder).unwrap();
    run(Command::new("gcc")
        .args(["-static", "-O1", "-w", "-o"])
        .arg(folder.join("attack"))
        .arg(source));
}

/// What the commands said they could do.
struct Loot {
    found: Vec<String>,
    opened: Vec<String>,
    text: String,
}

impl Loot {
    fn of(text: String) -> Self {
        assert!(text.contains("SEARCH by 0\n") && text.contains("SEARCH ended\n"), "{text}");
        assert!(text.contains("UNHARMED\n"), "{text}");
        let lines = |words: &[&str]| {
            let said = |line: &&str| words.iter().any(|word| line.starts_with(word));
            let mut lines: Vec<String> = text.lines().filter(said).map(str::to_owned).collect();
            lines.sort();
            lines.dedup();
            lines
        };
        let opened = lines(&["OPEN ", "TRACED ", "READ ", "TAKEN "]);
        Self { found: lines(&["FOUND "]), opened, text }
    }

    /// Checks that the marker was found in these places and in the step's own process, and that no
    /// process but those of the step and `others` could be looked into.
    #[track_caller]
    fn check(&self, found: &[&str], others: &[&str]) {
        let mut expected: Vec<&str> =
            found.iter().copied().chain(["FOUND sleep environ"]).collect();
        expected.sort_unstable();
        assert_eq!(self.found, expected, "{}", self.text);
        let is_own = |line: &str| {
            let name = line.split(' ').nth(1).unwrap_or_default();
            ["sleep", "sh", "attack"].contains(&name) || others.contains(&name)
        };
        let strangers: Vec<&String> = self.opened.iter().filter(|line| !is_own(line)).collect();
        assert_eq!(strangers, Vec::<&String>::new(), "{}", self.text);
        for line in ["OPEN sleep mem", "TRACED sleep", "READ sleep"] {
            assert!(self.opened.iter().any(|opened| opened == line), "{line}: {}", self.text);
        }
    }

    fn socket(&self) -> Vec<&str> {
        self.text.lines().filter_map(|line| line.strip_prefix("SOCKET ")).collect()
    }
}

/// Runs the executor in a container as process 1, with `input` on standard input, and returns what
/// it said. The image is pushed.
async fn build_in_pod(mut pod: Pod, sim: &RegSim, arguments: &[&str], input: String) -> String {
    let destination = format!("--destination={}/team/app:v1", sim.host());
    let fixed = ["/kaniko/executor", "--log-format=text", "--context=/shared/context", BASE];
    let words = fixed.iter().chain(arguments).map(|word| (*word).to_owned());
    let words: Vec<String> = words.chain([destination]).collect();
    let output = tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        pod.run_with(&words, input.as_bytes())
    });
    let output = output.await.unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(sim.manifest("team/app", "v1").is_some(), "{said}");
    assert!(!said.contains(PASSWORD), "{said}");
    said
}

async fn registry() -> RegSim {
    RegSim::start_with(Auth::Basic(USER, PASSWORD)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_secret_is_found_and_warned_of() {
    let Some(pod) = Pod::new("a_mounted_secret_is_found_and_warned_of") else { return };
    let sim = registry().await;
    write_context(&pod.path("context"), &sim, "");
    let secret = tempfile::tempdir().unwrap();
    fs::write(secret.path().join("config.json"), document(&sim)).unwrap();
    let pod = pod.volume(secret.path(), "/kaniko/.docker");
    let said = build_in_pod(pod, &sim, &[], String::new()).await;
    let warning = "every RUN can read the registry credentials in `/kaniko/.docker/config.json`";
    assert_eq!(said.matches(warning).count(), 1, "{said}");
    assert!(said.contains("give them with `--registry-auth-stdin`"), "{said}");
    Loot::of(said).check(&["FOUND file /kaniko/.docker/config.json"], &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_from_standard_input_are_found_nowhere() {
    let test = "credentials_from_standard_input_are_found_nowhere";
    let Some(pod) = Pod::new(test) else { return };
    let sim = registry().await;
    write_context(&pod.path("context"), &sim, "");
    let said = build_in_pod(pod, &sim, &["--registry-auth-stdin"], document(&sim)).await;
    assert!(!said.contains("every RUN can read"), "{said}");
    let loot = Loot::of(said);
    loot.check(&[], &[]);
    // Process 1 and its child that builds were there to be looked into.
    assert!(loot.text.matches("NEIGHBOUR executor\n").count() >= 2, "{}", loot.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_hide_what_is_mounted() {
    crate::skip_unless_available!();
    let sim = registry().await;
    let context = tempfile::tempdir().unwrap();
    write_context(context.path(), &sim, "");
    let text = fs::read_to_string(context.path().join("Dockerfile")).unwrap();
    let build = build::Build::from("base").dockerfile(&text);
    fs::copy(context.path().join("attack"), build.path("attack")).unwrap();
    let config = serde_json::from_str(&document(&sim)).unwrap();
    let base = bases().join("busybox");
    let ended = build
        .config(&config)
        .arg("--isolation=namespaces")
        .arg(format!("--build-context=base=oci-layout://{}", base.display()))
        .to(format!("{}/team/app:v1", sim.host()))
        .run()
        .await;
    ended.works();
    assert!(!ended.text.contains("every RUN can read"), "{}", ended.text);
    assert!(!ended.text.contains(PASSWORD), "{}", ended.text);
    let loot = Loot::of(ended.text);
    // The head of the step's own namespace knows nothing that the command does not.
    loot.check(&[], &["zuwai-init"]);
    assert!(!loot.text.contains("NEIGHBOUR zuwai\n"), "{}", loot.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_a_broker_are_found_nowhere_and_commands_cannot_use_it() {
    let test = "credentials_of_a_broker_are_found_nowhere_and_commands_cannot_use_it";
    let Some(pod) = Pod::new(test) else { return };
    let sim = registry().await;
    let allowed = format!("--allow-push={}/team/app:v1", sim.host());
    let config = serde_json::from_str(&document(&sim)).unwrap();
    let broker = Broker::start(&config, &[allowed]);
    // A socket of their own in its place gets no connection of the build.
    let replace = "RUN /attack replace /broker/broker\n";
    write_context(&pod.path("context"), &sim, replace);
    let context = pod.path("context/Dockerfile");
    let text = fs::read_to_string(&context).unwrap();
    let text = text.replace("ENV REGISTRY", "ENV SOCKET=/broker/broker\nENV REGISTRY");
    fs::write(&context, text).unwrap();
    let pod = pod.volume(&broker.directory(), "/broker");
    let arguments = ["--registry-broker=/broker/broker"];
    let said = build_in_pod(pod, &sim, &arguments, String::new()).await;
    assert!(said.contains("REPLACED\n"), "{said}");
    let loot = Loot::of(said);
    loot.check(&[], &[]);
    assert_eq!(
        loot.socket(),
        [
            "GET /claim: HTTP/1.1 409",
            "GET /v2/: HTTP/1.1 401",
            "GET /v2/team/app/tags/list: HTTP/1.1 401",
            "GET /v2/team/app/manifests/v1: HTTP/1.1 401",
            "GET /v2/other/manifests/v1: HTTP/1.1 401",
            "POST /v2/team/app/blobs/uploads/: HTTP/1.1 401",
            "DELETE /v2/team/app/blobs/uploads/0: HTTP/1.1 401",
            "GET http://169.254.169.254/latest/meta-data/: HTTP/1.1 401",
        ]
    );
    let log = broker.end();
    assert!(!log.contains(PASSWORD), "{log}");
    assert_eq!(log.matches("a build has claimed the broker").count(), 1, "{log}");
    assert_eq!(sim.open_sessions(), 0);
    let is_allowed = |path: &str| path == "/v2/" || path.starts_with("/v2/team/app/");
    let others: Vec<_> = sim.requests().into_iter().filter(|one| !is_allowed(&one.path)).collect();
    assert_eq!(others, []);
}

#[test]
fn a_build_that_a_command_makes_crash_leaves_no_core_file() {
    let test = "a_build_that_a_command_makes_crash_leaves_no_core_file";
    // The machine's, for all of its containers: a program or a place of its own takes them elsewhere.
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.trim().is_empty() || pattern.starts_with(['|', '/']) {
        return skip(test, Reason::OtherKind("core files go elsewhere on this machine"));
    }
    let Some(mut pod) = Pod::new(test) else { return };
    compile_attack(&pod.path("context"));
    let (head, tail) = PASSWORD.split_at(7);
    pod.write(
        "context/Dockerfile",
        &format!("FROM base\nCOPY attack /attack\nRUN /attack dump executor {head} {tail}\n"),
    );
    let document = json!({"auths": {"registry.example": {"username": USER, "password": PASSWORD}}});
    pod.write("document", &document.to_string());
    let said = pod.script(&format!(
        "$b mkdir /shared/decoy /shared/cores\n\
         ulimit -c unlimited || true\n\
         cd /shared/cores\n\
         code=0\n\
         (build context {BASE} --registry-auth-stdin < /shared/document 2>&1) || code=$?\n\
         echo \"ENDED by $code\"\n\
         $b find / -xdev -name 'core*' -type f ! -path '/proc/*'\n"
    ));
    // Where the kernel writes any, it would have written the build's.
    let attack = fs::read_to_string(pod.path("said")).unwrap();
    assert_eq!(attack, "DECOY dumped\nLIMITED executor\n", "{said}");
    assert!(said.ends_with("ENDED by 134\n"), "{said}");
    let cores = |folder: &str| -> Vec<Vec<u8>> {
        let entries = fs::read_dir(pod.path(folder)).unwrap();
        entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
    };
    let decoys = cores("decoy");
    let marker = PASSWORD.as_bytes();
    assert!(decoys.iter().any(|core| core.windows(marker.len()).any(|part| part == marker)));
    assert_eq!(cores("cores").len(), 0);
}
