//! Bases that a build chooses, cannot use, or is lied to about.

use serde_json::{Value, json};
use snapshot::Digest;

use super::build::{Build, Ended, base, base_of};
use super::{OCI_INDEX, OCI_MANIFEST, SmallImage, small_image};
use crate::regsim::{Fault, RegSim, Rule};
use crate::skip::is_root;

/// Builds one file upon `base:v1` of a registry, and returns what was said without what changes.
/// The tag that it would have moved must have stayed.
async fn refused(sim: &RegSim, arguments: &[&str]) -> String {
    let to = RegSim::start().await;
    let before = small_image("linux", "amd64").put(&to, "app", "v1");
    let build = Build::from("scratch")
        .dockerfile(&format!("FROM {}/base:v1\nCOPY Dockerfile /\n", sim.host()))
        .arg("--image-download-retry=0")
        .to(format!("{}/app:v1", to.host()));
    let build = arguments.iter().fold(build, |build, argument| build.arg(*argument));
    let Ended { success, text } = build.run().await;
    assert!(!success, "{text}");
    assert_eq!(to.tag("app", "v1"), Some(before), "{text}");
    assert_eq!(to.open_sessions(), 0, "{text}");
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    let said = text.split_once("error: ").unwrap().1;
    said.replace(&sim.host(), "HOST").trim_end().to_owned()
}

fn index(entries: &[(&SmallImage, Value)]) -> Vec<u8> {
    let manifests: Vec<Value> = entries
        .iter()
        .map(|(image, platform)| {
            json!({
                "mediaType": OCI_MANIFEST,
                "digest": Digest::of(&image.manifest).to_string(),
                "size": image.manifest.len(),
                "platform": platform,
            })
        })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    serde_json::to_vec(&index).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_entry_of_an_index_can_be_built_upon() {
    if !is_root("another_entry_of_an_index_can_be_built_upon") {
        return;
    }
    let sim = RegSim::start().await;
    let of = |architecture: &str, variant: Option<&str>| {
        base_of(
            |config| {
                config["architecture"] = architecture.into();
                config["config"]["Labels"] = json!({"base": architecture});
                if let Some(variant) = variant {
                    config["variant"] = variant.into();
                }
            },
            |_| (),
        )
    };
    let (amd, arm, arm64) = (of("amd64", None), of("arm", Some("v6")), of("arm64", Some("v8")));
    for image in [&amd, &arm, &arm64] {
        image.put(&sim, "base", &Digest::of(&image.manifest).to_string());
    }
    let index = index(&[
        (&amd, json!({"os": "linux", "architecture": "amd64"})),
        (&arm, json!({"os": "linux", "architecture": "arm", "variant": "v6"})),
        (&arm64, json!({"os": "linux", "architecture": "arm64", "variant": "v8"})),
    ]);
    sim.put_manifest("base", "v1", OCI_INDEX, &index);
    let dockerfile = format!(
        "FROM {}/base:v1\nARG TARGETPLATFORM\nARG TARGETVARIANT\n\
         LABEL target=$TARGETPLATFORM variant=[$TARGETVARIANT]\nCOPY Dockerfile /\n",
        sim.host()
    );
    for (asked, labels, platform) in [
        ("linux/amd64", ["amd64", "linux/amd64", "[]"], ["amd64", ""]),
        ("linux/arm/v6", ["arm", "linux/arm/v6", "[v6]"], ["arm", "v6"]),
        // v7 runs what was made for v6.
        ("linux/arm", ["arm", "linux/arm", "[]"], ["arm", "v7"]),
        ("linux/arm64", ["arm64", "linux/arm64", "[]"], ["arm64", ""]),
        ("linux/arm64/v8", ["arm64", "linux/arm64/v8", "[v8]"], ["arm64", ""]),
    ] {
        let build = Build::from("scratch").dockerfile(&dockerfile);
        build
            .arg(format!("--custom-platform={asked}"))
            .to(format!("{}/app:v1", sim.host()))
            .run()
            .await
            .works();
        let manifest = sim.manifest("app", "v1").unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let config = manifest["config"]["digest"].as_str().unwrap().parse().unwrap();
        let config: Value = serde_json::from_slice(&sim.blob("app", &config).unwrap()).unwrap();
        let of_base = &config["config"]["Labels"];
        let got = ["base", "target", "variant"].map(|label| of_base[label].as_str().unwrap());
        assert_eq!(got, labels, "{asked}");
        let got = ["architecture", "variant"].map(|name| config[name].as_str().unwrap_or(""));
        assert_eq!(got, platform, "{asked}");
    }
    assert_eq!(
        refused(&sim, &["--custom-platform=linux/s390x"]).await,
        "cannot fetch the manifest of `HOST/base:v1`\n\
         cause: no image for platform `linux/s390x`, only for `linux/amd64`, `linux/arm/v6`, \
         `linux/arm64`\n\
         hint: choose another platform with `--custom-platform`"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bases_that_nobody_can_build_upon_are_refused_by_name() {
    if !is_root("bases_that_nobody_can_build_upon_are_refused_by_name") {
        return;
    }
    let mut said = Vec::new();
    let windows = base_of(|config| config["os"] = "windows".into(), |_| ());
    let sim = RegSim::start().await;
    windows.put(&sim, "base", "v1");
    said.push(refused(&sim, &[]).await);

    let sim = RegSim::start().await;
    windows.put(&sim, "base", "windows");
    let only = index(&[(&windows, json!({"os": "windows", "architecture": "amd64"}))]);
    sim.put_manifest("base", "v1", OCI_INDEX, &only);
    said.push(refused(&sim, &[]).await);

    let sim = RegSim::start().await;
    sim.rule(Rule::new("GET", "/v2/", Fault::status(404)));
    said.push(refused(&sim, &[]).await);

    let sim = RegSim::start().await;
    let schema_1 = json!({"schemaVersion": 1, "name": "base", "tag": "v1", "fsLayers": []});
    let kind = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    sim.put_manifest("base", "v1", kind, schema_1.to_string().as_bytes());
    said.push(refused(&sim, &[]).await);

    let sim = RegSim::start().await;
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let vendors = base_of(|_| (), |manifest| manifest["layers"][0]["mediaType"] = foreign.into());
    vendors.put(&sim, "base", "v1");
    said.push(refused(&sim, &[]).await);

    let sim = RegSim::start().await;
    base().put(&sim, "base", "v1");
    said.push(refused(&sim, &["--custom-platform=windows/amd64"]).await);
    let manifest = "cannot fetch the manifest of `HOST/base:v1`\ncause: ";
    let windows = format!(
        "{manifest}the image is for Windows\n\
         hint: choose a Linux image, perhaps with `--custom-platform=linux/amd64`"
    );
    assert_eq!(
        said,
        [
            windows.clone(),
            windows,
            format!("{manifest}`HOST` does not speak version 2 of the registry protocol"),
            format!(
                "{manifest}the image has a schema 1 manifest, a form that Docker gave up in 2017\n\
                 hint: pull and push the image with a current Docker, then use that"
            ),
            format!(
                "{manifest}layer `{}` is a foreign layer, which registries do not hold",
                Digest::of(&vendors.layer)
            ),
            "cannot build for `windows/amd64`: only Linux images are supported".to_owned(),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_of_a_registry_ends_in_one_error_and_moves_no_tag() {
    if !is_root("a_lie_of_a_registry_ends_in_one_error_and_moves_no_tag") {
        return;
    }
    let image = base();
    let (layer, config) = (Digest::of(&image.layer), Digest::of(&image.config));
    let (at_layer, at_config) = (format!("/blobs/{layer}"), format!("/blobs/{config}"));
    let manifest = "cannot fetch the manifest of `HOST/base:v1`\ncause: ";
    let wrong = "`HOST` served wrong content for";
    let blob = format!("cannot fetch blob `{layer}` of `HOST/base:v1`\ncause: {wrong}");
    let (size, other) = (image.layer.len(), Digest::of(b"other"));
    let headers = |name, value: &str| Fault::Headers(vec![(name, value.to_owned())]);
    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[10] ^= 1;
        Digest::of(&bytes)
    };
    for (path, fault, expected) in [
        (
            &*at_layer,
            Fault::Corrupt(10),
            format!("{blob} a blob: digest is `{}`, not `{layer}`", flipped(&image.layer)),
        ),
        (
            &at_layer,
            Fault::Shorten(10),
            format!("{blob} blob `{layer}`: size is 10 bytes, not {size}"),
        ),
        (
            &at_layer,
            Fault::Append(vec![0; 10]),
            format!("{blob} blob `{layer}`: size is {} bytes, not {size}", size + 10),
        ),
        (
            &at_config,
            Fault::Corrupt(10),
            format!(
                "{manifest}{wrong} a blob: digest is `{}`, not `{config}`",
                flipped(&image.config)
            ),
        ),
        (
            "/manifests/",
            headers("docker-content-digest", &other.to_string()),
            format!(
                "{manifest}{wrong} manifest `v1`: digest is `{}`, not `{other}`",
                Digest::of(&image.manifest)
            ),
        ),
        (
            "/manifests/",
            headers("content-type", super::DOCKER_MANIFEST),
            format!(
                "{manifest}`HOST` served a manifest that is not usable: it is `{OCI_MANIFEST}` but \
                 was sent as `{}`",
                super::DOCKER_MANIFEST
            ),
        ),
        (
            "/manifests/",
            Fault::Endless,
            format!("{manifest}response from `HOST` is larger than 4194304 bytes"),
        ),
    ] {
        let sim = RegSim::start().await;
        image.put(&sim, "base", "v1");
        sim.rule(Rule::new("GET", path, fault));
        assert_eq!(refused(&sim, &[]).await, expected);
    }
    // How far a body without end is read is not said.
    for (path, expected) in
        [(&at_layer, format!("{blob} blob")), (&at_config, format!("{manifest}{wrong} blob"))]
    {
        let sim = RegSim::start().await;
        image.put(&sim, "base", "v1");
        sim.rule(Rule::new("GET", path, Fault::Endless));
        let said = refused(&sim, &[]).await;
        assert!(said.starts_with(&expected), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_contradicts_itself_ends_in_one_error_and_moves_no_tag() {
    if !is_root("an_image_that_contradicts_itself_ends_in_one_error_and_moves_no_tag") {
        return;
    }
    let (layer, other) = (Digest::of(&base().layer), Digest::of(b"other"));
    let diff_ids = |ids: Value| base_of(|config| config["rootfs"]["diff_ids"] = ids, |_| ());
    let of_manifest = |change: &dyn Fn(&mut Value)| base_of(|_| (), change);
    for (image, expected) in [
        (
            diff_ids(json!([other.to_string()])),
            format!(
                "cannot unpack layer `{layer}`\n\
                 cause: its content has the digest `{}`, the image's config says `{other}`",
                Digest::of(&[0; 1024])
            ),
        ),
        (
            diff_ids(json!([])),
            "cannot build on `HOST/base:v1`\n\
             cause: the manifest has 1 layers and the config has 0 DiffIDs"
                .to_owned(),
        ),
        (
            of_manifest(&|manifest| manifest["layers"][0]["size"] = 7.into()),
            format!(
                "cannot fetch blob `{layer}` of `HOST/base:v1`\n\
                 cause: `HOST` served wrong content for blob `{layer}`: size is {} bytes, not 7",
                base().layer.len()
            ),
        ),
        (
            of_manifest(&|manifest| manifest["layers"][0]["mediaType"] = "application/odd".into()),
            "cannot build on `HOST/base:v1`\n\
             cause: a layer of the manifest cannot be used\n\
             cause: `application/odd` is not a layer media type that this program can read"
                .to_owned(),
        ),
        (
            of_manifest(&|manifest| manifest["padding"] = "x".repeat(5 << 20).into()),
            "cannot fetch the manifest of `HOST/base:v1`\n\
             cause: response from `HOST` is larger than 4194304 bytes"
                .to_owned(),
        ),
    ] {
        let sim = RegSim::start().await;
        image.put(&sim, "base", "v1");
        assert_eq!(refused(&sim, &[]).await, expected);
    }
}
