use std::collections::BTreeMap;

use super::machine::Machine;
use super::record::{CommandCost, StepRecord, StepTruth};
use super::report::{Comparison, FORMAT, ModeReport, ScenarioReport};
use super::*;

#[test]
fn modes_are_read_by_name_and_group_once_each() {
    let names = |text: &str| {
        modes(text).map(|modes| modes.iter().map(Mode::to_string).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(names("content, walk,content"), Ok("content walk".to_owned()));
    assert_eq!(
        names("kaniko"),
        Ok("kaniko-full kaniko-redo kaniko-time kaniko-new-run".to_owned())
    );
    assert_eq!(names("walk,trackers"), Ok("walk overlay fanotify inotify content".to_owned()));
    assert_eq!(names("fast"), Err(ModeError::Unknown("fast".to_owned())));
    assert_eq!(names(" ,"), Err(ModeError::Empty));
    for mode in Mode::ALL {
        assert_eq!(mode.to_string().parse(), Ok(mode));
    }
}

#[test]
fn scenarios_are_read_by_name() {
    for scenario in Scenario::ALL {
        assert_eq!(scenario.to_string().parse(), Ok(scenario));
    }
    assert_eq!("x".parse::<Scenario>(), Err(UnknownScenario("x".to_owned())));
}

/// A report with a mode of ours, one that is unsound, and one that cannot work here.
fn comparison() -> Comparison {
    let command =
        Some(CommandCost { operation_count: 1000, wall_s: 0.5, user_s: 0.25, system_s: 0.125 });
    let step = StepRecord {
        text: r#"RUN ["/.compare-modes/zuwai","__step","small:1"]"#.to_owned(),
        wall_s: 0.5,
        looking_cpu_s: 0.125,
        looking_wall_s: 0.25,
        entries_stated: 1000,
        files_opened: 2,
        bytes_hashed: 2048,
        changed: 3,
        layer_bytes: 512,
        command,
        found_by: "walk".to_owned(),
        layer_digest: Some("sha256:00".to_owned()),
        truth: Some(StepTruth { changed: 3, missed: 0, examples: vec![] }),
    };
    let ours = ModeReport {
        mode: "walk".to_owned(),
        explanation: "all metadata is compared, ctime < too".to_owned(),
        wall_s: 2.0,
        wall_s_min: 1.75,
        wall_s_max: 2.5,
        cpu_s: 1.5,
        peak_rss_bytes: Some(33_554_432),
        peak_group_bytes: Some(67_108_864),
        peak_group_without_cache_bytes: Some(16_777_216),
        phases: BTreeMap::from([("run".to_owned(), 0.5), ("unpack".to_owned(), 1.0)]),
        looking_cpu_s: 0.125,
        looking_wall_s: 0.25,
        entries_stated: 1000,
        files_opened: 2,
        bytes_hashed: 2048,
        layer_bytes: Some(512),
        changed: Some(3),
        missed: Some(0),
        ratio_to_content: Some(0.5),
        looking_ratio_to_content: Some(0.25),
        command,
        steps: vec![step],
        ..ModeReport::default()
    };
    let kaniko = ModeReport {
        mode: "kaniko-redo".to_owned(),
        explanation: "EMULATED: mtime, size, mode and owner".to_owned(),
        emulated: true,
        peak_rss_bytes: None,
        peak_group_bytes: None,
        peak_group_without_cache_bytes: None,
        layer_bytes: None,
        command_system_ratio_to_unrecorded: Some(1.5),
        command_added_us_per_operation: Some(62.5),
        missed: Some(2),
        missed_examples: vec!["/srv/a: not reported".into(), "/srv/b: not reported".into()],
        steps: vec![],
        ..ours.clone()
    };
    let absent = ModeReport {
        mode: "fanotify".to_owned(),
        explanation: "one mark".to_owned(),
        error: Some("it needs CAP_SYS_ADMIN".to_owned()),
        ..ModeReport::default()
    };
    Comparison {
        format: FORMAT,
        machine: Machine {
            cpus: 2,
            cpu_model: "Test".to_owned(),
            memory_bytes: 4_294_967_296,
            kernel: "6.18.0".to_owned(),
            file_system: "ext4".to_owned(),
            load_average: 0.5,
            program: "0.1.0".to_owned(),
            build: "release".to_owned(),
            date: "2026-11-20T12:00:00Z".to_owned(),
            memory_source: "control group v2: memory.peak".to_owned(),
        },
        scenario: ScenarioReport {
            name: "small-runs".to_owned(),
            description: "RUNs that write <one> file".to_owned(),
        },
        runs: 3,
        checked: true,
        modes: vec![ours, kaniko, absent],
    }
}

#[test]
fn the_json_report_is_the_documented_one() {
    assert_eq!(comparison().to_json(), include_str!("../../tests/golden/compare/report.json"));
}

#[test]
fn the_table_shows_every_mode_and_what_it_missed() {
    assert_eq!(comparison().table(), include_str!("../../tests/golden/compare/table.txt"));
}

#[test]
fn the_page_needs_nothing_else_and_escapes_what_it_shows() {
    let page = page::render(&comparison()).expect("rendered");
    for loads in ["src=", "href=", "url(", "@import", "<script", "<link", "<iframe"] {
        assert!(!page.contains(loads), "{loads}");
    }
    // The one address in it names the language of the charts and is not loaded.
    assert!(!page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "").contains("://"));
    assert!(page.contains("RUNs that write &lt;one&gt; file") && !page.contains("<one>"));
    for shown in [
        "<td class=\"unsound\">UNSOUND (2)</td>",
        "<td class=\"sound\">sound</td>",
        "not run: it needs CAP_SYS_ADMIN",
        "<td class=\"wide\">RUN small:1</td>",
        "What this does not show",
        "2 processors (Test), 4 GiB of memory, Linux 6.18.0, ext4",
    ] {
        assert!(page.contains(shown), "{shown}\n{page}");
    }
    assert_eq!(page.matches("<svg ").count(), 7);
}

#[test]
fn only_what_our_own_modes_miss_is_an_error() {
    let mut comparison = comparison();
    assert!(comparison.soundness().is_ok());
    let ours = comparison.modes.first_mut().expect("a mode");
    ours.missed = Some(4);
    let error = comparison.soundness().expect_err("a bug");
    assert_eq!(error.to_string(), "changes were missed by `walk`: UNSOUND (4)");
}
