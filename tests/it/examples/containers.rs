//! What a container of an example gives to zuwai.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use k8s_openapi::api::core::v1::Container;
use zuwai::broker::BrokerOptions;
use zuwai::build::BuildOptions;
use zuwai::cli::env::{Stderr, Surroundings, User};
use zuwai::cli::{Environment, Facts, Invocation};
use zuwai::warm::WarmOptions;

/// The environment of the image.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("HOME", "/root"),
    ("USER", "root"),
    ("PATH", "/usr/local/bin:/kaniko"),
    ("SSL_CERT_DIR", "/kaniko/ssl/certs"),
    ("DOCKER_CONFIG", "/kaniko/.docker/"),
];

/// Understands the arguments of `/kaniko/executor` in the image.
///
/// # Panics
/// When one is not understood, not built yet, or answered by a warning.
pub fn executor(arguments: &[String], variables: &[(String, String)]) -> BuildOptions {
    match understood(&["/kaniko/executor"], arguments, variables) {
        Invocation::Build(request) => {
            assert_eq!(request.warnings, Vec::<String>::new(), "{arguments:?}");
            request.options
        }
        other => panic!("{arguments:?} is no build: {other:?}"),
    }
}

/// Understands what a broker in the image is given.
pub fn broker(container: &Container) -> BrokerOptions {
    let command = ["/kaniko/zuwai", "broker"];
    assert_eq!(container.command.as_deref(), Some(&command.map(str::to_owned)[..]));
    match understood(&command, container.args.as_deref().unwrap_or_default(), &[]) {
        Invocation::Broker(request) => {
            assert_eq!(request.warnings, Vec::<String>::new());
            request.options
        }
        other => panic!("no broker: {other:?}"),
    }
}

/// Understands what a warmer in the image is given.
pub fn warmer(container: &Container) -> WarmOptions {
    let command = ["/kaniko/warmer"];
    assert_eq!(container.command.as_deref(), Some(&command.map(str::to_owned)[..]));
    match understood(&command, container.args.as_deref().unwrap_or_default(), &[]) {
        Invocation::Warm(request) => {
            assert_eq!(request.warnings, Vec::<String>::new());
            request.options
        }
        other => panic!("no warmer: {other:?}"),
    }
}

/// Understands what a shell script gives to the executor in a Pod of an Indexed Job.
pub fn scripted(container: &Container, index: u32) -> BuildOptions {
    let [script] = container.args.as_deref().unwrap_or_default() else { panic!("one script") };
    let printing = script.replace("exec /kaniko/executor", "exec printf '%s\\n'");
    assert_ne!(&printing, script, "the executor is started");
    let output = Command::new("sh")
        .args(["-euc", &printing])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("JOB_COMPLETION_INDEX", index.to_string())
        .output()
        .expect("sh");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    executor(&text.lines().map(str::to_owned).collect::<Vec<_>>(), &[])
}

fn understood(
    program: &[&str],
    arguments: &[String],
    variables: &[(String, String)],
) -> Invocation {
    let program = program.iter().map(|word| (*word).to_owned());
    let words: Vec<OsString> =
        program.chain(arguments.iter().cloned()).map(OsString::from).collect();
    let image = ENVIRONMENT.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let environment: Environment = image.chain(variables.iter().cloned()).collect();
    let facts = Facts {
        current_directory: PathBuf::from("/workspace"),
        user: User::Root,
        surroundings: Surroundings::Container,
        is_kubernetes: true,
        stderr: Stderr::Stream,
    };
    match zuwai::cli::parse(&words, &environment, &facts) {
        Ok(invocation) => invocation,
        Err(failure) => panic!("{arguments:?}: {}", failure.error),
    }
}

/// Understands what a container of zuwai's image is given.
pub fn container(container: &Container) -> BuildOptions {
    assert_eq!(container.command, None, "the image's entrypoint is the executor");
    let variables: Vec<(String, String)> = container
        .env
        .iter()
        .flatten()
        .map(|variable| (variable.name.clone(), variable.value.clone().expect("a value")))
        .collect();
    executor(container.args.as_deref().unwrap_or_default(), &variables)
}
