//! Objects of S3 and of whatever speaks its protocol.

use object_store::aws::AmazonS3Builder;

use super::error::ObjectError;
use super::{Found, get as get_object, log_identity};
use crate::http::HttpClient;
use crate::identity::aws::{Aws, AwsIdentity, AwsSettings, FIRST_REGION, LOOKED};
use crate::identity::{Bridge, store_retries};

/// An object of S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Object {
    /// The bucket.
    pub bucket: String,
    /// The object's key, without a slash at its start.
    pub key: String,
}

/// How S3 is reached, and as whom. What is `None` was not said.
#[derive(Clone, Debug, PartialEq)]
pub struct S3Settings {
    /// The URL of a store that is not Amazon's (`S3_ENDPOINT`).
    pub endpoint: Option<String>,
    /// Where the bucket's name goes (`S3_FORCE_PATH_STYLE`).
    pub path_style: PathStyle,
    /// As whom.
    pub aws: AwsSettings,
}

/// Where the name of a bucket goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathStyle {
    /// Into the host's name, as Amazon wants it.
    VirtualHost,
    /// Into the path.
    Forced,
}

/// Asks for an object; in the bucket's own region when the first one was another. S3 then says the
/// right one.
pub(super) async fn get(
    object: &S3Object,
    settings: &S3Settings,
    http: &HttpClient,
) -> Result<Found, ObjectError> {
    let aws = Aws::new(&settings.aws);
    let identity = aws.identify(http).await?;
    log_identity("S3", identity.name());
    let first = aws.region()?.unwrap_or_else(|| FIRST_REGION.to_owned());
    let store = Store { object, settings, aws: &aws, identity: &identity };
    let bridge = Bridge::new(http);
    let failed = match store.get(&first, &bridge).await {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    let failed = match bridge.region() {
        Some(region) if region != first => {
            tracing::info!(bucket = object.bucket, region, "the bucket is in another region");
            match store.get(&region, &bridge).await {
                Ok(found) => return Ok(found),
                Err(error) => error,
            }
        }
        _ => failed,
    };
    Err(match identity {
        AwsIdentity::Anonymous => failed.anonymous(LOOKED),
        _ => failed,
    })
}

struct Store<'a> {
    object: &'a S3Object,
    settings: &'a S3Settings,
    aws: &'a Aws,
    identity: &'a AwsIdentity,
}

impl Store<'_> {
    async fn get(&self, region: &str, bridge: &Bridge) -> Result<Found, ObjectError> {
        let bucket = &self.object.bucket;
        let in_host = is_virtual_host(bucket, self.settings);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(region)
            .with_allow_http(true)
            .with_retry(store_retries())
            .with_http_connector(bridge.clone())
            .with_virtual_hosted_style_request(in_host);
        if let Some(endpoint) = &self.settings.endpoint {
            builder = builder.with_endpoint(match in_host {
                true => with_bucket(endpoint, bucket),
                false => endpoint.clone(),
            });
        }
        let store = self.aws.apply(self.identity, builder)?.build();
        let store = store.map_err(|error| bridge.explain(&error))?;
        get_object(&store, bridge.clone(), &self.object.key).await
    }
}

/// Tells whether the bucket's name goes into the host's: not where it is asked otherwise, where the
/// host is an address, or where no certificate could fit.
fn is_virtual_host(bucket: &str, settings: &S3Settings) -> bool {
    let endpoint = settings.endpoint.as_deref().map(url::Url::parse);
    let has_name = match &endpoint {
        None => true,
        Some(Ok(url)) => matches!(url.host(), Some(url::Host::Domain(name)) if name.contains('.')),
        Some(Err(_)) => false,
    };
    settings.path_style == PathStyle::VirtualHost && has_name && !bucket.contains('.')
}

/// Puts a bucket's name before the host of an endpoint.
fn with_bucket(endpoint: &str, bucket: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{bucket}.{}", rest.trim_end_matches('/')),
        None => endpoint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_goes_into_the_host_only_where_that_can_work() {
        let check = |endpoint: Option<&str>, path_style, bucket, expected| {
            let endpoint = endpoint.map(str::to_owned);
            let settings = S3Settings { endpoint, path_style, aws: AwsSettings::default() };
            assert_eq!(is_virtual_host(bucket, &settings), expected, "{settings:?} {bucket}");
        };
        let virtual_host = PathStyle::VirtualHost;
        check(None, virtual_host, "b", true);
        check(None, virtual_host, "b.with.dots", false);
        check(Some("https://s3.example"), virtual_host, "b", true);
        check(Some("https://s3.example"), PathStyle::Forced, "b", false);
        check(Some("http://127.0.0.1:9000"), virtual_host, "b", false);
        check(Some("http://[::1]:9000"), virtual_host, "b", false);
        check(Some("http://minio:9000"), virtual_host, "b", false);
        assert_eq!(with_bucket("http://s3.example:9000/", "b"), "http://b.s3.example:9000");
    }
}
