//! How whole builds compress layers: `--compression`, `--compression-level`, `--threads`.

use super::builds::{assert_pushed, build, prepare};
use super::*;
use crate::skip_unless_available;

/// Returns the media types of a pushed image: its manifest's own, and its layers'.
fn types(sim: &RegSim) -> (String, Vec<String>) {
    let manifest: serde_json::Value =
        serde_json::from_slice(&sim.manifest("app", "v1").unwrap()).unwrap();
    let kind = |value: &serde_json::Value| value["mediaType"].as_str().unwrap().to_owned();
    (kind(&manifest), manifest["layers"].as_array().unwrap().iter().map(kind).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn zstd_layers_make_the_image_oci() {
    skip_unless_available!();
    // From scratch, an image has Docker's types, as kaniko's has.
    for (arguments, manifest, layer) in [
        (
            &[] as &[&str],
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ),
        (
            &["--compression=zstd"],
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.oci.image.layer.v1.tar+zstd",
        ),
    ] {
        let (sim, context) = prepare(|_| "FROM scratch\nCOPY big /\n".to_owned()).await;
        let built = build(&sim, context.path(), arguments).await;
        assert_pushed(&sim, "app", &built);
        assert_eq!(types(&sim), (manifest.to_owned(), vec![layer.to_owned()]), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_knows_only_dockers_types_is_told_apart() {
    skip_unless_available!();
    let refused = Fault::error(400, "MANIFEST_INVALID", "manifest invalid");
    for (arguments, hinted) in [(&[] as &[&str], false), (&["--compression=zstd"], true)] {
        let (sim, context) = prepare(|_| "FROM scratch\nCOPY big /\n".to_owned()).await;
        sim.rule(Rule::new("PUT", "/manifests/", refused.clone()));
        let built = build(&sim, context.path(), arguments).await;
        assert!(!built.output.status.success(), "{}", built.text());
        assert_eq!((sim.tag("app", "v1"), sim.open_sessions()), (None, 0));
        let hint = format!(
            "hint: `{}` may not take OCI manifests, or no zstd layers: leave out \
             `--compression=zstd`",
            sim.host()
        );
        assert_eq!(built.text().contains(&hint), hinted, "{}", built.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_does_not_depend_on_the_number_of_threads() {
    skip_unless_available!();
    for compression in ["--compression=gzip", "--compression=zstd", "--compression-level=6"] {
        let (sim, context) = prepare(|_| {
            "FROM base-small\nCOPY big /\nRUN for i in $(seq 300); do echo $i > /$i; done\n"
                .to_owned()
        })
        .await;
        let mut digests = Vec::new();
        for threads in ["--threads=1", "--threads=4"] {
            // Times are part of a layer, and each build makes its own.
            let built =
                build(&sim, context.path(), &[compression, threads, "--reproducible"]).await;
            assert_pushed(&sim, "app", &built);
            digests.push(sim.tag("app", "v1").unwrap());
        }
        assert_eq!(digests[0], digests[1], "{compression}");
    }
}
