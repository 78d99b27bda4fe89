//! What of a mount decides whether a layer of the cache is taken.

use super::Project;
use crate::skip_unless_available;

/// What a command is told of that was not run.
const HIT: &str = "Using caching version of cmd: RUN";

/// A project with a cache, and how many commands of a build were taken from it.
struct Cached {
    project: Project,
    flag: String,
}

impl Cached {
    fn new(run: &str) -> Self {
        let project = Project::new(&format!(
            "FROM base AS made\nARG A=1\nRUN echo $A > /made\nFROM base\nRUN {run}\n"
        ));
        let flag = format!("--cache-repo=oci:{}", project.path("layers").display());
        let cached = Self { project, flag };
        assert_eq!(cached.hits(&[]), 0);
        cached
    }

    fn hits(&self, arguments: &[&str]) -> usize {
        let arguments = [&["--cache", self.flag.as_str()], arguments].concat();
        self.project.succeed(&arguments).text().matches(HIT).count()
    }
}

#[test]
fn a_layer_is_cached_by_the_ids_of_secrets_and_caches() {
    skip_unless_available!();
    let run = "--mount=type=secret,id=key --mount=type=cache,target=/c \
               cp /run/secrets/key /c/; touch /done";
    let cached = Cached::new(run);
    assert_eq!(cached.hits(&[]), 1);
    cached.project.write("key", "another one");
    assert_eq!(cached.hits(&[]), 1);
    let text = format!("FROM base\nRUN {}\n", run.replace("target=/c", "target=/c,id=other"));
    cached.project.write("context/Dockerfile", &text);
    assert_eq!(cached.hits(&[]), 0);
}

#[test]
fn a_layer_is_cached_by_whether_there_is_a_secret() {
    skip_unless_available!();
    let cached = Cached::new("--mount=type=secret,id=token ls /run/secrets > /seen 2>&1 || true");
    assert_eq!(cached.hits(&[]), 1);
    let key = format!("--secret=id=token,src={}", cached.project.path("key").display());
    assert_eq!(cached.hits(&[&key]), 0);
    assert_eq!(cached.hits(&[&key]), 1);
}

#[test]
fn a_layer_is_cached_by_what_is_bound() {
    skip_unless_available!();
    let cached = Cached::new("--mount=source=tree,target=/t cat /t/two > /two");
    cached.project.write("context/file", "another one");
    assert_eq!(cached.hits(&[]), 1);
    cached.project.write("context/tree/two", "another one");
    assert_eq!(cached.hits(&[]), 0);

    let cached = Cached::new("--mount=from=made,target=/m cat /m/made > /made");
    // The stage that is bound is not built when nobody looks at it.
    assert_eq!(cached.hits(&[]), 2);
    assert_eq!(cached.hits(&["--build-arg=A=2"]), 0);
    assert!(super::has(&cached.project.bytes(), "made"));
}
