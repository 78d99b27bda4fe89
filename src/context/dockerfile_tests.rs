use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// A current directory and a context, each with some files; what is in a file is its path.
struct Places {
    current: tempfile::TempDir,
    context: tempfile::TempDir,
}

impl Places {
    fn new(current: &[&str], context: &[&str]) -> Self {
        let places =
            Self { current: tempfile::tempdir().unwrap(), context: tempfile::tempdir().unwrap() };
        for (root, place, files) in
            [(&places.current, "current", current), (&places.context, "context", context)]
        {
            for file in files {
                let path = root.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, format!("{place}:{file}")).unwrap();
            }
        }
        places
    }

    fn root(&self) -> Rootfs {
        Rootfs::open(self.context.path()).unwrap()
    }

    fn find(&self, typed: &str) -> Result<FoundDockerfile, ContextError> {
        find(Path::new(typed), &self.current.path().join(typed), &self.root())
    }

    fn check(&self, typed: &str, text: &str, ignore: Option<&str>) {
        let found = self.find(typed).unwrap();
        assert_eq!(String::from_utf8(found.text).unwrap(), text);
        let found = found.ignore_file.map(|file| String::from_utf8(file.text).unwrap());
        assert_eq!(found.as_deref(), ignore);
    }
}

#[test]
fn the_host_comes_before_the_context() {
    let both = Places::new(&["Dockerfile"], &["Dockerfile", "Dockerfile.dockerignore"]);
    both.check("Dockerfile", "current:Dockerfile", None);
    let context = Places::new(&[], &["a/Dockerfile"]);
    context.check("a/Dockerfile", "context:a/Dockerfile", None);
}

#[test]
fn an_absolute_path_is_looked_for_in_the_context_too() {
    Places::new(&[], &["build/x.Dockerfile"]).check(
        "/build/x.Dockerfile",
        "context:build/x.Dockerfile",
        None,
    );
}

#[test]
fn the_ignore_file_beside_it_comes_with_it() {
    let places = Places::new(
        &["x", "x.dockerignore"],
        &["a/Dockerfile", "a/Dockerfile.dockerignore", ".dockerignore"],
    );
    places.check("x", "current:x", Some("current:x.dockerignore"));
    places.check("a/Dockerfile", "context:a/Dockerfile", Some("context:a/Dockerfile.dockerignore"));
}

#[test]
fn a_lower_case_name_does_for_the_usual_one() {
    Places::new(&[], &["dockerfile"]).check("Dockerfile", "context:dockerfile", None);
    Places::new(&["dockerfile"], &[]).check("Dockerfile", "current:dockerfile", None);
    Places::new(&["dockerfile"], &["Dockerfile"]).check("Dockerfile", "context:Dockerfile", None);
    assert!(Places::new(&[], &["other"]).find("Other").is_err());
}

#[test]
fn links_are_followed_inside_the_context() {
    // As Kubernetes mounts a ConfigMap.
    let places = Places::new(&[], &["..2024/Dockerfile", "..2024/.dockerignore"]);
    let root = places.context.path();
    symlink("..2024", root.join("..data")).unwrap();
    symlink("..data/Dockerfile", root.join("Dockerfile")).unwrap();
    symlink("..data/.dockerignore", root.join(".dockerignore")).unwrap();
    places.check("Dockerfile", "context:..2024/Dockerfile", None);
    let rules = ignore_rules(&places.root(), None).unwrap();
    assert!(!rules.is_empty());
    symlink("/etc/hostname", root.join("outside")).unwrap();
    assert!(matches!(places.find("outside"), Err(ContextError::NoDockerfile { .. })));
}

#[test]
fn a_directory_is_no_dockerfile() {
    let places = Places::new(&["Dockerfile/x"], &["Dockerfile"]);
    places.check("Dockerfile", "context:Dockerfile", None);
    let none = Places::new(&[], &["Dockerfile/x"]);
    let host = none.current.path().join("Dockerfile");
    assert_eq!(
        none.find("Dockerfile").unwrap_err().to_string(),
        format!(
            "there is no Dockerfile `Dockerfile`: neither as `{}` nor in the build context",
            host.display()
        )
    );
}

#[test]
fn only_one_ignore_file_counts() {
    let places = Places::new(&[], &[".dockerignore", "f"]);
    let kept = |rules: IgnoreRules| rules.kept([("a", false), ("own", false)]).unwrap();
    fs::write(places.context.path().join(".dockerignore"), "a").unwrap();
    assert_eq!(kept(ignore_rules(&places.root(), None).unwrap()), [b"own".to_vec()]);
    let own = IgnoreFile { name: "x.dockerignore".into(), text: b"own".to_vec() };
    assert_eq!(kept(ignore_rules(&places.root(), Some(&own)).unwrap()), [b"a".to_vec()]);
    let empty = IgnoreFile { name: "x.dockerignore".into(), text: Vec::new() };
    assert!(ignore_rules(&places.root(), Some(&empty)).unwrap().is_empty());
    let wrong = IgnoreFile { name: "x.dockerignore".into(), text: b"[".to_vec() };
    assert_eq!(
        ignore_rules(&places.root(), Some(&wrong)).map(|_| ()).unwrap_err().to_string(),
        "cannot use the ignore file `x.dockerignore`"
    );
}

#[test]
fn standard_input_is_read_to_its_end_but_not_without_one() {
    let found = read_stdin(b"FROM scratch".as_slice()).unwrap();
    assert_eq!(found, FoundDockerfile::from_text("-", b"FROM scratch".to_vec()));
    let error = read_stdin(std::io::repeat(b'#')).unwrap_err();
    assert_eq!(error.to_string(), "`-` is larger than 16777216 bytes");
}
