//! Directories that outlive a command, and how commands share them.

use super::Project;
use crate::skip_unless_available;

/// Two commands meet: each goes on when the other has come as far.
const MEET: &str = "touch /meet/$1$ME; while test ! -e /meet/$1$OTHER; do true; done";

/// Runs a command twice at once, as `one` and as `two`, in builds that share their caches.
fn at_once(mounts: &str, script: &str) {
    let store = tempfile::tempdir().unwrap();
    let cache = format!("--cache-dir={}", store.path().display());
    let text = format!(
        "FROM base\nARG ME\nARG OTHER\nCOPY meet.sh /\n\
         RUN --mount=type=cache,target=/meet {mounts} set -e; {script}\n"
    );
    let builds = [("one", "two"), ("two", "one")].map(|(me, other)| {
        let project = Project::new(&text);
        project.write("context/meet.sh", &format!("{MEET}\n"));
        let names = [format!("--build-arg=ME={me}"), format!("--build-arg=OTHER={other}")];
        let started = project.build(&[&names[0], &names[1], &cache]).start();
        (project, started)
    });
    for (_project, started) in builds {
        let built = started.end();
        assert!(built.output.status.success(), "{}", built.text());
    }
}

#[test]
fn builds_at_once_share_a_cache_as_the_dockerfile_says() {
    skip_unless_available!();
    at_once(
        "--mount=type=cache,target=/c",
        "touch /c/$ME; sh /meet.sh 1; test -e /c/$OTHER; sh /meet.sh 2",
    );
    at_once(
        "--mount=type=cache,target=/c,sharing=private",
        "touch /c/$ME; sh /meet.sh 1; test ! -e /c/$OTHER; sh /meet.sh 2",
    );
    // In turns: the second finds what the first has left, and nothing of the middle.
    at_once(
        "--mount=type=cache,target=/c,sharing=locked",
        "test ! -e /c/held; touch /c/held /c/$ME; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; \
         rm /c/held",
    );
}

#[test]
fn a_cache_outlives_the_build_in_a_directory_that_builds_share() {
    skip_unless_available!();
    let store = tempfile::tempdir().unwrap();
    let cache = format!("--cache-dir={}", store.path().display());
    let project = Project::new("FROM base\nRUN --mount=type=cache,target=/c echo 1 >> /c/count\n");
    project.succeed(&[&cache]);
    project.succeed(&[&cache]);
    project.write(
        "context/Dockerfile",
        "FROM base\nRUN --mount=type=cache,id=/c,target=/d test \"$(wc -l < /d/count)\" = 2\n",
    );
    project.succeed(&[&cache]);
    // Another project's, and one without what is shared.
    let text = "FROM base\nRUN --mount=type=cache,target=/c test ! -e /c/count\n";
    project.write("context/Dockerfile", text);
    project.succeed(&[&cache, "--build-arg=BUILDKIT_CACHE_MOUNT_NS=other"]);
    project.succeed(&[]);
    // What a failed command wrote is kept as well.
    let text = "FROM base\nRUN --mount=type=cache,target=/c rm /c/count; exit 3\n";
    project.write("context/Dockerfile", text);
    project.fail(&[&cache]);
    let text = "FROM base\nRUN --mount=type=cache,target=/c test ! -e /c/count\n";
    project.write("context/Dockerfile", text);
    project.succeed(&[&cache]);
}

#[test]
fn a_cache_is_known_by_its_id() {
    skip_unless_available!();
    let project = Project::new(
        "FROM base\n\
         RUN --mount=type=cache,target=/one echo a > /one/a\n\
         RUN --mount=type=cache,id=/one,target=/two cat /two/a | sed 's/^/saw /'; echo b > /two/b\n\
         RUN --mount=type=cache,target=/one,ro test -e /one/b; ! touch /one/c 2>/dev/null || exit 3\n\
         RUN --mount=type=cache,id=other,target=/one test ! -e /one/a\n\
         RUN --mount=type=cache,target=/one,uid=7,gid=8,mode=700 test ! -e /one/a; \
             stat -c 'saw %a %u:%g' /one\n\
         RUN --mount=type=cache,target=/one,source=sub true || true\n"
            .rsplit_once("RUN")
            .unwrap()
            .0,
    );
    let text = project.succeed(&[]).text();
    for line in ["saw a\n", "saw 700 7:8\n"] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_cache_can_be_mounted_twice() {
    skip_unless_available!();
    let project = Project::new(
        "FROM base\n\
         RUN --mount=type=cache,id=x,sharing=locked,target=/one \
             --mount=type=cache,id=x,sharing=locked,target=/two echo a > /one/a; cat /two/a\n",
    );
    project.succeed(&[]);
}

#[test]
fn a_cache_can_begin_with_files_of_a_stage() {
    skip_unless_available!();
    let project = Project::new(
        "FROM base AS seed\nRUN mkdir -m 750 /seed && echo s > /seed/s && chown -R 7:8 /seed\n\
         FROM base\n\
         RUN --mount=type=cache,from=seed,source=/seed,target=/c true\n"
            .replace("source=/seed", "id=x")
            .as_str(),
    );
    project.write(
        "context/Dockerfile",
        "FROM base AS seed\nRUN mkdir -m 750 /seed && echo s > /seed/s && chown -R 7:8 /seed\n\
         FROM base\n\
         RUN --mount=type=cache,id=x,from=seed,target=/c test \"$(cat /c/seed/s)\" = s; \
             stat -c 'saw %a %u:%g' /c/seed; echo t > /c/seed/t\n\
         RUN --mount=type=cache,id=x,from=seed,source=/seed,target=/c cat /c/s /c/t\n\
         RUN --mount=type=cache,id=x,target=/c test ! -e /c/seed\n",
    );
    let text = project.succeed(&[]).text();
    assert!(text.contains("saw 750 7:8\n"), "{text}");
}
