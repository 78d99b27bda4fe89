//! Tables of the rules.

use super::*;

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
    daemon:x:1:1::/usr/sbin:/bin/false\n\
    # a comment\n\
    \n\
    app:x:1000:1001:App,,,:/home/app:/bin/sh\n\
    app:x:2000:2000:second:/:/bin/sh\n\
    twin:x:1000:7:same id:/twin:/bin/sh\n\
    bad:x:abc:0::/:/bin/sh\n\
    short:x:5\n\
    homeless:x:6:6\n\
    123:x:77:78::/n:/bin/sh\n\
    huge:x:99999999999:0::/:\n";
const GROUP: &[u8] = b"root:x:0:\n\
    daemon:x:1:root,app\n\
    audio:x:29:app, twin\n\
    app:x:1001:\n\
    staff:x:50:other,app\n\
    55:x:66:\n\
    broken\n";

fn database() -> Database {
    Database::parse(PASSWD, GROUP)
}

fn identity(uid: u32, gid: u32, groups: &[u32], home: &str) -> Identity {
    Identity { uid, gid, groups: groups.to_vec(), home: home.to_owned() }
}

#[test]
fn a_run_has_the_ids_that_user_names() {
    for (user, expected) in [
        ("", identity(0, 0, &[1], "/root")),
        ("root", identity(0, 0, &[1], "/root")),
        ("0", identity(0, 0, &[1], "/root")),
        ("app", identity(1000, 1001, &[1, 29, 50], "/home/app")),
        // The first line with the id counts, and so do its groups.
        ("1000", identity(1000, 1001, &[1, 29, 50], "/home/app")),
        // Home goes by id, as runc has it.
        ("twin", identity(1000, 7, &[29], "/home/app")),
        ("app:staff", identity(1000, 50, &[], "/home/app")),
        ("app:9", identity(1000, 9, &[], "/home/app")),
        ("app:", identity(1000, 1001, &[1, 29, 50], "/home/app")),
        (":staff", identity(0, 50, &[], "/root")),
        // Unknown to passwd: group 0.
        ("5", identity(5, 0, &[], "/")),
        ("4242", identity(4242, 0, &[], "/")),
        ("4242:4343", identity(4242, 4343, &[], "/")),
        ("4242:audio", identity(4242, 29, &[], "/")),
        ("1:1", identity(1, 1, &[], "/usr/sbin")),
        // A number is an id even where a name looks the same.
        ("123", identity(123, 0, &[], "/")),
        ("0:55", identity(0, 55, &[], "/root")),
        ("homeless", identity(6, 6, &[], "/")),
    ] {
        assert_eq!(process_identity(user, &database()), Ok(expected), "{user}");
    }
}

#[test]
fn names_that_nobody_has_are_errors() {
    let user = |name: &str| IdentityError::UnknownUser { name: name.to_owned() };
    let group = |name: &str| IdentityError::UnknownGroup { name: name.to_owned() };
    let range = |number: &str| IdentityError::OutOfRange { number: number.to_owned() };
    for (text, expected) in [
        ("nobody", user("nobody")),
        ("bad", user("bad")),
        ("short", user("short")),
        ("huge", user("huge")),
        ("App", user("App")),
        ("-1", user("-1")),
        ("+5", user("+5")),
        ("nobody:0", user("nobody")),
        ("app:nogroup", group("nogroup")),
        ("0:broken", group("broken")),
        ("1:2:3", group("2:3")),
        ("4294967295", range("4294967295")),
        ("0:4294967296", range("4294967296")),
        ("99999999999999999999999", range("99999999999999999999999")),
    ] {
        assert_eq!(process_identity(text, &database()), Err(expected.clone()), "{text}");
        assert_eq!(file_ownership(text, &database()), Err(expected), "{text}");
    }
    assert_eq!(file_ownership("", &database()), Err(user("")));
    assert_eq!(file_ownership(":staff", &database()), Err(user("")));
}

#[test]
fn files_have_the_owner_that_chown_names() {
    for (owner, uid, gid) in [
        ("0", 0, 0),
        ("5", 5, 5),
        ("1000", 1000, 1000),
        ("app", 1000, 1001),
        ("twin", 1000, 7),
        ("app:staff", 1000, 50),
        ("app:", 1000, 1001),
        ("5:staff", 5, 50),
        ("5:6", 5, 6),
        ("0:55", 0, 55),
        ("123", 123, 123),
    ] {
        assert_eq!(file_ownership(owner, &database()), Ok(Ownership { uid, gid }), "{owner}");
    }
}

#[test]
fn working_directories_belong_to_the_user_if_there_is_one() {
    for (user, uid, gid) in [
        ("", 0, 0),
        ("app", 1000, 1001),
        ("5", 5, 5),
        ("5:staff", 5, 50),
        ("later", 0, 0),
        ("app:later", 0, 0),
    ] {
        assert_eq!(working_dir_ownership(user, &database()), Ownership { uid, gid }, "{user}");
    }
}

#[test]
fn without_files_numbers_and_root_still_work() {
    let empty = Database::default();
    assert_eq!(process_identity("", &empty), Ok(identity(0, 0, &[], "/root")));
    assert_eq!(process_identity("7", &empty), Ok(identity(7, 0, &[], "/")));
    assert_eq!(process_identity("7:8", &empty), Ok(identity(7, 8, &[], "/")));
    assert_eq!(
        process_identity("root", &empty),
        Err(IdentityError::UnknownUser { name: "root".to_owned() })
    );
    assert_eq!(file_ownership("7", &empty), Ok(Ownership { uid: 7, gid: 7 }));
}

#[test]
fn the_files_are_read_through_links_of_the_image() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let rootfs = Rootfs::open(directory.path()).expect("open");
    assert_eq!(read_database(&rootfs).expect("absent files"), Database::default());
    // Everything is made below the real directory: `etc` leads out for whoever is outside.
    let real = directory.path().join("usr/etc");
    std::fs::create_dir_all(&real).expect("mkdir");
    std::os::unix::fs::symlink("/usr/etc", directory.path().join("etc")).expect("symlink");
    std::fs::write(real.join("accounts"), PASSWD).expect("write");
    std::fs::write(real.join("group"), GROUP).expect("write");
    std::os::unix::fs::symlink("../../../../etc/accounts", real.join("passwd")).expect("symlink");
    assert_eq!(read_database(&rootfs).expect("files"), database());
}
