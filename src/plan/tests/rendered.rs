use super::*;

/// Compares a rendered plan with `tests/golden/plan/NAME.txt`.
fn check(case: &Case, name: &str) {
    let file = format!("{}/tests/golden/plan/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let rendered = render(&case.plan());
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(rendered, golden, "{file} should be:\n{rendered}");
}

#[test]
fn a_plan_reads_as_the_golden_file_says() {
    let base = r#"{"architecture":"arm64","os":"linux","config":{
        "Env":["PATH=/bin"],"OnBuild":["COPY etc /etc","USER root"]}}"#;
    let service = case(include_str!("../../../tests/golden/plan/service.Dockerfile"))
        .platform("linux/arm64")
        .build_arg("VERSION", "1.2")
        .build_arg("UNUSED", "x")
        .label("built-by", "zuwai")
        .image("docker.io/library/debian:12", r#"{"architecture":"386","os":"linux"}"#)
        .image_for("docker.io/library/trigger:latest", "linux/arm64", base);
    check(&service, "service");
}

#[test]
fn planning_twice_gives_the_same_text() {
    let text = "FROM scratch AS a\nLABEL c=1 b=2 a=3\nFROM a\nEXPOSE 3 2 1\nCOPY --from=a / /";
    assert_eq!(render(&case(text).plan()), render(&case(text).plan()));
}
