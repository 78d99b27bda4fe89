//! What `zuwai doctor` says of containers, and that builds in them do what it says.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::Pod;
use crate::witness::harness::bases;

const BASE: &str = "--build-context=base=oci-layout:///bases/busybox";

/// Returns what was said as JSON, and the exit code.
fn doctor(pod: &mut Pod, arguments: &str) -> (Value, String) {
    doctor_and(pod, arguments, "true")
}

/// The same in a container that does more afterwards.
fn doctor_and(pod: &mut Pod, arguments: &str, more: &str) -> (Value, String) {
    let said = pod.script(&format!(
        "list > /shared/before 2> /dev/null || true\n\
         code=0\n\
         /kaniko/executor doctor --log-format=json {arguments} > /shared/out/doctor.json \
           2> /shared/out/doctor.err || code=$?\n\
         list > /shared/after 2> /dev/null || true\n\
         {more}\n\
         echo $code\n"
    ));
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("after"), read("before"), "something was left");
    (serde_json::from_str(&read("out/doctor.json")).unwrap(), said)
}

fn verdict<'a>(value: &'a Value, about: &str) -> &'a str {
    let findings = value["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["about"] == about);
    finding.unwrap_or_else(|| panic!("nothing about {about}"))["verdict"].as_str().unwrap()
}

fn found<'a>(value: &'a Value, about: &str) -> &'a str {
    let findings = value["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["about"] == about);
    finding.unwrap_or_else(|| panic!("nothing about {about}"))["found"].as_str().unwrap()
}

#[test]
fn an_ordinary_pod_is_told_what_a_build_does_in_it() {
    let test = "an_ordinary_pod_is_told_what_a_build_does_in_it";
    let Some(pod) = Pod::new(test) else { return };
    pod.write("context/Dockerfile", "FROM base\nRUN echo x > /x\nRUN rm /x\n");
    let pod = pod.option("--memory", "1073741824").option("--pids", "500");
    let mut pod = pod.option("--empty-dir", "/workspace").option("--empty-dir", "/data");
    let build = format!(
        "(build context {BASE} --cleanup --benchmark-file=/shared/out/record.json \
         > /shared/out/log 2>&1)"
    );
    let (value, code) = doctor_and(&mut pod, "", &build);
    assert_eq!(code, "0\n", "{value:#}");
    for (about, expected) in [
        ("user", "yes"),
        ("container", "yes"),
        ("namespaces", "no"),
        ("mounts in namespaces", "not-tried"),
        ("pivot_root", "not-tried"),
        ("user namespace", "no"),
        ("building in `/`", "yes"),
        ("owners and kinds of files", "yes"),
        ("ending processes", "yes"),
        ("new privileges", "yes"),
        ("root file system", "yes"),
        ("work directory", "yes"),
        ("unpacked images", "no"),
        ("tracker overlay", "no"),
        ("tracker fanotify", "no"),
        ("tracker inotify", "yes"),
        ("token kept out", "no"),
    ] {
        assert_eq!(verdict(&value, about), expected, "{about}: {value:#}");
    }
    assert_eq!(value["can_build"], true);
    assert_eq!(value["sandbox"]["form"], "in place");
    assert_eq!(found(&value, "seccomp"), "a filter decides which system calls there are");
    assert!(found(&value, "memory limit").starts_with("1.0 GiB"), "{value:#}");
    assert!(found(&value, "process limit").starts_with("500"), "{value:#}");
    let mounts = found(&value, "mounts in `/`");
    for mount in ["`/data` (", "`/etc/hosts` (", "run/secrets/kubernetes.io/serviceaccount` ("] {
        assert!(mounts.contains(mount), "{mounts}");
    }
    // The same words as the build's, because it is the same code.
    let record = fs::read(pod.path("out/record.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["trackers"][0]["tracker"], value["tracker"]["name"]);
    assert_eq!(record["trackers"][0]["reason"], value["tracker"]["reason"]);
    let log = fs::read_to_string(pod.path("out/log")).unwrap();
    let reason = value["sandbox"]["reason"].as_str().unwrap().replace('"', "\\\"");
    assert!(log.contains(&reason), "{log}\n{reason}");
}

#[test]
fn a_privileged_pod_is_told_of_its_namespaces() {
    let test = "a_privileged_pod_is_told_of_its_namespaces";
    let Some(pod) = Pod::new(test) else { return };
    let mut pod = pod.option("--privileged", "").option("--empty-dir", "/work");
    let (value, code) = doctor(&mut pod, "--kaniko-dir=/work --cache-dir=/work");
    assert_eq!(code, "0\n", "{value:#}");
    for about in ["namespaces", "mounts in namespaces", "pivot_root", "user namespace"] {
        assert_eq!(verdict(&value, about), "yes", "{about}: {value:#}");
    }
    assert_eq!(value["sandbox"]["form"], "namespaces");
    let works = verdict(&value, "tracker overlay") == "yes";
    assert_eq!(works, value["tracker"]["name"] == "overlay", "{value:#}");
    // An overlay over what is unpacked has to be of the same kind.
    assert_eq!(works, verdict(&value, "unpacked images") == "yes", "{value:#}");
}

#[test]
fn a_pod_with_a_user_namespace_builds_as_it_is_told() {
    let test = "a_pod_with_a_user_namespace_builds_as_it_is_told";
    let Some(pod) = Pod::new(test) else { return };
    pod.write("context/Dockerfile", "FROM base\nRUN echo x > /x && chown 7:8 /x\nRUN mkdir /y\n");
    let writable = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(pod.path("out"), writable).unwrap();
    for name in ["before", "after"] {
        pod.write(name, "");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        fs::set_permissions(pod.path(name), mode).unwrap();
    }
    let mut pod = pod.option("--userns", "").option("--empty-dir", "/work");
    let build = format!(
        "(build context {BASE} --kaniko-dir=/work --benchmark-file=/shared/out/record.json \
         > /shared/out/log 2>&1)"
    );
    let (value, code) = doctor_and(&mut pod, "--kaniko-dir=/work", &build);
    assert_eq!(code, "0\n", "{value:#}");
    assert_eq!(found(&value, "user"), "root of a user namespace");
    assert_eq!(value["sandbox"]["form"], "namespaces");
    // What the capabilities of a user namespace promise is not what it may do.
    assert!(found(&value, "capabilities").contains("MKNOD"), "{value:#}");
    assert_eq!(found(&value, "owners and kinds of files"), "refused: device nodes in a base image");
    let record = fs::read(pod.path("out/record.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["trackers"][0]["tracker"], value["tracker"]["name"]);
    let layout = bases().join("busybox");
    let expected = pod.digest_in_namespaces(pod.build("context"), &[("base", &layout)]);
    assert_eq!(pod.digest("context"), expected);
}

#[test]
fn a_restricted_pod_is_told_what_would_help() {
    let test = "a_restricted_pod_is_told_what_would_help";
    let Some(pod) = Pod::new(test) else { return };
    fs::set_permissions(pod.path("out"), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .unwrap();
    for name in ["before", "after"] {
        pod.write(name, "");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        fs::set_permissions(pod.path(name), mode).unwrap();
    }
    let mut pod = pod.option("--restricted", "").option("--empty-dir", "/work");
    let (value, code) = doctor(&mut pod, "--kaniko-dir=/work");
    assert_eq!(code, "1\n", "{value:#}");
    assert_eq!(value["can_build"], false);
    assert_eq!(value["sandbox"], Value::Null);
    for about in ["user", "namespaces", "user namespace", "root file system", "new privileges"] {
        assert_eq!(verdict(&value, about), "no", "{about}: {value:#}");
    }
    // The error is the build's.
    let error = fs::read_to_string(pod.path("out/doctor.err")).unwrap();
    assert!(error.contains(value["error"]["message"].as_str().unwrap()), "{error}");
}

#[test]
fn another_image_is_not_mixed_with_a_base_in_silence() {
    let test = "another_image_is_not_mixed_with_a_base_in_silence";
    let Some(pod) = Pod::new(test) else { return };
    pod.write(
        "context/Dockerfile",
        "FROM base\nRUN ls /usr/local/bin/tool /lib64/libtool.so || echo nothing of others\n\
         RUN mkdir -p /usr/local/bin && echo ours > /usr/local/bin/ours\n",
    );
    let tool = Path::new("/etc/hostname");
    let mut pod = pod.file(tool, "/usr/local/bin/tool").file(tool, "/lib64/libtool.so");
    let said = pod.script(&format!(
        "(build context {BASE} 2>&1) && exit 1\n\
         /kaniko/executor doctor > /shared/out/table 2>&1 && exit 1\n\
         echo by force\n\
         (build context {BASE} --force --cleanup 2>&1)\n\
         $b ls /usr/local/bin /lib64\n\
         echo after a cleanup\n\
         (build context {BASE} --pre-cleanup --cleanup 2>&1)\n\
         $b ls /\n"
    ));
    let (refused, rest) = said.split_once("by force\n").unwrap();
    let (forced, cleaned) = rest.split_once("after a cleanup\n").unwrap();
    let error = "error: `/` is that of another image, whose files a RUN would find beside those of \
                 the base: ";
    assert!(refused.contains(error), "{refused}");
    assert!(refused.contains("`/usr/local/bin/tool`"), "{refused}");
    assert!(refused.contains("`--pre-cleanup` removes these files before the build"), "{refused}");
    let table = fs::read_to_string(pod.path("out/table")).unwrap();
    assert!(table.contains(error), "{table}");

    assert!(forced.contains("a RUN finds its files beside those of the base"), "{forced}");
    assert!(forced.contains("\n/lib64/libtool.so\n"), "{forced}");
    assert!(forced.ends_with("/lib64:\nlibtool.so\n\n/usr/local/bin:\ntool\n"), "{forced}");

    assert!(cleaned.contains("nothing of others"), "{cleaned}");
    assert!(!cleaned.contains("tool\n"), "{cleaned}");
    assert!(!cleaned.lines().any(|line| line == "usr" || line == "lib64"), "{cleaned}");
    let layout = bases().join("busybox");
    let expected = pod.digest_in_namespaces(pod.build("context"), &[("base", &layout)]);
    assert_eq!(pod.digest("context"), expected);
}

#[test]
fn a_machine_is_never_cleared() {
    let Some(pod) = Pod::new("a_machine_is_never_cleared") else { return };
    pod.write("context/Dockerfile", "FROM base\nRUN true\n");
    let mut pod = pod.option("--machine", "").file(Path::new("/etc/hostname"), "/usr/bin/tool");
    let said = pod.script(&format!(
        "list > /shared/before\n\
         (build context {BASE} --kaniko-dir=/kaniko --force --pre-cleanup 2>&1) && exit 1\n\
         list > /shared/after\n"
    ));
    assert!(
        said.contains("error: `--pre-cleanup` removes what is in `/`, and this is not"),
        "{said}"
    );
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("after"), read("before"));
}

#[test]
fn a_machine_is_examined_as_an_executable_of_it() {
    // Without any container: whatever the machine allows, the answer and the exit code agree.
    let work = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_zuwai"))
        .args(["doctor", "--log-format=json"])
        .arg(format!("--kaniko-dir={}", work.path().display()))
        .output()
        .unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["can_build"], output.status.success(), "{value:#}");
    assert_eq!(value["error"].is_null(), output.status.success(), "{value:#}");
    assert_eq!(value["sandbox"].is_null(), !output.status.success(), "{value:#}");
}
