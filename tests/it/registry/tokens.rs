//! Debian's docker-registry with token authentication: it verifies what a token server has signed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;
use zuwai::registry::RegistryOptions;

use super::real::{push_and_pull, real};
use super::{lines, options, with_config};

const SERVICE: &str = "zuwai tests";
const ISSUER: &str = "zuwai test tokens";

/// Port of the registry, beside those of `hack/registry.sh` on the address of this process.
const PORT: u16 = 5003;

/// Signs tokens, as the token specification of the distribution registry says.
struct Signer {
    key: EcdsaKeyPair,
    /// In DER, as base64.
    certificate: String,
    given: AtomicUsize,
    scopes: Mutex<Vec<String>>,
}

impl Signer {
    /// Makes a key, and its certificate in PEM at `path`.
    fn new(path: &Path) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["tokens.example".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(path, certificate.pem()).unwrap();
        let random = SystemRandom::new();
        let (algorithm, document) = (&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialize_der());
        Self {
            key: EcdsaKeyPair::from_pkcs8(algorithm, &document, &random).unwrap(),
            certificate: STANDARD.encode(certificate.der()),
            given: AtomicUsize::new(0),
            scopes: Mutex::default(),
        }
    }

    fn sign(&self, access: &[Value]) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let number = self.given.fetch_add(1, Ordering::SeqCst);
        let header = json!({"alg": "ES256", "typ": "JWT", "x5c": [self.certificate]});
        let claims = json!({
            "iss": ISSUER, "sub": "robot", "aud": SERVICE, "jti": number.to_string(),
            "iat": now, "nbf": now - 10, "exp": now + 300, "access": access,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Returns status and body for a request's head.
    fn answer(&self, head: &str) -> (u16, Value) {
        let login = format!("authorization: basic {}", STANDARD.encode("robot:hunter2"));
        let is_known = head.lines().any(|line| line.eq_ignore_ascii_case(&login));
        let target = head.split(' ').nth(1).unwrap_or_default();
        let url = Url::parse("http://tokens.example").unwrap().join(target).unwrap();
        if !is_known || !url.query_pairs().any(|pair| pair == ("service".into(), SERVICE.into())) {
            return (401, json!({"details": "who is that?"}));
        }
        let mut access = Vec::new();
        for (_, scope) in url.query_pairs().filter(|(name, _)| name == "scope") {
            self.scopes.lock().unwrap().push(scope.to_string());
            let [kind, name, actions] = scope.split(':').collect::<Vec<_>>()[..] else { continue };
            let actions: Vec<&str> = actions.split(',').collect();
            access.push(json!({"type": kind, "name": name, "actions": actions}));
        }
        (200, json!({"token": self.sign(&access), "expires_in": 300}))
    }

    /// Serves tokens for as long as the test runs, and returns where. In clear text that has to be
    /// on the registry's own host.
    async fn serve(self: Arc<Self>, address: &str) -> String {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let realm = format!("http://{}/token", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let signer = Arc::clone(&self);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).await? == 1 {
                        head.push(byte[0]);
                    }
                    let (status, body) = signer.answer(&String::from_utf8_lossy(&head));
                    let body = body.to_string();
                    let answer = format!(
                        "HTTP/1.1 {status} Answer\r\ncontent-type: application/json\r\n\
                         content-length: {}\r\nconnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    client.write_all(answer.as_bytes()).await
                });
            }
        });
        realm
    }
}

/// A docker-registry that takes the tokens of one issuer.
struct Guarded {
    host: String,
    child: Child,
    _directory: TempDir,
}

impl Guarded {
    fn start(address: &str, directory: TempDir, realm: &str) -> Self {
        let host = format!("{address}:{PORT}");
        let config = json!({
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": directory.path().join("data")}},
            "http": {"addr": &host},
            "auth": {"token": {
                "realm": realm, "service": SERVICE, "issuer": ISSUER,
                "rootcertbundle": directory.path().join("token.pem"),
            }},
        });
        // JSON is YAML.
        let file = directory.path().join("config.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let ready = log.find(|line| line.contains("listening on"));
        assert!(ready.is_some(), "the registry did not start");
        std::thread::spawn(move || log.for_each(drop));
        Self { host, child, _directory: directory }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_registry_believes_the_tokens_that_are_asked_for() {
    let Some(real) = real("the_real_registry_believes_the_tokens") else { return };
    let directory = tempfile::tempdir().unwrap();
    let signer = Arc::new(Signer::new(&directory.path().join("token.pem")));
    let realm = Arc::clone(&signer).serve(real.address()).await;
    let guarded = Guarded::start(real.address(), directory, &realm);
    let to = format!("{}/tokens/app:v1", guarded.host).parse().unwrap();
    let login = |password: &str| json!({"auths": {&guarded.host: {"username": "robot", "password": password}}});

    // As --insecure-registry does: a token server on this very machine has to be named.
    let tokens = Url::parse(&realm).unwrap();
    let named = format!("{}:{}", tokens.host_str().unwrap(), tokens.port().unwrap());
    let options = || RegistryOptions { plain_http_hosts: vec![named.clone()], ..options() };
    let (_directory, good) = with_config(&login("hunter2"), options());
    push_and_pull(&good, &to).await.unwrap();
    let scopes = signer.scopes.lock().unwrap().clone();
    // Pushing, taking back the session that was opened to try it, and pulling: one token each,
    // whatever the number of requests.
    let scope = |actions: &str| format!("repository:tokens/app:{actions}");
    assert_eq!(scopes, ["pull,push", "delete,pull,push", "pull"].map(scope));
    let given = signer.given.load(Ordering::SeqCst);
    assert_eq!(given, scopes.len());

    let (_directory, bad) = with_config(&login("wrong"), options());
    let error = push_and_pull(&bad, &to).await.map(|_| ()).unwrap_err();
    assert_eq!(error.status(), Some(401), "{:?}", lines(&error));
    assert_eq!(signer.given.load(Ordering::SeqCst), given);
}
