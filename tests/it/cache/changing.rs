//! A context that changes while the build goes on: what was copied is in the image, and never in the
//! cache under the key of what was there before.

use tokio::sync::watch;

use super::registries::{push, pushed};
use super::*;
use crate::regsim::{Fault, RegSim, Rule};
use crate::skip::{Reason, skip};
use crate::skip_unless_available;

/// The steps that read `tree`: on disk, on an outline, mounted, and both below a command that reads
/// what was copied.
const DOCKERFILES: &[&str] = &[
    "FROM base\nCOPY tree /t\nRUN cat /t/a > /a\n",
    "FROM base\nCOPY tree /t\nCOPY one /one\n",
    "FROM scratch\nCOPY tree /t\n",
    "FROM base\nRUN --mount=source=tree,target=/m cat /m/a > /a\n",
    "FROM base\nRUN --mount=source=tree,target=/m,rw cat /m/a > /a && echo > /m/a\n",
    "FROM base AS one\nCOPY tree /t\nFROM base\nCOPY --from=one /t /u\nRUN cat /u/a > /a\n",
];

/// Starts a build, changes the context when all keys are known, and returns what it said.
async fn build_over(sim: &RegSim, context: &Path, flags: &[&str], change: impl Fn()) -> String {
    over(sim, pushed(sim, context, flags), change).await
}

/// The same of any build that has its cache in `app/cache`.
pub(super) async fn over(sim: &RegSim, build: Build, change: impl Fn()) -> String {
    let (gate, closed) = watch::channel(false);
    // What the last build had may be asked for while keys are made; their own entries, after that.
    sim.rule(Rule::new("GET", "/app/cache/manifests/", Fault::Nothing).times(1));
    sim.rule(Rule::new("GET", "/app/cache/manifests/", Fault::Hold(closed)));
    let mut held = sim.held();
    let before = *held.borrow();
    let running = build.start();
    held.wait_for(|count| *count > before).await.unwrap();
    change();
    gate.send_replace(true);
    let built = tokio::task::spawn_blocking(|| running.end()).await.unwrap();
    assert_succeeded(&built);
    built.text()
}

fn cached_count(sim: &RegSim) -> usize {
    sim.count("PUT", "/app/cache/manifests/")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_after_its_key_is_not_stored_under_it() {
    skip_unless_available!();
    for dockerfile in DOCKERFILES {
        let context = context(dockerfile);
        let path = context.path();
        let (_, before) = built(path, &[]);
        let flags = [&["--cache", "--cache-copy-layers"][..], &["--cache"]];
        // Without the second flag nobody asks for what copies alone make.
        let is_asked = |flags: &&[&str]| flags.len() == 2 || dockerfile.contains("RUN");
        for flags in flags.into_iter().filter(is_asked) {
            let sim = RegSim::start().await;
            let change = || fs::write(path.join("tree/a"), "changed").unwrap();
            let text = build_over(&sim, path, flags, change).await;
            let digest = fs::read_to_string(digest_file(path)).unwrap();
            assert_eq!(digest, built(path, &[]).1, "{dockerfile}\n{text}");
            assert_ne!(digest, before, "{dockerfile}\n{text}");
            assert_eq!(cached_count(&sim), 0, "{dockerfile}\n{text}");
            assert_eq!(warnings(&text).len(), 1, "{dockerfile}\n{text}");
            assert!(text.contains("`tree/a` changed after it was read"), "{text}");
            fs::write(path.join("tree/a"), "a").unwrap();
            let text = push(&sim, path, flags).await;
            assert_eq!(fs::read_to_string(digest_file(path)).unwrap(), before, "{dockerfile}");
            assert_eq!((hits(&text), warnings(&text).len()), (0, 0), "{dockerfile}\n{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_change_counts() {
    skip_unless_available!();
    let context = context("FROM base\nCOPY tree /t\nRUN find /t | sort > /list\n");
    let path = context.path();
    let tree = path.join("tree");
    let mode =
        |mode| fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(mode)).unwrap();
    let put_back = || {
        let file = fs::File::options().write(true).open(tree.join("a")).unwrap();
        let before = file.metadata().unwrap().modified().unwrap();
        fs::write(tree.join("a"), "z").unwrap();
        file.set_modified(before).unwrap();
    };
    let changes: &[(&str, &dyn Fn())] = &[
        ("same size and time", &put_back),
        ("mode", &|| mode(0o600)),
        ("new", &|| fs::write(tree.join("new"), "").unwrap()),
        ("gone", &|| fs::remove_file(tree.join("new")).unwrap()),
        ("directory", &|| fs::create_dir(tree.join("more")).unwrap()),
        ("renamed", &|| fs::rename(tree.join("more"), tree.join("less")).unwrap()),
        ("link", &|| {
            fs::remove_file(tree.join("link")).unwrap();
            symlink("deep", tree.join("link")).unwrap();
        }),
    ];
    for (name, change) in changes {
        let sim = RegSim::start().await;
        let text = build_over(&sim, path, &["--cache", "--cache-copy-layers"], change).await;
        assert_eq!((cached_count(&sim), warnings(&text).len()), (0, 1), "{name}\n{text}");
        let digest = fs::read_to_string(digest_file(path)).unwrap();
        assert_eq!(digest, built(path, &[]).1, "{name}\n{text}");
    }
    // What is not copied does not count, nor does a file that is only read.
    let sim = RegSim::start().await;
    let change = || {
        fs::write(path.join("two"), "changed").unwrap();
        fs::read(tree.join("a")).unwrap();
    };
    let text = build_over(&sim, path, &["--cache", "--cache-copy-layers"], change).await;
    assert_eq!(warnings(&text).len(), 0, "{text}");
    assert!(cached_count(&sim) > 0, "{text}");
}

/// As [`pushed`], of a build that keeps nothing for later ones: what follows a command that has to run
/// is read when it is copied, and not before.
fn forgetful(sim: &RegSim, context: &Path) -> Build {
    let digest = format!("--digest-file={}", digest_file(context).display());
    let to = format!("--destination={}/app:v1", sim.host());
    Build::of(context)
        .base("base", "busybox")
        .args(["--reproducible", "--insecure", "--skip-push-permission-check", "--cache"])
        .args(["--cache-copy-layers", &digest, &to])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_copied_upon_a_command_that_ran_is_keyed_as_it_was_copied() {
    skip_unless_available!();
    for dockerfile in [
        "FROM base\nRUN echo > /first\nCOPY tree /t\nRUN cat /t/a > /a\n",
        "FROM base\nRUN echo > /first\nCOPY --link tree /t\nRUN cat /t/a > /a\n",
        "FROM base\nRUN echo > /first\nCOPY tree tree/a /t/\nRUN cat /t/a > /a\n",
        "FROM base AS one\nRUN echo > /first\nCOPY tree /t\nFROM base\nWORKDIR /w\n\
         COPY --from=one /t /u\nRUN cat /u/a > /a\n",
        "FROM base\nRUN echo > /first\nCOPY one /one\n\
         RUN --mount=source=tree,target=/m cat /m/a > /a\n",
    ] {
        let context = context(dockerfile);
        let path = context.path();
        let (_, before) = built(path, &[]);
        let sim = RegSim::start().await;
        let change = || fs::write(path.join("tree/a"), "changed").unwrap();
        // Only the first command is asked for, and then nothing is read yet.
        let text = over(&sim, forgetful(&sim, path), change).await;
        let digest = || fs::read_to_string(digest_file(path)).unwrap();
        let changed = digest();
        assert_eq!(changed, built(path, &[]).1, "{dockerfile}\n{text}");
        assert_ne!(changed, before, "{dockerfile}\n{text}");
        assert_eq!(warnings(&text).len(), 0, "{dockerfile}\n{text}");

        // Whoever reads everything before the first step has the same keys.
        let text = push(&sim, path, &["--cache", "--cache-copy-layers"]).await;
        assert_eq!((digest(), misses(&text)), (changed, 0), "{dockerfile}\n{text}");
        fs::write(path.join("tree/a"), "a").unwrap();
        let build = forgetful(&sim, path);
        let ended = tokio::task::spawn_blocking(move || build.run()).await.unwrap();
        assert_succeeded(&ended);
        let text = ended.text();
        assert_eq!((digest(), warnings(&text).len()), (before, 0), "{dockerfile}\n{text}");
        assert!(hits(&text) > 0 && misses(&text) > 0, "{dockerfile}\n{text}");
    }
}

/// Returns all files below a directory.
fn files_below(path: &Path) -> Vec<PathBuf> {
    let (mut pending, mut files) = (vec![path.to_owned()], Vec::new());
    while let Some(path) = pending.pop() {
        match path.is_dir() {
            true => pending.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path())),
            false => files.push(path),
        }
    }
    files
}

/// Returns how many files of contexts are known in a shared directory.
fn known_count(shared: &Path) -> usize {
    let (magic, digest_and_identity, row) = (b"zuwai known files 2\n", 32 + 16, 73);
    let rows = |path: PathBuf| {
        let stored = fs::read(path).unwrap();
        let rest = stored.strip_prefix(magic)?;
        assert_eq!((rest.len() - digest_and_identity) % row, 0);
        Some((rest.len() - digest_and_identity) / row)
    };
    files_below(shared).into_iter().filter_map(rows).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_learnt_from_their_copies() {
    skip_unless_available!();
    // It was there before: what has only just changed is not learnt.
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let kind = rustix::fs::statfs(&old).unwrap().f_type;
    if ![0xef53, 0x5846_5342, 0x9123_683e].contains(&kind) {
        let reason = Reason::OtherKind("the checkout is on neither ext4, XFS nor btrfs");
        skip("learning from copies", reason);
        return;
    }
    let context =
        context("FROM base\nRUN echo > /first\nCOPY --from=old . /old\nRUN ls /old > /list\n");
    let path = context.path();
    let sim = RegSim::start().await;
    let named = format!("--build-context=old={}", old.display());
    let flags = ["--cache", "--cache-copy-layers", &named];
    let text = push(&sim, path, &flags).await;
    assert_eq!((hits(&text), misses(&text)), (0, 1), "{text}");
    // The list of the last build, and the first command.
    assert_eq!(sim.count("GET", "/app/cache/manifests/"), 2, "{text}");
    let shared = path.with_extension("shared");
    let count = files_below(&old).len();
    assert_eq!(known_count(&shared), count, "{text}");

    let text = push(&sim, path, &flags).await;
    assert_eq!((hits(&text), misses(&text)), (3, 0), "{text}");
    assert_eq!(known_count(&shared), count, "{text}");
}
