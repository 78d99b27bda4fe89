//! Flags of COPY and ADD whose effect only a whole build shows.

use serde_json::Value;

use crate::mounts::Project;
use crate::skip_unless_available;

/// Returns the DiffIDs of an image's layers, the last one last.
fn diff_ids(project: &Project) -> Vec<Value> {
    let config = project.blob(&project.manifest()["config"]["digest"]);
    let config: Value = serde_json::from_slice(&std::fs::read(config).unwrap()).unwrap();
    config["rootfs"]["diff_ids"].as_array().unwrap().clone()
}

#[test]
fn what_is_linked_covers_what_is_there() {
    skip_unless_available!();
    let before = "RUN mkdir -p -m 700 /real /p/q/full && ln -s /real /link && chown 7 /p && \
                  echo x > /p/q/full/x && ln -s /real/file /dangling\n";
    let copies = "COPY --link file /link/deep/file\nCOPY --link file /p/\nCOPY --link tree /p/q/full/x\n\
                  COPY --link file /dangling\n";
    let after = "RUN set -e; test ! -e /real/deep; test ! -L /link; test -d /link; test ! -L /dangling; \
                 test ! -e /real/file; cat /link/deep/file /p/file /p/q/full/x/deep/one /dangling; \
                 test \"$(stat -c %a:%u /p)\" = 755:0; test \"$(stat -c %a /p/q)\" = 755; \
                 touch /p/q/new\n";
    let project = Project::new(&format!("FROM base\n{before}{copies}{after}"));
    project.succeed(&[]);
    assert_eq!(project.last_layer(), ["./", "p/", "p/q/", "p/q/new"]);
    let with = diff_ids(&project);
    // The same layers, whatever is below them.
    project.write("context/Dockerfile", &format!("FROM base\nWORKDIR /x\n{copies}"));
    project.succeed(&[]);
    assert_eq!(project.last_layer(), ["dangling"]);
    let without = diff_ids(&project);
    assert_eq!(with[with.len() - 5..with.len() - 1], without[without.len() - 4..]);
    // Not of the cache either.
    project.write("context/Dockerfile", &format!("FROM base\n{before}{copies}{after}"));
    let store = tempfile::tempdir().unwrap();
    let cache = format!("--cache-repo=oci:{}", store.path().join("layers").display());
    for _ in 0..2 {
        project.succeed(&["--cache", "--cache-copy-layers", &cache]);
        assert_eq!(diff_ids(&project), with);
    }
    project.succeed(&["--single-snapshot"]);
}

#[test]
fn what_is_excluded_is_not_copied() {
    skip_unless_available!();
    let project = Project::new(
        "FROM base\n\
         ARG KIND=md\n\
         COPY --exclude=**/*.$KIND --exclude=!docs/kept.md --exclude=deep src /all/\n\
         COPY --exclude=b.* src/*.txt src/b.md src/docs /some/\n\
         COPY --link --exclude=docs src /linked/\n\
         RUN find /all /some /linked | sort | sed 's/^/saw /'\n",
    );
    for name in
        ["src/a.txt", "src/b.txt", "src/b.md", "src/docs/kept.md", "src/docs/c.md", "src/deep/d"]
    {
        project.write(&format!("context/{name}"), name);
    }
    let text = project.succeed(&[]).text();
    let saw: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("saw ")).collect();
    let expected = [
        "/all",
        "/all/a.txt",
        "/all/b.txt",
        "/all/docs",
        "/all/docs/kept.md",
        "/linked",
        "/linked/a.txt",
        "/linked/b.md",
        "/linked/b.txt",
        "/linked/deep",
        "/linked/deep/d",
        "/some",
        "/some/a.txt",
        "/some/c.md",
        "/some/kept.md",
    ];
    assert_eq!(saw, expected, "{text}");
}

#[test]
fn parents_are_the_same_on_an_outline_on_files_and_of_the_cache() {
    skip_unless_available!();
    let copies = "COPY --parents --chown=5:6 src/./a/**/*.txt tree/two /dst/\n\
                  COPY --parents etc/app.conf /\n";
    let project = Project::new(&format!("FROM base\n{copies}"));
    for name in ["src/a/b/c.txt", "src/a/b/d.md", "src/a/e.txt", "src/x/f.txt", "etc/app.conf"] {
        project.write(&format!("context/{name}"), name);
    }
    project.write("context/.dockerignore", "**/e.txt\n");
    project.succeed(&[]);
    assert_eq!(project.last_layer(), ["./", "etc/", "etc/app.conf"]);
    let on_outline = diff_ids(&project);
    let store = tempfile::tempdir().unwrap();
    let cache = format!("--cache-repo=oci:{}", store.path().join("layers").display());
    for _ in 0..2 {
        project.succeed(&["--cache", "--cache-copy-layers", &cache]);
        assert_eq!(diff_ids(&project), on_outline);
    }
    let list = "RUN find /dst | sort | sed 's/^/saw /'; stat -c 'saw %n %u' /dst/a /etc\n";
    project.write("context/Dockerfile", &format!("FROM base\n{copies}{list}"));
    let text = project.succeed(&[]).text();
    assert_eq!(diff_ids(&project)[..on_outline.len()], on_outline);
    let saw: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("saw ")).collect();
    let expected = [
        "/dst",
        "/dst/a",
        "/dst/a/b",
        "/dst/a/b/c.txt",
        "/dst/tree",
        "/dst/tree/two",
        "/dst/a 5",
        "/etc 0",
    ];
    assert_eq!(saw, expected, "{text}");
    // What is beside the files that are copied is in no key; where these are, is.
    let keyed = |name: &str, content: &str| {
        project.write("context/Dockerfile", &format!("FROM base\n{copies}"));
        project.write(&format!("context/{name}"), content);
        let text = project.succeed(&["--cache", "--cache-copy-layers", &cache]).text();
        text.matches("Using caching version of cmd: ").count()
    };
    assert_eq!(keyed("src/a/b/d.md", "other"), 2);
    assert_eq!(keyed("src/a/new/g.txt", "new"), 0);
}
