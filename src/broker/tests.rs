//! What may be asked, by table.

use reqwest::Method;
use snapshot::Digest;

use super::allow::Allowed;
use super::ask::Ask;
use crate::image::Reference;

fn allowed() -> Allowed {
    let reference = |text: &str| -> Reference { text.parse().unwrap() };
    Allowed::new(
        &[reference("debian"), reference("r.example:5000/base")],
        &[
            (reference("r.example:5000/team/app"), Some("v1".to_owned())),
            (reference("r.example:5000/any"), None),
        ],
    )
}

/// Returns `host/name` of the repository that is used, or the status of the refusal.
fn judged(host: &str, method: &str, target: &str) -> Result<String, u16> {
    let digest = Digest::of(b"").to_string();
    let target = target.replace("DIGEST", &digest);
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target.as_str(), None),
    };
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    Ask::read(&method, path, query)
        .and_then(|ask| allowed().check(host, &ask))
        .map(|repository| format!("{}/{}", repository.host, repository.name))
        .map_err(|refused| refused.status.as_u16())
}

#[test]
fn what_a_build_asks_of_named_repositories_is_passed_on() {
    let own = "r.example:5000";
    for (host, method, target, expected) in [
        (
            "index.docker.io",
            "GET",
            "/v2/library/debian/manifests/12",
            "index.docker.io/library/debian",
        ),
        (
            "registry-1.docker.io",
            "HEAD",
            "/v2/library/debian/blobs/DIGEST",
            "index.docker.io/library/debian",
        ),
        (own, "GET", "/v2/base/blobs/DIGEST", "r.example:5000/base"),
        (own, "GET", "/v2/team/app/manifests/DIGEST", "r.example:5000/team/app"),
        (own, "PUT", "/v2/team/app/manifests/v1", "r.example:5000/team/app"),
        (own, "PUT", "/v2/team/app/manifests/DIGEST", "r.example:5000/team/app"),
        (own, "PUT", "/v2/any/manifests/x", "r.example:5000/any"),
        (own, "POST", "/v2/any/blobs/uploads/", "r.example:5000/any"),
        (own, "POST", "/v2/any/blobs/uploads/?mount=DIGEST&from=base", "r.example:5000/any"),
        (own, "PATCH", "/v2/any/blobs/uploads/x", "r.example:5000/any"),
        (own, "PUT", "/v2/any/blobs/uploads/x?digest=DIGEST", "r.example:5000/any"),
        (own, "DELETE", "/v2/any/blobs/uploads/x", "r.example:5000/any"),
    ] {
        assert_eq!(judged(host, method, target), Ok(expected.to_owned()), "{method} {target}");
    }
}

#[test]
fn everything_else_is_refused() {
    let own = "r.example:5000";
    for (host, method, target, expected) in [
        // Another repository, registry, tag, or the wrong way.
        (own, "GET", "/v2/other/manifests/1", 403),
        (own, "GET", "/v2/base/more/manifests/1", 403),
        (own, "GET", "/v2/team/manifests/1", 403),
        ("r.example", "GET", "/v2/base/manifests/1", 403),
        ("r.example:5000.evil.example", "GET", "/v2/base/manifests/1", 403),
        ("", "GET", "/v2/base/manifests/1", 403),
        (own, "PUT", "/v2/base/manifests/1", 403),
        (own, "POST", "/v2/base/blobs/uploads/", 403),
        (own, "DELETE", "/v2/base/blobs/uploads/x", 403),
        (own, "PUT", "/v2/team/app/manifests/v2", 403),
        (own, "POST", "/v2/any/blobs/uploads/?mount=DIGEST&from=secret", 403),
        // What no build asks.
        (own, "DELETE", "/v2/any/manifests/x", 405),
        (own, "DELETE", "/v2/any/blobs/DIGEST", 405),
        (own, "GET", "/v2/any/tags/list", 405),
        (own, "GET", "/v2/any/referrers/DIGEST", 405),
        (own, "GET", "/v2/_catalog", 405),
        (own, "GET", "/v1/any", 405),
        (own, "GET", "/token", 405),
        (own, "POST", "/v2/any/manifests/x", 405),
        (own, "PUT", "/v2/any/blobs/uploads/x", 405),
        (own, "PATCH", "/v2/any/blobs/uploads/x?digest=DIGEST", 405),
        (own, "PUT", "/v2/any/blobs/uploads/x?digest=DIGEST&x=y", 405),
        (own, "POST", "/v2/any/blobs/uploads/?digest=DIGEST", 405),
        (own, "POST", "/v2/any/blobs/uploads/?from=base&mount=DIGEST", 405),
        (own, "GET", "/v2/base/manifests/1?x=y", 405),
        // Other ways to write a path.
        (own, "GET", "/v2/base/../secret/manifests/1", 405),
        (own, "GET", "/v2/base/%2e%2e/secret/manifests/1", 405),
        (own, "GET", "/v2//base/manifests/1", 405),
        (own, "GET", "/v2/base/manifests/../../x", 405),
        (own, "GET", "/v2/base/manifests/", 405),
        (own, "GET", "/v2/base/blobs/sha256:x", 405),
        (own, "GET", "/v2/BASE/manifests/1", 405),
    ] {
        assert_eq!(judged(host, method, target), Err(expected), "{method} {target}");
    }
}
