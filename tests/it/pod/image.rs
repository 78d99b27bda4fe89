//! The container image that `hack/image.sh` makes with zuwai, used as kaniko's is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{Pod, digest};
use crate::skip::{Reason, skip};
use crate::witness::harness::{bases, registry, run, unpack_layout};

const BASE: &str = "--build-context=base=oci-layout:///bases/build";

/// Returns the folder with the layouts `executor` and `debug`, made once; `None` where they cannot.
fn images(test: &str) -> Option<&'static Path> {
    static IMAGES: OnceLock<tempfile::TempDir> = OnceLock::new();
    let reason = match (crate::witness::harness_unavailable(), super::program()) {
        (Some(reason), _) => reason,
        (None, None) => "needs a static zuwai: run hack/test.sh".to_owned(),
        (None, Some(program)) => {
            let folder = IMAGES.get_or_init(|| {
                let folder = tempfile::tempdir().unwrap();
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/image.sh");
                run(Command::new(script).arg("--program").arg(&program).arg(folder.path()));
                folder
            });
            return Some(folder.path());
        }
    };
    skip(test, Reason::Lacking(&reason));
    None
}

/// Unpacks an image's layout, and returns its files' place and its config.
fn unpack(layout: &Path, to: &Path) -> (PathBuf, Value) {
    let source = format!("oci:{}", layout.display());
    let config = run(Command::new("skopeo").args(["inspect", "--config", &source]));
    // umoci reads no manifests of Docker's form.
    let oci = format!("{}.oci:latest", to.display());
    let copy = ["copy", "--quiet", "--format=oci", &source, &format!("oci:{oci}")];
    run(Command::new("skopeo").args(copy));
    let rootfs = to.join("rootfs");
    unpack_layout(&oci, &rootfs);
    (rootfs, serde_json::from_slice(&config.stdout).unwrap())
}

/// Returns what is below a directory, sorted: directories with a slash at the end, links with what
/// they lead to.
fn list(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if let Ok(target) = fs::read_link(&path) {
                found.push(format!("{name} -> {}", target.display()));
            } else if path.is_dir() {
                found.push(format!("{name}/"));
                directories.push(path);
            } else {
                found.push(name);
            }
        }
    }
    found.sort();
    found
}

const FILES: [&str; 12] = [
    "kaniko/",
    "kaniko/.docker/",
    "kaniko/executor",
    "kaniko/ssl/",
    "kaniko/ssl/certs/",
    "kaniko/ssl/certs/ca-certificates.crt",
    "kaniko/warmer -> executor",
    "kaniko/zuwai -> executor",
    "run/",
    "var/",
    "var/run -> /run",
    "workspace/",
];

#[test]
fn the_image_has_the_places_and_the_environment_of_kanikos() {
    let test = "the_image_has_the_places_and_the_environment_of_kanikos";
    let Some(images) = images(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (executor, config) = unpack(&images.join("executor"), &folder.path().join("executor"));
    let (debug, debug_config) = unpack(&images.join("debug"), &folder.path().join("debug"));
    let expected = |path: &str| {
        json!({
            "Env": [
                format!("PATH={path}"),
                "HOME=/root",
                "USER=root",
                "SSL_CERT_DIR=/kaniko/ssl/certs",
                "DOCKER_CONFIG=/kaniko/.docker/",
            ],
            "Entrypoint": ["/kaniko/executor"],
            "WorkingDir": "/workspace",
        })
    };
    assert_eq!(config["config"], expected("/usr/local/bin:/kaniko"));
    assert_eq!(debug_config["config"], expected("/usr/local/bin:/kaniko:/busybox"));

    assert_eq!(list(&executor), FILES);
    let more = ["bin/", "bin/sh -> /busybox/sh", "busybox/", "busybox/busybox"];
    let is_applet = |name: &String| name.ends_with(" -> busybox");
    let (applets, others): (Vec<_>, Vec<_>) = list(&debug).into_iter().partition(is_applet);
    let mut files: Vec<&str> = FILES.into_iter().chain(more).collect();
    files.sort();
    assert_eq!(others, files);
    assert!(applets.contains(&"busybox/sh -> busybox".to_owned()), "{applets:?}");

    let authorities = fs::read_to_string(executor.join("kaniko/ssl/certs/ca-certificates.crt"));
    assert!(authorities.unwrap().matches("-----BEGIN CERTIFICATE-----").count() > 100);
}

/// Writes a context of two stages, and returns the layout of its image by namespaces.
fn write_context(pod: &Pod, name: &str) -> PathBuf {
    pod.write(
        &format!("{name}/Dockerfile"),
        &format!(
            "FROM base AS one\n\
             RUN echo {name} > /one && rm /bin/true && ln -s /bin/false /usr/bin/made\n\
             FROM base\n\
             COPY --from=one /one /\n\
             COPY file /bin/file-of-{name}\n\
             RUN test ! -e /kaniko/never && cat /one > /bin/two-of-{name}\n"
        ),
    );
    pod.write(&format!("{name}/file"), name);
    let layout = pod.path(&format!("in-namespaces-{name}"));
    pod.build_in_namespaces(pod.build(name), &[("base", &bases().join("build"))], &layout);
    layout
}

#[test]
fn a_pod_of_kanikos_builds_and_pushes_with_the_image() {
    let test = "a_pod_of_kanikos_builds_and_pushes_with_the_image";
    let (Some(images), Some(pod)) = (images(test), Pod::new(test)) else { return };
    let expected = digest(&write_context(&pod, "app"));
    // Who asks the system for `localhost` would have it ask a library of the base's.
    pod.write("nsswitch.conf", "hosts: mymachines\npasswd: sss\n");
    let (app, names) = (pod.path("app"), pod.path("nsswitch.conf"));
    let host = registry().host.replace("127.0.0.1", "localhost");
    let destination = format!("{host}/image/pod:v1");
    let mut pod = pod
        .option("--layout", &images.join("executor").display().to_string())
        .volume(&app, "/workspace")
        .file(&names, "/etc/nsswitch.conf");
    let output = pod.run(&[
        "--dockerfile=Dockerfile",
        "--context=dir:///workspace",
        &format!("--destination={destination}"),
        "--digest-file=/shared/digest",
        "--reproducible",
        "--snapshotMode=redo",
        "--verbosity",
        "info",
        BASE,
    ]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(log.contains(&format!("Pushed {host}/image/pod@{expected}\n")), "{log}");
    assert_eq!(fs::read_to_string(pod.path("digest")).unwrap(), expected);
}

#[test]
fn the_image_has_kanikos_programs_and_its_entrypoint() {
    let test = "the_image_has_kanikos_programs_and_its_entrypoint";
    let version = format!("zuwai {} (flags of kaniko v1.24.0)\n", env!("CARGO_PKG_VERSION"));
    let refused = "error: you must provide --destination, or use --no-push\n\
                   hint: add `--destination=HOST/REPOSITORY:TAG` to push, or `--no-push`\n";
    let cases: [(&[&str], i32, &str, &str); 4] = [
        (&["/kaniko/executor", "version"], 0, &version, ""),
        (&["/kaniko/warmer", "version"], 0, &version, ""),
        (&["/kaniko/zuwai", "version"], 0, &version, ""),
        (&["--context=."], 1, "", refused),
    ];
    for (words, code, out, error) in cases {
        let (Some(images), Some(pod)) = (images(test), Pod::new(test)) else { return };
        let layout = images.join("executor").display().to_string();
        let output = pod.option("--layout", &layout).run(words);
        assert_eq!(String::from_utf8_lossy(&output.stderr), error, "{words:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), out, "{words:?}");
        assert_eq!(output.status.code(), Some(code), "{words:?}");
    }
}

#[test]
fn a_script_builds_twice_with_the_debug_image_and_keeps_its_shell() {
    let test = "a_script_builds_twice_with_the_debug_image_and_keeps_its_shell";
    let (Some(images), Some(pod)) = (images(test), Pod::new(test)) else { return };
    let (one, two) = (write_context(&pod, "one"), write_context(&pod, "two"));
    let script = format!(
        "set -eu\n\
         mkdir -p /kaniko/.docker\n\
         echo '{{}}' > /kaniko/.docker/config.json\n\
         list() {{ find / -xdev ! -path '/kaniko*' ! -path '/shared*' ! -path /proc ! -path /dev \
            ! -path /sys -exec stat -c '%n %F %a %u:%g' {{}} + | sort; }}\n\
         list > /shared/before\n\
         for name in one two; do\n\
         /kaniko/executor --context=/shared/$name --destination=image:latest --no-push \
            --oci-layout-path=/shared/out/$name --reproducible {BASE} > /dev/null 2>&1\n\
         ls /one\n\
         /bin/sh -c 'echo a shell'\n\
         done\n\
         /kaniko/executor --context=/shared/one --no-push --cleanup {BASE} > /dev/null 2>&1\n\
         sh -c 'echo busybox'\n\
         list > /shared/after\n"
    );
    let layout = images.join("debug").display().to_string();
    let mut pod = pod.option("--layout", &layout);
    // How GitLab finds a shell: by its name.
    let output = pod.run(&["sh", "-c", &script]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "/one\na shell\n".repeat(2) + "busybox\n", "{errors}");
    // The container's `/bin/sh` does not show, although the base has a link in the place of `/bin`.
    assert_eq!(pod.digest("one"), digest(&one));
    assert_eq!(pod.digest("two"), digest(&two));
    // What of the container the base has as something else is gone for good, as with kaniko: links
    // in the place of `/bin` and `/var/run`.
    let gone = ["/bin directory 755 0:0", "/bin/sh symbolic link 777 0:0"];
    let gone = [gone.as_slice(), &["/var/run symbolic link 777 0:0"]].concat();
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    let before = read("before");
    let left: Vec<&str> = before.lines().filter(|line| !gone.contains(line)).collect();
    assert_eq!(read("after").lines().collect::<Vec<_>>(), left);
}
