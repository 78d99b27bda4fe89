//! Scripted faults on the way to Debian's docker-registry: what it makes of how we recover.

use zuwai::image::Reference;
use zuwai::registry::{BlobUpload, PushedBlob};

use super::real::{Growing, Real, real};
use super::*;
use crate::regsim::{Fault, Rule};

/// Bytes of what is sent: several pieces of the network's, and several parts under a limit.
const LENGTH: usize = 3_000_000;

/// A proxy with faults, before the real registry.
struct Behind {
    real: &'static Real,
    proxy: RegSim,
    repository: String,
}

impl Behind {
    async fn start(real: &'static Real, repository: String, rules: &[Rule]) -> Self {
        let proxy = RegSim::start_before(real.host(5000)).await;
        rules.iter().for_each(|rule| proxy.rule(rule.clone()));
        Self { real, proxy, repository }
    }

    fn reference(&self) -> Reference {
        reference(&self.proxy, &format!("{}:v1", self.repository))
    }

    /// Expects a blob's bytes at the registry itself.
    async fn expect(&self, bytes: &[u8]) {
        let from = format!("{}/{}:v1", self.real.host(5000), self.repository).parse().unwrap();
        let mut there = Vec::new();
        let pulled = registry(options()).pull_blob(&from, &layer(bytes), &mut there).await;
        assert!(pulled.is_ok() && there == bytes, "{pulled:?} {:#?}", self.proxy.log());
    }
}

/// Sends a blob that is complete and one that grows under each fault. Both must arrive, and of their
/// sessions no more than `left` may stay open each.
async fn arrive(test: &str, faults: Vec<(&'static str, Fault, usize)>, left: usize) {
    let Some(real) = real(test) else { return };
    for (index, (method, fault, times)) in faults.into_iter().enumerate() {
        let text = format!("{method} {fault:?} {times}");
        let rules = [Rule::new(method, "/uploads/", fault).times(times)];
        let name = test.replace('_', "-");
        let behind = Behind::start(real, format!("{name}/complete{index}"), &rules).await;
        let bytes = noise(LENGTH);
        let pushed = registry(options()).push_blob(&behind.reference(), &blob(bytes.clone())).await;
        assert!(matches!(pushed, Ok(PushedBlob::Uploaded(_))), "{text} {pushed:?}");
        behind.expect(&bytes).await;
        let open = real.sessions(&behind.repository);
        assert!(open.len() <= left, "{text} {open:?} {:#?}", behind.proxy.log());

        let behind = Behind::start(real, format!("{name}/growing{index}"), &rules).await;
        let registry = registry(options());
        let growing = Growing::to(&behind.reference(), &registry);
        growing.arrives(&behind.reference(), &bytes, &registry).await;
        growing.close().await;
        behind.expect(&bytes).await;
        let open = real.sessions(&behind.repository);
        assert!(open.len() <= left, "{text} {open:?} {:#?}", behind.proxy.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_for_a_while_before_the_real_registry() {
    let mut faults = Vec::new();
    for method in ["POST", "PATCH", "PUT"] {
        faults.extend([429, 500, 503].map(|status| (method, Fault::status(status), 2)));
    }
    // A token that ended on the way; before it, a 401 without a challenge is final.
    for fault in [Fault::Early(503), Fault::Early(401), Fault::status(401)] {
        faults.push(("PATCH", fault, 1));
    }
    arrive("refusals_for_a_while", faults, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_ways_of_proxies_before_the_real_registry() {
    let faults = vec![
        ("PATCH", Fault::Status(201), usize::MAX),
        ("PATCH", Fault::Status(204), usize::MAX),
        ("PATCH", Fault::status(405), usize::MAX),
        ("PATCH", Fault::status(411), usize::MAX),
        ("PATCH", Fault::Limit(1 << 20), usize::MAX),
    ];
    arrive("odd_ways_of_proxies", faults, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_before_the_real_registry() {
    let mut faults = Vec::new();
    for method in ["POST", "PATCH", "PUT"] {
        faults.extend([Fault::Cut, Fault::LoseResponse].map(|fault| (method, fault, 1)));
    }
    for after in [1, 1_000_000, LENGTH - 1, LENGTH] {
        faults.push(("PATCH", Fault::CutRequestAfter(after), 1));
    }
    // What this registry lost count of, and what nobody was told the name of, nobody can cancel.
    arrive("connections_that_break", faults, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_mounts_before_the_real_registry() {
    let Some(real) = real("refused_mounts") else { return };
    for (index, status) in [202, 401, 403, 404].into_iter().enumerate() {
        let repository = format!("refused-mounts/app{index}");
        let mut rule = Rule::new("POST", "/uploads/", Fault::status(status)).times(1);
        if status == 202 {
            // It opens a session in place of the mount, as for a repository without the blob.
            rule.times = 0;
        }
        let behind = Behind::start(real, repository, &[rule]).await;
        let bytes = noise(LENGTH);
        let from = reference(&behind.proxy, "refused-mounts/none:v1");
        let wanted = BlobUpload { mount_from: vec![from], ..blob(bytes.clone()) };
        let pushed = registry(options()).push_blob(&behind.reference(), &wanted).await;
        assert!(matches!(pushed, Ok(PushedBlob::Uploaded(_))), "{status} {pushed:?}");
        behind.expect(&bytes).await;
        assert_eq!(real.sessions(&behind.repository), [""; 0], "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_that_break_before_the_real_registry() {
    let Some(real) = real("downloads_that_break") else { return };
    let bytes = noise(LENGTH);
    let cut = Fault::CutResponseAfter(1_000_000);
    for (index, faults) in [
        vec![cut.clone()],
        vec![cut.clone(), Fault::CutResponseAfter(LENGTH / 2)],
        vec![cut.clone(), Fault::IgnoreRange],
        vec![Fault::status(429), cut, Fault::status(503)],
        vec![Fault::Cut],
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("{faults:?}");
        let rules = faults.into_iter().map(|fault| Rule::new("GET", "/blobs/", fault).times(1));
        let rules: Vec<Rule> = rules.collect();
        let repository = format!("downloads-that-break/app{index}");
        let behind = Behind::start(real, repository, &rules).await;
        let registry = registry(options());
        registry.push_blob(&behind.reference(), &blob(bytes.clone())).await.unwrap();
        let mut there = Vec::new();
        let pulled = registry.pull_blob(&behind.reference(), &layer(&bytes), &mut there).await;
        assert!(pulled.is_ok(), "{text} {pulled:?}");
        assert!(there == bytes, "{text}");
    }
    for fault in [Fault::Corrupt(LENGTH / 2), Fault::Shorten(LENGTH - 1)] {
        let rules = [Rule::new("GET", "/blobs/", fault.clone())];
        let repository = "downloads-that-break/wrong".to_owned();
        let behind = Behind::start(real, repository, &rules).await;
        let registry = registry(options());
        registry.push_blob(&behind.reference(), &blob(bytes.clone())).await.unwrap();
        let mut there = Vec::new();
        let pulled = registry.pull_blob(&behind.reference(), &layer(&bytes), &mut there).await;
        let error = pulled.unwrap_err();
        assert!(lines(&error)[1].contains("served wrong content"), "{:?}", lines(&error));
    }
}
