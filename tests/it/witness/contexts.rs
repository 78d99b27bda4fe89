//! Contexts as clusters and pipes bring them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use super::harness::Build;
use crate::skip_unless_available;

/// Makes a volume as Kubernetes does of a ConfigMap: every file is a link through `..data`.
fn config_map(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let version = folder.path().join("..2026_11_20_10_00_00.123456789");
    fs::create_dir(&version).unwrap();
    symlink(version.file_name().unwrap(), folder.path().join("..data")).unwrap();
    for (name, content) in files {
        fs::write(version.join(name), content).unwrap();
        // Keys with a directory in them are made with `items`; the link is to the first component.
        symlink(Path::new("..data").join(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn a_mounted_config_map_is_a_context_with_its_own_dockerfile() {
    skip_unless_available!();
    let dockerfile = "FROM base\n\
        COPY app.conf /one/renamed\n\
        COPY *.conf /some/\n\
        COPY . /all\n\
        RUN cd / && for file in one/* some/* all/*; do \
              test -h $file && kind=link || kind=file; echo \"SEEN $file $kind $(cat $file)\"; \
            done\n";
    let context = config_map(&[
        ("Dockerfile", dockerfile),
        (".dockerignore", "secret.conf\n..*/secret.conf\nDockerfile\n..*/Dockerfile\n"),
        ("app.conf", "of the app"),
        ("other.conf", "of another"),
        ("secret.conf", "of nobody"),
    ]);
    let built = Build::of(context.path()).base("base", "busybox").arg("--no-push").succeed();
    let text = built.text();
    let seen: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("SEEN ")).map(str::trim_end).collect();
    assert_eq!(
        seen,
        [
            "one/renamed file of the app",
            "some/app.conf file of the app",
            "some/other.conf file of another",
            "all/app.conf link of the app",
            "all/other.conf link of another",
        ],
        "{text}"
    );
}

#[test]
fn standard_input_without_an_archive_says_how_to_pipe_one() {
    skip_unless_available!();
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().display();
    let zuwai = env!("CARGO_BIN_EXE_zuwai");
    let words = format!(
        "{zuwai} build --log-format=text --context=tar://stdin --no-push --kaniko-dir={folder}/work"
    );
    let run = |command: &mut Command| {
        let output =
            command.current_dir(work.path()).env("NO_COLOR", "1").stdin(Stdio::null()).output();
        let output = output.unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        text[text.find("error: ").unwrap()..].replace('\r', "")
    };
    let hint = "hint: pipe it, with standard input kept open: `tar -czf - . | kubectl run … --stdin` \
                or `docker run --interactive …`\n";
    assert_eq!(
        run(Command::new("sh").args(["-c", &words])),
        format!("error: the build context `tar://stdin` is empty: an archive is needed\n{hint}")
    );
    // `script` is what gives a program a terminal.
    let terminal = ["--quiet", "--return", "--command", &words, "/dev/null"];
    assert_eq!(
        run(Command::new("script").args(terminal)),
        format!(
            "error: the build context `tar://stdin` is a terminal: an archive has to be piped in\n\
             {hint}"
        )
    );
}
