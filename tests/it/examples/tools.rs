//! Pipelines of other tools: Tekton by its own types and Kubernetes', the others by their JSON schemas.

#![expect(clippy::disallowed_methods, reason = "tests find their tools by the environment")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use k8s_openapi::api::core::v1::Container;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zuwai::context::ContextSource;

use super::containers::{container, executor};
use super::{document, path, typed};
use crate::skip::{Reason, skip};

pub const FILES: &[&str] = &[
    "github-actions/build.yml",
    "gitlab/gitlab-ci.yml",
    "google-cloud-build/cloudbuild.yaml",
    "tekton/task.yaml",
];

/// A task of Tekton, as far as ours goes.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Task {
    api_version: String,
    kind: String,
    metadata: Name,
    spec: TaskSpec,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Name {
    name: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TaskSpec {
    description: String,
    params: Vec<Parameter>,
    workspaces: Vec<Workspace>,
    results: Vec<Described>,
    steps: Vec<Container>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Parameter {
    name: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<Value>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Workspace {
    name: String,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    optional: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mount_path: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Described {
    name: String,
    description: String,
}

/// Puts values into the variables of a word; one that stays is not declared.
fn expand(word: &str, values: &BTreeMap<String, String>) -> String {
    let mut word = word.to_owned();
    for (name, value) in values {
        word = word.replace(&format!("$({name})"), value);
    }
    assert!(!word.contains("$("), "{word} has a variable that nothing declares");
    word
}

#[test]
fn the_task_of_tekton_declares_what_it_uses_and_its_arguments_are_understood() {
    let task: Task = typed(&document("tekton/task.yaml"));
    assert_eq!((task.api_version.as_str(), task.kind.as_str()), ("tekton.dev/v1", "Task"));
    assert_eq!(task.metadata.name, "zuwai");
    let mut values = BTreeMap::new();
    let mut lists = BTreeMap::new();
    for parameter in &task.spec.params {
        let name = format!("params.{}", parameter.name);
        match (parameter.kind.as_deref(), &parameter.default) {
            (Some("array"), Some(Value::Array(_))) => {
                lists.insert(format!("$({name})"), vec!["--reproducible".to_owned()]);
            }
            (None, Some(Value::String(text))) => drop(values.insert(name, text.clone())),
            (None, None) => drop(values.insert(name, "registry.example.com/app:v1".to_owned())),
            other => panic!("{name} is of no known kind: {other:?}"),
        }
    }
    for workspace in &task.spec.workspaces {
        let place = workspace.mount_path.clone();
        let place = place.unwrap_or_else(|| format!("/workspace/{}", workspace.name));
        values.insert(format!("workspaces.{}.path", workspace.name), place);
    }
    for result in &task.spec.results {
        let place = format!("/tekton/results/{}", result.name);
        values.insert(format!("results.{}.path", result.name), place);
    }
    let [step] = task.spec.steps.as_slice() else { panic!("one step") };
    let expanded = Container {
        args: Some(
            step.args
                .iter()
                .flatten()
                .flat_map(|word| match lists.get(word) {
                    Some(list) => list.clone(),
                    None => vec![expand(word, &values)],
                })
                .collect(),
        ),
        ..step.clone()
    };
    assert_eq!(
        step.image.as_deref().map(|word| expand(word, &values)).as_deref(),
        Some("registry.example.com/zuwai:latest")
    );
    let options = container(&expanded);
    let place = ContextSource::Directory(Path::new("/workspace/source/./").into());
    assert_eq!(options.context.source, place);
    let [digest, images] =
        [&options.output.digest_file, &options.output.image_name_with_digest_file];
    assert!(digest.is_some() && images.is_some());
}

#[test]
fn the_step_of_google_cloud_build_is_understood() {
    let build = document("google-cloud-build/cloudbuild.yaml");
    let steps = build["steps"].as_array().unwrap();
    // A volume that only one step has is refused.
    assert_eq!(steps[0]["volumes"], steps[1]["volumes"]);
    let registry = build["substitutions"]["_REGISTRY"].as_str().unwrap();
    let arguments: Vec<String> = steps[1]["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| {
            let word = word.as_str().unwrap().replace("$_REGISTRY", registry);
            word.replace("$PROJECT_ID", "project").replace("$BUILD_ID", "0123")
        })
        .collect();
    let options = executor(&arguments, &[]);
    let destinations: Vec<&str> =
        options.output.destinations.iter().map(|destination| destination.typed.as_str()).collect();
    assert_eq!(destinations, ["europe-docker.pkg.dev/project/images/app:0123"]);
}

/// Returns where check-jsonschema is, with Tekton's types in its folder.
fn schemas(test: &str) -> Option<PathBuf> {
    let found = std::env::var_os("ZUWAI_SCHEMAS").map(PathBuf::from);
    if found.is_none() {
        let reason = "the tools' schemas come with Python packages: see hack/schemas.sh";
        skip(test, Reason::NoNetwork(reason));
    }
    found
}

/// Reads a task by Tekton's types; returns whether all is right, and what was said of it.
fn read_by_tekton(program: &Path, task: &Value) -> (bool, String) {
    let models = program.parent().unwrap().with_file_name("tekton");
    let mut child = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/examples/tekton.py"))
        .arg(models)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(task.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_task_of_tekton_is_of_tektons_types() {
    let Some(program) = schemas("the_task_of_tekton_is_of_tektons_types") else { return };
    let task = document("tekton/task.yaml");
    // What is of Kubernetes' types is read as these, by the test of what the task declares.
    let elsewhere =
        "task.metadata V1ObjectMeta\ntask.spec.steps[0].securityContext V1SecurityContext\n";
    assert_eq!(read_by_tekton(&program, &task), (true, elsewhere.to_owned()));

    let wrong = [
        ("/spec/step", "task.spec has step, which V1beta1TaskSpec does not know"),
        ("/spec/workspaces/0/mountpath", "which V1beta1WorkspaceDeclaration does not know"),
        (
            "/spec/params/0/value",
            "task.spec.params[0] has value, which V1beta1ParamSpec does not know",
        ),
        ("/spec/params/0/default", "task.spec.params[0].default is neither a text nor a list"),
        ("/spec/steps/0/args", "task.spec.steps[0].args is no list"),
    ];
    for (place, said) in wrong {
        let mut task = task.clone();
        let (parent, key) = place.rsplit_once('/').unwrap();
        task.pointer_mut(parent).unwrap()[key] = Value::from(1);
        let (is_right, text) = read_by_tekton(&program, &task);
        assert!(!is_right && text.contains(said), "{place}: {text}");
    }
    let mut nameless = task;
    nameless["spec"]["results"][0].as_object_mut().unwrap().remove("name");
    let (is_right, text) = read_by_tekton(&program, &nameless);
    assert!(!is_right && text.contains("task.spec.results[0] has no name"), "{text}");
}

#[test]
fn pipelines_follow_their_tools_schemas() {
    let test = "pipelines_follow_their_tools_schemas";
    let Some(program) = schemas(test) else { return };
    let schemas = [
        ("vendor.github-workflows", "github-actions/build.yml"),
        ("vendor.gitlab-ci", "gitlab/gitlab-ci.yml"),
        ("vendor.cloudbuild", "google-cloud-build/cloudbuild.yaml"),
    ];
    for (schema, name) in schemas {
        let output = Command::new(&program)
            .args(["--builtin-schema", schema])
            .arg(path(name))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {said}");
    }
}
