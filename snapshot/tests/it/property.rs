//! Random steps on a small tree: every mode, and a scope that names the changes only, agree with
//! the oracle after each.

use proptest::prelude::*;

use crate::fixture::Fixture;

#[derive(Debug, Clone)]
enum Operation {
    Write(String, u8),
    WriteKeepingTime(String, u8),
    Rewrite(String),
    MakeDirectory(String),
    Remove(String),
    Rename(String, String),
    Exchange(String, String),
    Link(String, String),
    Symlink(String, String),
    SetMode(String, u32),
    SetOwner(String, u32),
    Touch(String, i64),
    SetXattr(String, u8),
    RemoveXattr(String),
    Fifo(String),
    ReplaceByCopy(String),
}

fn any_name() -> impl Strategy<Value = String> {
    proptest::collection::vec("[abc]", 1..4).prop_map(|parts| parts.join("/"))
}

fn any_operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let name = any_name;
    prop_oneof![
        3 => (name(), 0_u8..4).prop_map(|(name, byte)| Write(name, byte)),
        2 => (name(), 0_u8..4).prop_map(|(name, byte)| WriteKeepingTime(name, byte)),
        1 => name().prop_map(Rewrite),
        4 => name().prop_map(MakeDirectory),
        2 => name().prop_map(Remove),
        3 => (name(), name()).prop_map(|(from, to)| Rename(from, to)),
        1 => (name(), name()).prop_map(|(from, to)| Exchange(from, to)),
        3 => (name(), name()).prop_map(|(from, to)| Link(from, to)),
        1 => (name(), name()).prop_map(|(target, name)| Symlink(target, name)),
        1 => (name(), 0_u32..0o10000).prop_map(|(name, mode)| SetMode(name, mode)),
        1 => (name(), 0_u32..3).prop_map(|(name, owner)| SetOwner(name, owner)),
        1 => (name(), 0_i64..3).prop_map(|(name, seconds)| Touch(name, seconds)),
        1 => (name(), 0_u8..3).prop_map(|(name, value)| SetXattr(name, value)),
        1 => name().prop_map(RemoveXattr),
        1 => name().prop_map(Fifo),
        2 => name().prop_map(ReplaceByCopy),
    ]
}

/// Does it, as far as the tree allows: what fails for a shell fails here.
fn apply(fixture: &Fixture, operation: &Operation) {
    let host = |name: &String| fixture.host(name);
    let is_file = |name: &String| {
        std::fs::symlink_metadata(host(name)).is_ok_and(|metadata| metadata.is_file())
    };
    let exists = |name: &String| std::fs::symlink_metadata(host(name)).is_ok();
    // A write through a link is a write to what it names; through a FIFO it never ends.
    match operation {
        Operation::Write(name, byte) if is_file(name) || !exists(name) => {
            let _ = std::fs::write(host(name), [*byte; 3]);
        }
        Operation::WriteKeepingTime(name, byte) if is_file(name) => {
            fixture.keep_mtime(name, || fixture.write(name, &byte.to_string()));
        }
        Operation::Rewrite(name) if is_file(name) => {
            let content = std::fs::read(host(name)).expect("reads");
            fixture.keep_mtime(name, || std::fs::write(host(name), content).expect("written"));
        }
        Operation::MakeDirectory(name) => {
            let _ = std::fs::create_dir_all(host(name));
        }
        Operation::Remove(name) if exists(name) => fixture.remove(name),
        Operation::Rename(from, to) => {
            let _ = std::fs::rename(host(from), host(to));
        }
        Operation::Exchange(one, other) => {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            let cwd = rustix::fs::CWD;
            let _ = rustix::fs::renameat_with(cwd, host(one), cwd, host(other), flags);
        }
        Operation::Link(from, to) => {
            let _ = std::fs::hard_link(host(from), host(to));
        }
        Operation::Symlink(target, name) => {
            let _ = std::os::unix::fs::symlink(target, host(name));
        }
        Operation::SetMode(name, mode) if is_file(name) => fixture.chmod(name, *mode),
        Operation::SetOwner(name, owner) if exists(name) => fixture.chown(name, *owner),
        Operation::Touch(name, seconds) if exists(name) => fixture.touch(name, *seconds),
        Operation::SetXattr(name, value) if is_file(name) => fixture.set_xattr(name, &[*value]),
        Operation::RemoveXattr(name) if is_file(name) => {
            let _ = rustix::fs::removexattr(host(name), "user.test");
        }
        Operation::Fifo(name) if !exists(name) => {
            let path = crate::fixture::path(name);
            let _ = fixture.rootfs.make_node(&path, snapshot::FileKind::Fifo, 0o644, 0, 0);
        }
        Operation::ReplaceByCopy(name) if is_file(name) => fixture.replace_by_copy(name),
        _ => {}
    }
}

/// A step: whether it is announced (`begin`), and what it does.
type Step = (bool, Vec<Operation>);

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let operations = proptest::collection::vec(any_operation(), 1..8);
    proptest::collection::vec((proptest::bool::weighted(0.7), operations), 1..8)
}

/// Fewer cases than usual, as each waits for the clock; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: if default.cases == 256 { 48 } else { default.cases }, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_mode_and_scope_agrees_with_the_oracle(steps in any_steps()) {
        let mut fixture = Fixture::with(|fixture| {
            for directory in ["a/b", "b"] {
                fixture.mkdir(directory);
            }
            for file in ["a/a", "a/b/a", "b/c", "c"] {
                fixture.write(file, "1");
            }
            fixture.link("c", "b/a");
        });
        for (is_announced, operations) in steps {
            if is_announced {
                fixture.begin();
            }
            for operation in &operations {
                apply(&fixture, operation);
            }
            fixture.check();
        }
    }
}
