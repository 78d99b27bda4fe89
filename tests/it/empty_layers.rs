//! `--force-build-metadata`: a layer for each instruction.

use serde_json::Value;

use crate::mounts::Project;
use crate::skip_unless_available;

/// The DiffID of a tar without entries: two blocks of zeros.
const EMPTY: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/// Returns an image's config.
fn config(project: &Project) -> Value {
    let config = project.blob(&project.manifest()["config"]["digest"]);
    serde_json::from_slice(&std::fs::read(config).unwrap()).unwrap()
}

/// Tells of each history entry above the base's whether its layer is empty; `None`: it has none.
fn layers_are_empty(project: &Project, base_history: usize) -> Vec<Option<bool>> {
    let config = config(project);
    let mut ids = config["rootfs"]["diff_ids"].as_array().unwrap().iter();
    let history = config["history"].as_array().unwrap().iter();
    let emptiness: Vec<Option<bool>> = history
        .map(|entry| {
            let has_layer = entry["empty_layer"] != true;
            has_layer.then(|| ids.next().expect("a layer for each entry that has one") == EMPTY)
        })
        .collect();
    assert_eq!(ids.next(), None, "no layer without an entry");
    emptiness[base_history..].to_vec()
}

#[test]
fn each_instruction_has_a_layer_where_that_is_asked_for() {
    skip_unless_available!();
    let project = Project::new("FROM base\n");
    project.succeed(&[]);
    let of_base = config(&project)["history"].as_array().unwrap().len();
    let text = "FROM base\nLABEL a=b\nARG c\nRUN echo x > /made\nRUN true\nENV d=e\nCMD [\"f\"]\n";
    project.write("context/Dockerfile", text);
    let seen = |flags: &[&str]| {
        project.succeed(flags);
        layers_are_empty(&project, of_base)
    };
    let (empty, full) = (Some(true), Some(false));
    let usual = seen(&[]);
    assert_eq!(usual.iter().flatten().collect::<Vec<_>>(), [&false]);

    let force = "--force-build-metadata";
    let forced: Vec<_> = usual.iter().map(|layer| Some(layer.unwrap_or(true))).collect();
    assert_eq!(seen(&[force]), forced);

    // Nor does it matter whether the layers are the cache's, of a build with the flag or without.
    let store = tempfile::tempdir().unwrap();
    let cache = format!("--cache-repo=oci:{}", store.path().join("layers").display());
    assert_eq!(seen(&["--cache", &cache]), usual);
    assert_eq!(seen(&["--cache", &cache, force]), forced);
    assert_eq!(seen(&["--cache", &cache]), usual);

    let once = seen(&["--single-snapshot", force]);
    assert_eq!(once.iter().flatten().collect::<Vec<_>>(), [&false]);
    project.write("context/Dockerfile", "FROM base\nLABEL a=b\nCMD [\"f\"]\n");
    assert_eq!(seen(&["--single-snapshot", force]), [None, empty]);
    assert_eq!(seen(&["--single-snapshot"]), [None, None]);
    project.write("context/Dockerfile", "FROM base\nRUN echo x > /made\nCMD [\"f\"]\n");
    assert_eq!(seen(&["--single-snapshot", force]), [full, None]);
}
