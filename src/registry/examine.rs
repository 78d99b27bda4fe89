//! What a registry says to whoever would pull and push here: as whom it is asked, and its answers.

use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};

use super::Registry;
use super::challenge::Challenge;
use super::credentials::{Freshness, Look};
use super::endpoint::Target;
use super::error::{Cause, RegistryError};
use super::manifest;
use super::scope::Scopes;
use super::transport::{Call, drain};
use crate::image::Reference;

/// What was found out about one reference's registry.
#[derive(Debug)]
pub struct Examined {
    /// The registry's `host[:port]`.
    pub host: String,
    /// Every place where a credential was looked for, in order; the last one gave it, if there is one.
    pub looks: Vec<Look>,
    /// Which credential it is, or that there is none.
    pub credential: Result<Credential, RegistryError>,
    /// What the root of its API answered.
    pub answer: Result<Answer, RegistryError>,
    /// Whether the image may be pulled, and whether it is there.
    pub pull: Result<Pullable, RegistryError>,
    /// Whether layers may be pushed beside it.
    pub push: Result<(), RegistryError>,
}

/// Which credential was chosen; never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// This one.
    Chosen(String),
    /// None, for this reason.
    None(String),
}

/// What the root of a registry's API answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `http` or `https`.
    pub scheme: String,
    /// The status, after what it wanted to be shown was shown.
    pub status: u16,
    /// How it wants requests to be authorised.
    pub wants: Wants,
}

/// How a registry wants requests to be authorised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Not at all.
    Nothing,
    /// With user name and password.
    Password,
    /// With a token of this server.
    Token {
        /// The server's host.
        server: String,
    },
}

/// Whether an image may be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pullable {
    /// It is there.
    Present,
    /// It is not, but would be served: the registry has nothing of this name.
    Absent,
}

impl Registry {
    /// Asks the registry of `reference` what it allows, as whoever is found for it. An upload is
    /// started and cancelled; nothing else is left there.
    pub async fn examine(&self, reference: &Reference) -> Examined {
        let target = self.transport.endpoints.push_target(reference);
        let host = target.endpoint.host.clone();
        let found = self
            .transport
            .authorizer
            .credentials()
            .lookup(&host, &target.repository, Freshness::Remembered)
            .await;
        let (looks, credential) = match found {
            Ok(found) => {
                let text = found.origin.to_string();
                let credential = match found.credential {
                    Some(_) => Credential::Chosen(text),
                    None => Credential::None(text),
                };
                (found.looks, Ok(credential))
            }
            Err(error) => {
                let action = format!("log in to `{host}`");
                (Vec::new(), Err(RegistryError::new(action, Cause::from(error))))
            }
        };
        let answer = self.ping(&target).await;
        let answer = answer.map_err(|cause| RegistryError::new(format!("ask `{host}`"), cause));
        let pull = self.try_pull(&target, reference).await;
        let pull = pull.map_err(|cause| RegistryError::new(format!("pull `{reference}`"), cause));
        Examined {
            host: host.to_string(),
            looks,
            credential,
            answer,
            pull,
            push: self.check_push(reference).await,
        }
    }

    async fn ping(&self, target: &Target) -> Result<Answer, Cause> {
        let base = self.transport.base(&target.endpoint).await?.clone();
        let call = Call {
            target,
            method: Method::GET,
            url: base.clone(),
            headers: HeaderMap::new(),
            body: None,
            scopes: &Scopes::default(),
        };
        let reply = self.transport.exchange(&call, None).await?;
        let status = reply.response.status().as_u16();
        drain(reply.response).await;
        let wants = match target.endpoint.manners.known_challenge() {
            None => Wants::Nothing,
            Some(Challenge::Basic) => Wants::Password,
            Some(Challenge::Bearer { realm, .. }) => {
                let server = base.join(&realm).ok();
                let server = server.as_ref().and_then(url::Url::host_str).unwrap_or_default();
                Wants::Token { server: server.to_owned() }
            }
        };
        Ok(Answer { scheme: base.scheme().to_owned(), status, wants })
    }

    async fn try_pull(&self, target: &Target, reference: &Reference) -> Result<Pullable, Cause> {
        let name = reference.digest().or(reference.tag()).unwrap_or("latest");
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(manifest::ACCEPT));
        let call = Call {
            target,
            method: Method::HEAD,
            url: self.transport.url(target, &format!("manifests/{name}")).await?,
            headers,
            body: None,
            scopes: &Scopes::repository(&target.repository, "pull"),
        };
        let retry = self.options.pull_retry;
        let response = self.transport.call(&call, retry, &[200, 404]).await?;
        Ok(match response.status().as_u16() {
            404 => Pullable::Absent,
            _ => Pullable::Present,
        })
    }
}
