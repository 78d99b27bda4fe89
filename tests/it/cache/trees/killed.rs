//! Builds that are killed while they make trees.

use std::hash::{BuildHasher, Hasher};
use std::time::Instant;

use nix::sys::signal::Signal;

use super::*;

/// Builds that are killed.
const ROUNDS: usize = 10;

impl Trees {
    /// Returns the names in a folder of the shared directory.
    fn entries(&self, folder: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.shared.path().join("zuwai").join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Removes all trees, as if none had been made.
    fn forget(&self) {
        for tree in self.entries("trees") {
            fs::remove_dir_all(tree).unwrap();
        }
    }
}

/// Lets a build run for a random part of what it takes when it is left alone, and kills it.
fn killed(build: Build, whole: Duration) {
    let random = std::hash::RandomState::new().build_hasher().finish() % 1000;
    let moment = whole.mul_f64(random as f64 / 1000.0);
    let running = build.start();
    let start = Instant::now();
    while start.elapsed() < moment {
        std::thread::yield_now();
    }
    running.signal(Signal::SIGKILL);
    running.end_anyhow();
}

/// Whatever has a name is whole: the tree of the base, and the one of the cached layers upon it.
#[test]
fn who_is_killed_while_trees_are_made_leaves_whole_ones() {
    skip_unless_available!();
    let trees = Trees::new();
    let cache = Cache::new();
    let layers = "FROM odd\nRUN head -c 4000000 /dev/zero | tr '\\0' x > /large && rm -r /gone && \
        for n in $(seq 300); do mkdir -p /many/$n && echo $n > /many/$n/file; done\n\
        RUN echo more >> /links/two && rm /links/one\n";
    let context = context(layers);
    let path = context.path();
    let (flag, cache_flag) = (trees.flag(), cache.flag());
    let arguments = ["--cache", &cache_flag, &flag, "--no-push-cache"];
    trees.build(path, &arguments[..3]);
    let more = "RUN all=$(find / -xdev -type f | sort); echo \"$all\" > /all; cat /links/t* > /l\n";
    fs::write(path.join("Dockerfile"), format!("{layers}{more}")).unwrap();
    let (_, expected) = trees.build(path, &[]);
    trees.forget();
    let start = Instant::now();
    trees.build(path, &arguments);
    let whole = start.elapsed();
    let mut counts = [0; 3];
    for _ in 0..ROUNDS {
        trees.forget();
        killed(trees.prepared(path, &arguments), whole);
        let found = trees.entries("trees");
        for tree in &found {
            for name in ["lock", "root", "about", "size"] {
                assert!(tree.join(name).exists(), "{name} of {}", tree.display());
            }
        }
        counts[found.len()] += 1;
        // Who comes next uses what there is, and makes the rest.
        let (text, digest) = trees.build(path, &arguments);
        assert_eq!((digest, warnings(&text)), (expected.clone(), vec![]), "{text}");
        assert_eq!((used(&text), trees.entries("trees").len()), (found.len().min(1), 2), "{text}");
    }
    // What is left of the dead goes with the next who makes room.
    let old = SystemTime::now() - Duration::from_secs(3600);
    for draft in trees.entries("drafts") {
        fs::File::open(draft).unwrap().set_modified(old).unwrap();
    }
    let mut prune = std::process::Command::new(env!("CARGO_BIN_EXE_zuwai"));
    let pruned = prune.args(["cache", "prune", "--keep=1Ti", &flag]).output().unwrap();
    assert!(pruned.status.success(), "{pruned:?}");
    assert_eq!((trees.entries("drafts"), trees.entries("trash")), (vec![], vec![]), "{counts:?}");
    let (text, digest) = trees.build(path, &arguments);
    assert_eq!((used(&text), count(&text, "Unpacking rootfs"), digest), (1, 0, expected), "{text}");
}
