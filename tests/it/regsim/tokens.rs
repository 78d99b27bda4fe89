//! The token server.

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::protocol::{Answer, Request};
use super::state::{Auth, State};

/// Answers `/token`.
pub fn give(state: &State, request: &Request) -> Answer {
    let form = String::from_utf8_lossy(&request.body).into_owned();
    let pairs = if request.method == "POST" { form } else { request.query.clone() };
    let values = |key: &str| -> Vec<String> {
        url::form_urlencoded::parse(pairs.as_bytes())
            .filter(|(name, _)| name == key)
            .map(|(_, value)| value.into_owned())
            .collect()
    };
    let mut inner = state.lock();
    let known = match &inner.policy {
        policy if request.method == "POST" => {
            policy.identity.is_some_and(|token| values("refresh_token") == [token])
        }
        policy => match policy.user {
            None => true,
            Some((user, password)) => {
                let expected = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
                request.header("authorization") == Some(expected.as_str())
            }
        },
    };
    if !known {
        return Answer::json(401, r#"{"details":"incorrect username or password"}"#);
    }
    let scopes: Vec<String> =
        values("scope").iter().flat_map(|text| text.split(' ')).map(str::to_owned).collect();
    if inner.policy.forbidden.is_some_and(|part| scopes.iter().any(|scope| scope.contains(part))) {
        return Answer::json(403, r#"{"details":"scope refused"}"#);
    }
    inner.counter += 1;
    let token = format!("token-{}", inner.counter);
    let uses = inner.policy.uses.unwrap_or(usize::MAX);
    inner.tokens.insert(token.clone(), (scopes, uses));
    let mut answer = serde_json::json!({ "token": token });
    if let Some(seconds) = inner.policy.lifetime_seconds {
        answer["expires_in"] = seconds.into();
    }
    Answer::json(200, &answer.to_string())
}

/// Says what is wrong with a request's authorisation; `None` when nothing is.
pub fn challenge(state: &State, request: &Request) -> Option<Answer> {
    let needed = needed(request);
    let shown = request.header("authorization");
    let wanted = match &state.auth {
        Auth::None => return None,
        Auth::Basic(user, password) => {
            let expected = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            if shown == Some(expected.as_str()) {
                return None;
            }
            r#"Basic realm="sim""#.to_owned()
        }
        Auth::Bearer(realm) => {
            let mut inner = state.lock();
            let token = shown.and_then(|value| value.strip_prefix("Bearer "));
            if let Some((scopes, uses)) = token.and_then(|token| inner.tokens.get_mut(token))
                && needed.iter().all(|(repository, action)| allows(scopes, repository, action))
                && *uses > 0
            {
                *uses -= 1;
                return None;
            }
            let realm = realm.clone().unwrap_or_else(|| format!("{}/token", state.origin));
            let scope: Vec<String> = needed
                .iter()
                .map(|(repository, action)| format!("repository:{repository}:{action}"))
                .collect();
            let scope = match scope.is_empty() {
                true => String::new(),
                false => format!(r#",scope="{}""#, scope.join(" ")),
            };
            format!(r#"Bearer realm="{realm}",service="sim"{scope}"#)
        }
    };
    let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
    let mut answer = Answer::json(StatusCode::UNAUTHORIZED.as_u16(), body);
    answer.set("www-authenticate", wanted);
    Some(answer)
}

fn needed(request: &Request) -> Vec<(String, &'static str)> {
    let Some((repository, _)) = request.repository() else { return Vec::new() };
    let action = if matches!(request.method.as_str(), "GET" | "HEAD") { "pull" } else { "push" };
    let mut needed = vec![(repository.to_owned(), action)];
    if let Some(from) = request.query_value("from") {
        needed.push((from, "pull"));
    }
    needed
}

fn allows(scopes: &[String], repository: &str, action: &str) -> bool {
    scopes.iter().any(|scope| {
        scope
            .strip_prefix(&format!("repository:{repository}:"))
            .is_some_and(|actions| actions.split(',').any(|allowed| allowed == action))
    })
}
