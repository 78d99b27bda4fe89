use super::*;

const OCI: &str = types::OCI_IMAGE_MEDIA_TYPE;
const DOCKER: &str = types::IMAGE_MANIFEST_MEDIA_TYPE;
const INDEX: &str = types::OCI_IMAGE_INDEX_MEDIA_TYPE;
const LIST: &str = types::IMAGE_MANIFEST_LIST_MEDIA_TYPE;

fn image(media_type: Option<&str>) -> serde_json::Value {
    let digest = Digest::of(b"x").to_string();
    let mut image = serde_json::json!({
        "schemaVersion": 2,
        "config": {"mediaType": types::IMAGE_CONFIG_MEDIA_TYPE, "digest": digest, "size": 1},
        "layers": [],
    });
    if let Some(media_type) = media_type {
        image["mediaType"] = media_type.into();
    }
    image
}

fn index(media_type: Option<&str>) -> serde_json::Value {
    let mut index = serde_json::json!({"schemaVersion": 2, "manifests": []});
    if let Some(media_type) = media_type {
        index["mediaType"] = media_type.into();
    }
    index
}

fn read(header: Option<&str>, descriptor: Option<&str>, body: &[u8]) -> Result<String, String> {
    match parse("r.example", &Claims { header, descriptor }, body) {
        Ok(Document::Image { media_type, .. }) => Ok(media_type),
        Ok(Document::Index(_)) => Ok("index".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn json(header: Option<&str>, body: &serde_json::Value) -> Result<String, String> {
    read(header, None, body.to_string().as_bytes())
}

fn unusable(reason: &str) -> Result<String, String> {
    Err(format!("`r.example` served a manifest that is not usable: {reason}"))
}

#[test]
fn the_accept_header_names_all_known_types() {
    assert_eq!(ACCEPT, [OCI, DOCKER, INDEX, LIST].join(", "));
}

#[test]
fn header_body_and_descriptor_may_each_be_the_one_that_says_the_type() {
    for kind in [OCI, DOCKER] {
        assert_eq!(json(Some(kind), &image(Some(kind))), Ok(kind.to_owned()));
        assert_eq!(json(Some(kind), &image(None)), Ok(kind.to_owned()));
        assert_eq!(json(None, &image(Some(kind))), Ok(kind.to_owned()));
        assert_eq!(
            json(Some("application/json; charset=utf-8"), &image(Some(kind))),
            Ok(kind.to_owned())
        );
        let with_parameter = format!("{kind}; charset=utf-8");
        assert_eq!(json(Some(&with_parameter), &image(Some(kind))), Ok(kind.to_owned()));
    }
    assert_eq!(json(None, &image(None)), Ok(OCI.to_owned()));
    assert_eq!(json(Some("text/plain"), &image(None)), Ok(OCI.to_owned()));
    for kind in [INDEX, LIST] {
        assert_eq!(json(Some(kind), &index(Some(kind))), Ok("index".to_owned()));
        assert_eq!(json(Some(kind), &index(None)), Ok("index".to_owned()));
    }
    assert_eq!(json(None, &index(None)), Ok("index".to_owned()));
}

#[test]
fn contradictions_are_refused() {
    assert_eq!(
        json(Some(INDEX), &image(Some(OCI))),
        unusable(&format!("it is `{OCI}` but was sent as `{INDEX}`"))
    );
    let mut both = image(None);
    both["manifests"] = serde_json::json!([]);
    assert_eq!(json(None, &both), unusable("it is both an image and an index"));
    assert_eq!(json(Some(OCI), &both), unusable("it is both an image and an index"));
    assert_eq!(
        read(Some(OCI), Some(DOCKER), image(None).to_string().as_bytes()),
        unusable(&format!("it is `{OCI}` but the index calls it `{DOCKER}`"))
    );
    assert_eq!(
        json(Some("text/html"), &image(None)),
        unusable("`text/html` is not a manifest's media type")
    );
    assert!(json(Some(OCI), &index(None)).is_err(), "an index sent as an image");
    assert!(json(Some(INDEX), &image(None)).is_err(), "an image sent as an index");
}

#[test]
fn malformed_documents_are_errors() {
    for body in ["", "{", "[]", "null", "\u{0}", r#"{"schemaVersion":"2"}"#] {
        assert!(read(Some(OCI), None, body.as_bytes()).is_err(), "{body:?}");
    }
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(read(None, None, deep.as_bytes()).is_err());
    assert_eq!(
        json(None, &serde_json::json!({"schemaVersion": 3})),
        unusable("schema version is 3, not 2")
    );
}

#[test]
fn schema_one_is_named() {
    let schema_one = Err(Unsupported::SchemaOne.to_string());
    assert_eq!(json(None, &serde_json::json!({"schemaVersion": 1, "fsLayers": []})), schema_one);
    assert_eq!(
        read(Some("application/vnd.docker.distribution.manifest.v1+json"), None, b"{}"),
        schema_one
    );
}

fn checked(edit: impl FnOnce(&mut serde_json::Value)) -> Result<(), String> {
    let mut image = image(Some(OCI));
    edit(&mut image);
    let manifest: Manifest = serde_json::from_value(image).unwrap();
    check_image("r.example", &manifest).map_err(|error| error.to_string())
}

#[test]
fn an_images_parts_must_be_usable() {
    let layer = |media_type: &str, digest: &str, size: i64| serde_json::json!([{"mediaType": media_type, "digest": digest, "size": size}]);
    let digest = Digest::of(b"x").to_string();
    let gzip = types::IMAGE_LAYER_GZIP_MEDIA_TYPE;
    assert_eq!(checked(|_| {}), Ok(()));
    assert_eq!(checked(|image| image["layers"] = layer(gzip, &digest, 1)), Ok(()));
    assert_eq!(
        checked(|image| image["layers"] = layer(gzip, "sha512:00", 1)),
        Err(Unsupported::DigestAlgorithm("sha512:00".into()).to_string())
    );
    assert!(checked(|image| image["layers"] = layer(gzip, &digest, -1)).is_err());
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    assert_eq!(
        checked(|image| image["layers"] = layer(foreign, &digest, 1)),
        Err(Unsupported::ForeignLayer(digest.clone()).to_string())
    );
    assert_eq!(
        checked(|image| image["config"]["mediaType"] = "application/x".into()),
        Err(Unsupported::Artifact("application/x".into()).to_string())
    );
    let many = vec![layer(gzip, &digest, 1)[0].clone(); LAYER_LIMIT + 1];
    assert_eq!(
        checked(|image| image["layers"] = many.into()),
        Err(Unsupported::TooManyLayers(LAYER_LIMIT + 1).to_string())
    );
}

/// Chooses among `os/architecture[/variant]` entries; returns the chosen one's text.
fn chosen(entries: &[&str], wanted: &str) -> Result<String, String> {
    let manifests: Vec<serde_json::Value> = entries
        .iter()
        .map(|text| {
            let mut parts = text.split('/');
            serde_json::json!({
                "mediaType": OCI, "digest": text, "size": 1,
                "platform": {
                    "os": parts.next(), "architecture": parts.next(), "variant": parts.next(),
                },
            })
        })
        .collect();
    let index: Index = serde_json::from_value(serde_json::json!({"manifests": manifests})).unwrap();
    choose(&index, &wanted.parse().unwrap())
        .map(|entry| entry.digest)
        .map_err(|error| error.to_string())
}

#[test]
fn the_nearest_variant_is_chosen() {
    let check = |entries: &[&str], wanted: &str, expected: &str| {
        assert_eq!(chosen(entries, wanted), Ok(expected.to_owned()), "{entries:?} {wanted}");
    };
    let arm = ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8"];
    check(&arm, "linux/arm/v7", "linux/arm/v7");
    check(&arm, "linux/arm/v6", "linux/arm/v6");
    check(&arm, "linux/arm", "linux/arm/v7");
    check(&arm, "linux/arm64", "linux/arm64/v8");
    check(&["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", "linux/arm/v6");
    check(&["linux/amd64", "linux/amd64/v2", "linux/amd64/v3"], "linux/amd64", "linux/amd64");
    check(&["linux/amd64", "linux/amd64/v2"], "linux/amd64/v3", "linux/amd64/v2");
    check(&["linux/arm64"], "linux/arm64/v8", "linux/arm64");
    check(&["linux/amd64", "linux/amd64"], "linux/amd64", "linux/amd64");
    assert!(chosen(&["linux/amd64/v3"], "linux/amd64").is_err());
    assert!(chosen(&["linux/arm/v7"], "linux/arm/v6").is_err());
    assert!(chosen(&["linux/386"], "linux/amd64").is_err());
}

#[test]
fn what_there_is_instead_is_listed() {
    assert_eq!(
        chosen(&["linux/s390x", "unknown/unknown", "linux/arm64/v8"], "linux/amd64"),
        Err("no image for platform `linux/amd64`, only for `linux/arm64`, `linux/s390x`".into())
    );
    assert_eq!(
        chosen(&["unknown/unknown"], "linux/amd64"),
        Err("no image for platform `linux/amd64`, only for none at all".into())
    );
    assert_eq!(chosen(&["windows/amd64"], "linux/amd64"), Err("the image is for Windows".into()));
}

#[test]
fn an_entry_without_platform_counts_as_linux_amd64() {
    let index: Index = serde_json::from_str(r#"{"manifests":[{"digest":"d"}]}"#).unwrap();
    assert_eq!(choose(&index, &"linux/amd64".parse().unwrap()).unwrap().digest, "d");
    assert!(choose(&index, &"linux/arm64".parse().unwrap()).is_err());
}
