//! Where a redirect may lead; pure. reqwest follows none, because only the caller knows what must
//! not travel along.

use reqwest::StatusCode;
use url::Url;

use super::redact::redact;

/// Redirects followed for one request.
const LIMIT: u32 = 5;

/// Why a redirect is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectError {
    /// There is no usable `Location`.
    #[error("redirect from `{from}` has no valid location")]
    Location {
        /// The redacted URL that was asked.
        from: String,
    },
    /// From https to http.
    #[error("redirect from `{from}` to `{to}` would leave https")]
    Downgrade {
        /// The redacted URL that was asked.
        from: String,
        /// The redacted target.
        to: String,
    },
    /// Neither http nor https.
    #[error("redirect from `{from}` leads to a `{scheme}` URL")]
    Scheme {
        /// The redacted URL that was asked.
        from: String,
        /// The target's scheme.
        scheme: String,
    },
    /// Too many in a row.
    #[error("more than {LIMIT} redirects, the last from `{from}`")]
    TooMany {
        /// The redacted URL that was asked last.
        from: String,
    },
}

/// Returns whether `status` asks to repeat the request elsewhere.
pub fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Resolves a `Location` seen at `from` after `followed` redirects.
///
/// # Errors
/// When it must not be followed; each variant says why.
pub fn redirect_target(
    from: &Url,
    location: Option<&str>,
    followed: u32,
) -> Result<Url, RedirectError> {
    if followed >= LIMIT {
        return Err(RedirectError::TooMany { from: redact(from) });
    }
    let Some(to) = location.and_then(|location| from.join(location).ok()) else {
        return Err(RedirectError::Location { from: redact(from) });
    };
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") if to.host().is_some() => Ok(to),
        ("https", "http") => Err(RedirectError::Downgrade { from: redact(from), to: redact(&to) }),
        _ => Err(RedirectError::Scheme { from: redact(from), scheme: to.scheme().to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(from: &str, location: Option<&str>, followed: u32) -> Result<String, String> {
        redirect_target(&Url::parse(from).unwrap(), location, followed)
            .map(String::from)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn redirects_are_resolved_and_never_leave_https() {
        let from = "https://r.example/v2/a/blobs/x?t=secret";
        assert_eq!(target(from, Some("../y"), 0), Ok("https://r.example/v2/a/y".into()));
        assert_eq!(target(from, Some("//c.example/z"), 4), Ok("https://c.example/z".into()));
        assert_eq!(
            target("http://r.example/", Some("https://r.example/"), 0),
            Ok("https://r.example/".into())
        );
        assert_eq!(
            target("http://r.example/", Some("http://c.example/"), 0),
            Ok("http://c.example/".into())
        );
        assert_eq!(
            target(from, Some("http://r.example/?s=1"), 0),
            Err("redirect from `https://r.example/v2/a/blobs/x?t=***` to \
                 `http://r.example/?s=***` would leave https"
                .into())
        );
        assert_eq!(
            target("http://r.example/", Some("file:///etc/passwd"), 0),
            Err("redirect from `http://r.example/` leads to a `file` URL".into())
        );
        assert_eq!(
            target("http://r.example/", None, 0),
            Err("redirect from `http://r.example/` has no valid location".into())
        );
        assert_eq!(
            target("http://r.example/", Some("https://[bad/"), 0),
            Err("redirect from `http://r.example/` has no valid location".into())
        );
        assert_eq!(
            target("http://r.example/", Some("/"), 5),
            Err("more than 5 redirects, the last from `http://r.example/`".into())
        );
    }
}
