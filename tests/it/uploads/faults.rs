//! What breaks while a layer is sent and written at once.

use super::*;

/// Writes a layer whose second half is made only when the registry has answered `before`, or has
/// bytes of the first; returns what was asked for.
async fn arrives(rules: Vec<Rule>) -> Vec<String> {
    let text = format!("{rules:?}");
    let sim = RegSim::start().await;
    for rule in rules {
        sim.rule(rule);
    }
    let to = reference(&sim, "app:v1");
    let fixture = Fixture::new(&[&to]);
    let bytes = noise(6 << 20);
    let mut sink = fixture.sink();
    sink.write_all(&bytes[..2 << 20]).unwrap();
    let mut received = sim.received();
    loop {
        tokio::select! {
            () = got_bytes(&mut received) => break,
            () = tokio::task::yield_now() => {}
        }
        if sim.requests().iter().any(|request| request.method == "PATCH") {
            break;
        }
    }
    sink.write_all(&bytes[2 << 20..]).unwrap();
    let digest = commit(sink, &bytes);
    let pushed = fixture.arrived(&to, &digest).await;
    assert!(matches!(pushed, Some(PushedBlob::Uploaded(_))), "{text} {pushed:?}");
    assert_eq!(sim.blob("app", &digest).map(|there| there == bytes), Some(true), "{text}");
    fixture.close().await;
    assert_eq!(sim.open_sessions(), 0, "{text} {:#?}", sim.log());
    blob_requests(&sim)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_may_be_refused_for_a_while() {
    for status in [429, 500, 503] {
        for method in ["POST", "PATCH", "PUT"] {
            arrives(vec![Rule::new(method, "/uploads/", Fault::status(status)).times(3)]).await;
        }
        arrives(vec![Rule::new("PATCH", "", Fault::Early(status)).times(3)]).await;
    }
    for fault in [Fault::status(401), Fault::Early(401)] {
        arrives(vec![Rule::new("PATCH", "", fault).times(1)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_may_be_cut() {
    for method in ["POST", "PATCH", "PUT"] {
        arrives(vec![Rule::new(method, "/uploads/", Fault::Cut).times(1)]).await;
    }
    for method in ["PATCH", "PUT"] {
        arrives(vec![Rule::new(method, "/uploads/", Fault::LoseResponse).times(1)]).await;
    }
    for after in [1 << 20, 3 << 20, (6 << 20) - 1, 6 << 20] {
        let cut = Rule::new("PATCH", "", Fault::CutRequestAfter(after)).times(1);
        let log = arrives(vec![cut]).await;
        let sessions = log.iter().filter(|line| line.starts_with("POST")).count();
        assert_eq!(sessions, 1, "the session goes on: {log:?}");
    }
    // `0-0` is how a registry says that it has nothing, too.
    arrives(vec![Rule::new("PATCH", "", Fault::CutRequestAfter(1)).times(1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gauge_shows_what_has_arrived_however_often_it_was_sent() {
    for fault in [
        Fault::Headers(Vec::new()),
        Fault::status(503),
        Fault::status(413),
        Fault::status(411),
        Fault::CutRequestAfter(1 << 20),
    ] {
        let sim = RegSim::start().await;
        let to = reference(&sim, "app:v1");
        sim.rule(Rule::new("PATCH", "", fault.clone()).times(1));
        let fixture = Fixture::new(&[&to]);
        let events = EventLog::default();
        let mut sink = fixture.uploads.sink(&fixture.store, &events).unwrap();
        let bytes = noise(6 << 20);
        sink.write_all(&bytes).unwrap();
        let events = events.take();
        let [Event::WorkStarted(gauge)] = events.as_slice() else { panic!("{events:?}") };
        let digest = commit(sink, &bytes);
        assert!(fixture.arrived(&to, &digest).await.is_some());
        let shown = gauge.view().read().unwrap();
        let expected = Reading {
            work: LongWork::Upload,
            name: format!("{}/app", sim.host()),
            done_bytes: 6 << 20,
            total_bytes: Some(6 << 20),
        };
        assert_eq!(shown, expected, "{fault:?}");
        let view = gauge.view();
        drop(events);
        assert_eq!(view.read(), None, "nobody counts any more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_may_be_answered_with_any_success() {
    for status in [201, 204] {
        let log = arrives(vec![Rule::new("PATCH", "", Fault::Status(status))]).await;
        // Where the rest is there early, it is asked first whether the registry has it all.
        let sent = log.iter().filter(|request| !request.starts_with("HEAD")).count();
        assert_eq!(sent, 3, "{log:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_takes_no_chunked_bodies_gets_one_put() {
    for status in [405, 411, 501] {
        let log = arrives(vec![Rule::new("PATCH", "", Fault::status(status))]).await;
        let last = log.last().unwrap();
        assert!(last.starts_with("PUT session-") && last.ends_with("201"), "{log:?}");
        assert!(!log.iter().any(|line| line.starts_with("PATCH") && line.ends_with("202")));
        // One that hangs up while it answers may not be heard.
        arrives(vec![Rule::new("PATCH", "", Fault::Early(status)).times(3)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_bodies_leads_to_ranges() {
    // How many parts there are depends on how much of the layer was there when it was refused.
    for (times, parts) in [(1, 1..=2), (2, 2..=12)] {
        let fault = Fault::status(413);
        let log = arrives(vec![Rule::new("PATCH", "", fault).times(times)]).await;
        let taken = log.iter().filter(|line| line.starts_with("PATCH") && line.ends_with("202"));
        assert!(parts.contains(&taken.count()), "{times} {log:?}");
    }
    // One that hangs up while it answers may not be heard.
    arrives(vec![Rule::new("PATCH", "", Fault::Early(413)).times(2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_tell_each_other_what_a_registry_limits() {
    let sim = RegSim::start().await;
    let to = reference(&sim, "app:v1");
    sim.rule(Rule::new("PATCH", "", Fault::Limit(1 << 20)));
    let fixture = Fixture::new(&[&to]);
    let layers: Vec<Vec<u8>> = (0..12).map(|index| noise((9 << 20) + index)).collect();
    let digests: Vec<Digest> = layers
        .iter()
        .map(|bytes| {
            let mut sink = fixture.sink();
            sink.write_all(bytes).unwrap();
            commit(sink, bytes)
        })
        .collect();
    for digest in &digests {
        assert!(fixture.arrived(&to, digest).await.is_some(), "{:#?}", sim.log());
    }
    // The four that are sent at once may each be refused: streamed, in parts of 32 MiB where they
    // still grow, and of 4 MiB. The eight that follow are not refused at all.
    let refused = sim.requests().iter().filter(|request| request.status == 413).count();
    assert!((2..=12).contains(&refused), "{:#?}", sim.log());
    let taken = sim.requests().iter().filter(|request| request.status == 202).count();
    assert!(taken >= 12 * 18, "{taken}");
    assert_eq!(sim.open_sessions(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_on_its_way_learns_what_another_was_refused() {
    let sim = RegSim::start().await;
    let to = reference(&sim, "app:v1");
    let fixture = Fixture::new(&[&to]);
    // The first is told to send parts, and waits until one of 32 MiB is there.
    sim.rule(Rule::new("PATCH", "", Fault::Limit(1 << 20)).times(1));
    let slow = noise(40 << 20);
    let mut slow_sink = fixture.sink();
    slow_sink.write_all(&slow[..4 << 20]).unwrap();
    while sim.count("POST", "") < 2 {
        tokio::task::yield_now().await;
    }
    // The second finds that less than its 6 MiB is allowed.
    sim.rule(Rule::new("PATCH", "", Fault::Limit(5 << 20)));
    let quick = noise(6 << 20);
    let mut sink = fixture.sink();
    sink.write_all(&quick).unwrap();
    let quick = commit(sink, &quick);
    assert!(fixture.arrived(&to, &quick).await.is_some());
    let refused = || sim.requests().iter().filter(|request| request.status == 413).count();
    let before = refused();
    slow_sink.write_all(&slow[4 << 20..]).unwrap();
    let digest = commit(slow_sink, &slow);
    assert!(fixture.arrived(&to, &digest).await.is_some());
    assert_eq!(refused(), before, "{:#?}", sim.log());
    assert_eq!(sim.blob("app", &digest), Some(slow));
    assert_eq!(sim.open_sessions(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_lost_is_replaced() {
    let gone = Fault::error(404, "BLOB_UPLOAD_UNKNOWN", "gone");
    for method in ["PATCH", "PUT"] {
        arrives(vec![Rule::new(method, "/uploads/", gone.clone()).times(1)]).await;
    }
    let damage = Fault::error(400, "DIGEST_INVALID", "provided digest did not match");
    arrives(vec![Rule::new("PUT", "/uploads/", damage).times(1)]).await;
    let silent = Rule::new("GET", "/uploads/", gone);
    let cut = Rule::new("PATCH", "", Fault::CutRequestAfter(1 << 20)).times(1);
    arrives(vec![cut, silent]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_pushed_in_the_background_is_left_to_the_end() {
    let sim = RegSim::start().await;
    let to = reference(&sim, "app:v1");
    sim.rule(Rule::new("POST", "/uploads/", Fault::error(403, "DENIED", "no")).times(1));
    let fixture = Fixture::new(&[&to]);
    let bytes = noise(2 << 20);
    let mut sink = fixture.sink();
    sink.write_all(&bytes).unwrap();
    let digest = commit(sink, &bytes);
    assert_eq!(fixture.arrived(&to, &digest).await, None);
    assert!(fixture.store.stored(&digest).is_ok(), "it is pushed from here");
    assert_eq!(sim.open_sessions(), 0);
}
