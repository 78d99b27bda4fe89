//! Objects of Kubernetes, against the types of the oldest API that is still looked after.

use std::path::Path;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, PersistentVolumeClaim, Pod, PodSpec, Secret,
};
use serde_json::Value;
use zuwai::broker::Allowed;
use zuwai::build::BuildOptions;
use zuwai::build::options::CredentialSource;

use super::containers::{broker, container, scripted, warmer};
use super::{documents, typed};

pub const FILES: &[&str] = &[
    "kubernetes/broker-pod.yaml",
    "kubernetes/gvisor-pod.yaml",
    "kubernetes/job.yaml",
    "kubernetes/monorepo-job.yaml",
    "kubernetes/own-authority.yaml",
    "kubernetes/pod.yaml",
    "kubernetes/registry-secret.yaml",
    "kubernetes/user-namespace-pod.yaml",
    "kubernetes/warmer.yaml",
];

/// Reads an object, and what it gives to zuwai if it runs it.
pub fn object(value: &Value) -> Option<BuildOptions> {
    match value["kind"].as_str().expect("a kind") {
        "Pod" => Some(pod(&typed::<Pod>(value).spec.expect("a spec"))),
        "Job" => {
            let job: Job = typed(value);
            Some(pod(&job.spec.and_then(|spec| spec.template.spec).expect("a Pod")))
        }
        "CronJob" => {
            let job: CronJob = typed(value);
            let template =
                job.spec.and_then(|spec| spec.job_template.spec).expect("a Job").template;
            warming(&template.spec.expect("a Pod"));
            None
        }
        "Secret" => {
            let secret: Secret = typed(value);
            let data = secret.string_data.expect("text");
            // What the Pods mount as config.json.
            let config: Value = serde_json::from_str(&data[".dockerconfigjson"]).expect("JSON");
            let entry = &config["auths"]["registry.example.com"];
            assert!(entry["username"].is_string() && entry["password"].is_string());
            None
        }
        "ConfigMap" => {
            typed::<ConfigMap>(value);
            None
        }
        "PersistentVolumeClaim" => {
            typed::<PersistentVolumeClaim>(value);
            None
        }
        kind => panic!("no example has a {kind}"),
    }
}

/// Checks a Pod of the warmer: what it writes is mounted.
fn warming(spec: &PodSpec) {
    let main = mounted(spec);
    let options = warmer(main);
    let mounts: Vec<&str> =
        main.volume_mounts.iter().flatten().map(|mount| mount.mount_path.as_str()).collect();
    assert!(mounts.contains(&"/kaniko/.docker"), "{mounts:?}");
    assert!(mounts.iter().any(|mount| Path::new(mount) == options.directory), "{mounts:?}");
}

/// Checks what Kubernetes would refuse although each field is known; returns the only container.
fn mounted(spec: &PodSpec) -> &Container {
    let [main] = spec.containers.as_slice() else { panic!("one container") };
    let volumes: Vec<&str> =
        spec.volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    for mount in containers.flat_map(|container| container.volume_mounts.iter().flatten()) {
        assert!(volumes.contains(&mount.name.as_str()), "no volume is called {}", mount.name);
        assert!(Path::new(&mount.mount_path).is_absolute(), "{}", mount.mount_path);
    }
    assert_eq!(spec.automount_service_account_token, Some(false));
    let image = match main.command.as_deref() {
        Some([shell, ..]) if shell == "/busybox/sh" => "registry.example.com/zuwai:debug",
        _ => "registry.example.com/zuwai:latest",
    };
    assert_eq!(main.image.as_deref(), Some(image));
    main
}

/// Checks a Pod that builds, and understands zuwai's words.
fn pod(spec: &PodSpec) -> BuildOptions {
    let main = mounted(spec);
    let options = match main.command.as_deref() {
        Some([shell, ..]) if shell == "/busybox/sh" => {
            // It has as many images as the Job has Pods, each another.
            let builds = [0, 1, 2].map(|index| scripted(main, index));
            let names = builds.clone().map(|build| build.output.destinations[0].typed.clone());
            let expected = ["api", "web", "worker"];
            assert_eq!(names, expected.map(|name| format!("registry.example.com/team/{name}:v1")));
            let [first, ..] = builds;
            first
        }
        _ => container(main),
    };
    let mounts: Vec<&Path> = main
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| Path::new(mount.mount_path.as_str()))
        .collect();
    // Credentials are looked for where they are mounted, and the context is.
    let holder = spec.init_containers.iter().flatten().find(|one| one.name == "broker");
    match (&options.registry.credentials, holder) {
        (CredentialSource::Broker(socket), Some(broker)) => check_broker(broker, socket, &options),
        (_, None) => assert!(mounts.contains(&Path::new("/kaniko/.docker")), "{mounts:?}"),
        (_, Some(_)) => panic!("a broker that nobody asks"),
    }
    if main.stdin != Some(true) {
        assert!(mounts.contains(&Path::new("/workspace")), "{mounts:?}");
    }
    options
}

/// Checks that a broker holds the credentials, listens where the build asks, and lets it push.
fn check_broker(container: &Container, socket: &Path, options: &BuildOptions) {
    assert_eq!(container.restart_policy.as_deref(), Some("Always"));
    let request = broker(container);
    assert_eq!(request.listen, socket);
    let push = options.output.destinations.iter();
    let push: Vec<_> =
        push.map(|one| (one.reference.clone(), one.reference.tag().map(str::to_owned))).collect();
    let base = "registry.example.com/bases/debian".parse().unwrap();
    assert_eq!(request.allowed, Allowed::new(&[base], &push));
    let directories = &request.registry.credential_directories;
    assert_eq!(directories.first().map(|one| one.as_path()), Some(Path::new("/kaniko/.docker/")));
    let mounts = container.volume_mounts.iter().flatten();
    assert!(mounts.into_iter().any(|mount| mount.mount_path == "/kaniko/.docker"));
}

#[test]
fn objects_are_those_of_the_api_and_their_arguments_are_understood() {
    for name in FILES {
        let builds = documents(name).iter().filter_map(object).count();
        let expected = usize::from(!name.contains("secret"));
        assert_eq!(builds, expected, "{name}");
    }
}

#[test]
fn a_field_that_the_api_does_not_know_is_found() {
    let mut pod = documents("kubernetes/pod.yaml").remove(0);
    pod["spec"]["containers"][0]["volumeMount"] = Value::Array(Vec::new());
    let refused = std::panic::catch_unwind(|| object(&pod));
    assert!(refused.is_err());
}
