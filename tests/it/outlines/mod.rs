//! Stages whose files are not on disk: the image has the digest that unpacking gives it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::skip_unless_available;
use crate::witness::harness::{Build, bases, registry, run};

/// How a stage's files are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As a user has it.
    Own,
    /// On disk in any case.
    Unpacked,
}

/// What is expected of a Dockerfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It needs no files.
    Outlined,
    /// Some stage has to be unpacked in the end.
    Unpacked,
    /// It fails, and says the same.
    Fails,
}

/// What came of a build.
struct Outcome {
    /// The image's digest, or what the build said when it failed.
    image: Result<String, String>,
    /// What `--benchmark-file` says.
    numbers: Value,
}

impl Outcome {
    fn unpack_count(&self) -> usize {
        self.numbers["unpacks"].as_array().map_or(0, Vec::len)
    }
}

/// A context, and bases to build on.
struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Self { folder };
        fixture.make_context();
        fixture.make_base();
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn make_context(&self) {
        let context = self.path("context");
        for (name, content, mode) in [
            ("one", "1", 0o644),
            ("two", "2", 0o600),
            ("script", "#!/bin/sh", 0o755),
            ("suid", "s", 0o4755),
            ("empty", "", 0o444),
            ("tree/a", "a", 0o644),
            ("tree/deep/er/b", "b", 0o640),
            ("tree/usr/bin/tool", "tool", 0o755),
            ("tree/etc/app.conf", "conf", 0o644),
            ("tree/secret", "not here", 0o644),
            ("users/passwd", "root:x:0:0::/:\napp:x:1234:1235::/app:\n", 0o644),
            ("users/group", "root:x:0:\nappgroup:x:4321:\n", 0o644),
            ("over/etc/base.conf", "over", 0o600),
            ("over/opt/kept/new", "new", 0o644),
            ("linked/first", "names", 0o644),
            ("x*y", "star", 0o644),
        ] {
            let path = context.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::write(context.join("big"), vec![b'b'; (2 << 20) + 17]).unwrap();
        fs::create_dir_all(context.join("tree/hollow")).unwrap();
        fs::set_permissions(context.join("tree/deep"), fs::Permissions::from_mode(0o2750)).unwrap();
        symlink("a", context.join("tree/link")).unwrap();
        symlink("/nowhere", context.join("tree/dangling")).unwrap();
        symlink("tree", context.join("way")).unwrap();
        fs::hard_link(context.join("linked/first"), context.join("linked/second")).unwrap();
        fs::hard_link(context.join("linked/first"), context.join("linked/third")).unwrap();
        run(Command::new("mkfifo").arg(context.join("pipe")));
        run(Command::new("setfattr")
            .args(["-n", "user.said", "-v", "so"])
            .arg(context.join("two")));
        fs::write(context.join(".dockerignore"), "tree/secret\nlayout*\n").unwrap();
        run(Command::new("tar")
            .args(["-C"])
            .arg(&context)
            .args(["-czf"])
            .arg(context.join("archive.tar.gz"))
            .arg("tree"));
    }

    /// Makes a base with everything that a copy can meet.
    fn make_base(&self) {
        let context = self.path("base");
        fs::create_dir_all(&context).unwrap();
        for name in ["said", "acl"] {
            fs::create_dir_all(context.join("extra").join(name)).unwrap();
        }
        let extra = context.join("extra");
        run(Command::new("setfattr").args(["-n", "user.said", "-v", "so"]).arg(extra.join("said")));
        run(Command::new("setfacl").args(["-d", "-m", "user:7:rwx"]).arg(extra.join("acl")));
        let dockerfile = "FROM small\nCOPY extra /extra\n\
            RUN mkdir -p /opt/kept/deep /opt/moved /srv/sticky /linked && chmod 1777 /srv/sticky \
              && chown 7:8 /opt/kept && chmod 2750 /opt/kept && echo base > /etc/base.conf \
              && echo old > /opt/kept/old && ln -s kept /opt/way && ln -s /opt/none /opt/dangling \
              && ln -s ../../../srv /opt/up && ln -s loop2 /loop1 && ln -s loop1 /loop2 \
              && echo names > /linked/a && ln /linked/a /linked/b && ln -s base.conf /etc/alias \
              && mkfifo /opt/pipe && echo gone > /opt/gone && touch -d @0 /opt/epoch\n\
            RUN rm /opt/gone && mkdir /opt/gone && echo app:x:77:78::/home/app: >> /etc/passwd \
              && echo staff:x:50: >> /etc/group\n";
        fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        Build::of(&context)
            .base("small", "busybox")
            .arg("--no-push")
            .arg("--destination=base:v1")
            .arg(format!("--oci-layout-path={}", self.path("layout-base").display()))
            .succeed();
    }

    fn build(&self, dockerfile: &str, way: Way, flags: &[&str]) -> Outcome {
        let folder = tempfile::tempdir().unwrap();
        let (file, layout, numbers) =
            (folder.path().join("f"), folder.path().join("layout"), folder.path().join("numbers"));
        fs::write(&file, dockerfile).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_zuwai"));
        if way == Way::Unpacked {
            let job = folder.path().join("job");
            let record = folder.path().join("record");
            let content =
                json!({"mode": "auto", "check": false, "control_groups": [], "record": record});
            fs::write(&job, content.to_string()).unwrap();
            command.arg(zuwai::compare::MEASURE).arg(job);
        } else {
            command.arg("build");
        }
        command
            .args(["--no-push", "--destination=image:v1", "--reproducible", "--log-format=text"])
            .arg("--context")
            .arg(self.path("context"))
            .arg("--dockerfile")
            .arg(&file)
            .arg("--kaniko-dir")
            .arg(folder.path().join("work"))
            .arg(format!(
                "--build-context=base=oci-layout://{}",
                self.path("layout-base").display()
            ))
            .arg(format!(
                "--build-context=small=oci-layout://{}",
                bases().join("busybox").display()
            ))
            .arg(format!(
                "--build-context=debian=oci-layout://{}",
                bases().join("debian").display()
            ))
            .arg(format!("--build-context=named={}", self.path("context/tree").display()))
            .arg(format!("--oci-layout-path={}", layout.display()))
            .arg(format!("--benchmark-file={}", numbers.display()))
            .args(flags)
            .current_dir(folder.path());
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let image = if output.status.success() {
            let index: Value =
                serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
            Ok(index["manifests"][0]["digest"].as_str().unwrap().to_owned())
        } else {
            Err(said)
        };
        let numbers = fs::read(&numbers).map(|text| serde_json::from_slice(&text).unwrap());
        Outcome { image, numbers: numbers.unwrap_or_default() }
    }
}

/// Dockerfiles whose stages need no files.
const OUTLINED: &[&str] = &[
    "FROM scratch\nCOPY one /\n",
    "FROM scratch\nCOPY tree /\nCOPY tree /\n",
    "FROM scratch\nCOPY one two /a/b/c/\nCOPY . /all/\n",
    "FROM scratch\nCOPY tree/hollow /\n",
    "FROM scratch\nCOPY tree/hollow /\nCOPY tree/hollow /\n",
    "FROM scratch\nWORKDIR /a/b\nCOPY one .\nWORKDIR c\nCOPY two .\nWORKDIR /\n",
    "FROM scratch\nCOPY tree/hollow /empty\nLABEL a=b\n",
    "FROM base\nCOPY one /bin/x\nCOPY one /lib/y/z\n",
    "FROM base\nCOPY one /opt/way/x\nCOPY one /opt/dangling\nCOPY two /opt/dangling\n",
    "FROM base\nCOPY one /opt/dangling/\n",
    "FROM base\nCOPY one /opt/up/srv-file\nCOPY tree /opt/way\n",
    "FROM base\nCOPY one /opt/kept/old\nCOPY over /\n",
    "FROM base\nCOPY one /etc/base.conf\nCOPY two /etc/alias\n",
    "FROM base\nCOPY one /opt/pipe\nCOPY pipe /opt/pipe2\nCOPY pipe /opt/old\n",
    "FROM base\nCOPY --chown=app one /x\nCOPY --chown=app:staff tree /y\nCOPY --chown=3:4 two /z/w/v\n",
    "FROM base\nUSER app\nWORKDIR /home/app/src\nCOPY one .\nUSER nobody-knows\nWORKDIR /home/b\nUSER 5:6\nWORKDIR /home/c\n",
    "FROM scratch\nCOPY users /etc\nCOPY --chown=app:appgroup one /x\nUSER app\nWORKDIR /w\n",
    "FROM scratch\nCOPY users/passwd /usr/lib/passwd\nCOPY <<EOF /etc/group\nmine:x:99:\nEOF\nCOPY --chown=1:mine one /x\n",
    "FROM base\nCOPY --chmod=0711 one tree/a /x/\nCOPY --chmod=u+s,g-r tree /y\nCOPY --chmod=4755 script /z\n",
    "FROM base\nCOPY <<EOF /inline\nhello $PATH\nEOF\nCOPY --chown=app --chmod=600 <<A <<B /in/\na\nA\nb\nB\n",
    "FROM base\nCOPY suid empty big script /usr/local/bin/\n",
    "FROM base\nCOPY linked /l\nCOPY linked /m/\nCOPY linked/first linked/second /n/\n",
    "FROM base\nCOPY way /way\nCOPY way/a /b\nCOPY tree/link /c\nCOPY tree/de* /d/\nCOPY x\\*y /e\nCOPY o* t* /f/\n",
    "FROM base\nCOPY --from=named . /n\nCOPY --from=named deep /opt/kept\n",
    "FROM base\nCOPY one /app/\nCOPY tree /app/\nCOPY tree users/passwd /app/\n",
    "FROM base\nCOPY two /app/one\nCOPY one /app/one\nCOPY one /app/one\n",
    "FROM base\nADD one /x\nADD tree /y\n",
    "FROM base AS a\nCOPY one /opt/way/one\nWORKDIR /opt/way\nFROM a\nCOPY two .\nCOPY one /opt/way/\n",
    "FROM base AS a\nCOPY one /1\nFROM a AS b\nCOPY one /2\nFROM a AS c\nCOPY one /1\nFROM b\nCOPY one /2\n",
    "FROM base AS a\nLABEL x=y\nFROM a\nCOPY one /1\n",
    "FROM debian\nCOPY tree /\nCOPY one /bin/one\nCOPY two /lib/two\nCOPY --chown=www-data:adm tree /srv/www\nWORKDIR /var/run/x\n",
    "FROM debian\nCOPY one /etc/alternatives/\nCOPY one /usr/share/doc/one\nCOPY tree /usr\n",
    "FROM base\nCOPY one /extra/said/one\nCOPY over /extra/said\nCOPY --chmod=700 two /extra/said/one\n",
    "FROM base\nCOPY one /var/run/one\nCOPY two /var/two\n",
    "FROM base\nENV A=b\nCOPY one /x\nCMD [\"x\"]\nEXPOSE 80\nUSER app\nENTRYPOINT x\nVOLUME /v\n",
];

/// Dockerfiles with a stage that has to be unpacked in the end.
const UNPACKED: &[&str] = &[
    "FROM base AS a\nRUN echo me:x:5:6::: >> /etc/passwd\nFROM small AS b\nCOPY --from=a /etc/passwd /etc/\n\
     FROM b\nCOPY --chown=me one /x\n",
    "FROM base\nCOPY one /extra/acl/one\nCOPY tree /extra/acl/deep\n",
    "FROM base\nCOPY over /extra/acl\nCOPY one /extra/x\n",
    "FROM base\nCOPY one /app/\nCOPY . /app/\nCOPY . /app/\n",
    "FROM base\nCOPY one /linked/a\n",
    "FROM base\nCOPY two /before\nCOPY one /linked/b\nCOPY two /after\n",
    "FROM base\nCOPY one /before\nADD archive.tar.gz /opt\nCOPY two /after\n",
    "FROM scratch\nADD archive.tar.gz /\nCOPY one /tree/a\n",
    "FROM base\nCOPY linked /l\nCOPY linked /l\nCOPY one /l/second\n",
    "FROM base AS a\nCOPY one /x\nFROM base\nCOPY --from=a / /all\nCOPY --from=a /x /etc/base.conf /y/\n",
    "FROM base AS a\nRUN echo 1 > /x\nFROM a\nCOPY one /y\n",
    "FROM base AS a\nRUN echo 1 > /x\nFROM a AS b\nCOPY one /y\nFROM b\nRUN echo 2 >> /y\nCOPY two /y\n",
    "FROM base\nCOPY one /y\nRUN echo 2 >> /y\nCOPY two /z\n",
    "FROM base AS a\nCOPY one /x\nFROM a AS b\nRUN echo > /b\nFROM a AS c\nCOPY two /c\nFROM c\nCOPY --from=b /b /b\n",
    "FROM base\nCOPY --from=small /bin/busybox /bb\nCOPY --from=base /opt /opt\nCOPY --from=base /linked /l\n",
];

/// Dockerfiles that fail, with the same words.
const FAILING: &[&str] = &[
    "FROM base\nCOPY none /x\n",
    "FROM base\nCOPY one /etc/base.conf/x\n",
    "FROM base\nCOPY tree /etc/base.conf\n",
    "FROM base\nCOPY one two /opt/kept/old\n",
    "FROM base\nCOPY --chown=nobody-knows one /x\n",
    "FROM base\nCOPY --chown=app:nobody-knows one /x\n",
    "FROM base\nCOPY one /loop1/x\n",
    "FROM base\nWORKDIR /etc/base.conf\n",
    "FROM base\nCOPY one /opt/x\nCOPY tree /opt/x\n",
    "FROM scratch\nCOPY tree/a /usr/bin\nCOPY tree /\n",
];

/// Says what is wrong with what both ways made of a Dockerfile.
fn fault(kind: Kind, own: &Outcome, unpacked: &Outcome) -> Option<String> {
    match (kind, &own.image, &unpacked.image) {
        (Kind::Fails, Err(own), Err(unpacked)) => {
            // The measured build says it on one line, the cause last.
            let (_, cause) = unpacked.trim_end().rsplit_once(": ").unwrap();
            (!own.contains(cause)).then(|| format!("no `{cause}` in\n{own}"))
        }
        (Kind::Fails, ..) => Some("it did not fail".to_owned()),
        (_, Ok(own), Ok(unpacked)) if own != unpacked => Some(format!("{own} != {unpacked}")),
        (Kind::Outlined, Ok(_), Ok(_)) if own.unpack_count() > 0 => {
            Some(format!("it was unpacked: {:#}", own.numbers))
        }
        (Kind::Unpacked, Ok(_), Ok(_)) | (Kind::Outlined, Ok(_), Ok(_)) => None,
        (_, own, unpacked) => Some(format!("{own:?}\n{unpacked:?}")),
    }
}

fn check(flags: &[&str]) {
    let fixture = Fixture::new();
    let all = [(Kind::Outlined, OUTLINED), (Kind::Unpacked, UNPACKED), (Kind::Fails, FAILING)];
    let mut faults = Vec::new();
    for (kind, dockerfiles) in all {
        for dockerfile in dockerfiles {
            let own = fixture.build(dockerfile, Way::Own, flags);
            let unpacked = fixture.build(dockerfile, Way::Unpacked, flags);
            faults.extend(fault(kind, &own, &unpacked).map(|text| format!("{dockerfile}{text}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn an_image_is_the_same_be_its_stages_unpacked_or_not() {
    skip_unless_available!();
    check(&[]);
}

#[test]
fn an_image_of_one_layer_a_stage_is_the_same_be_its_stages_unpacked_or_not() {
    skip_unless_available!();
    check(&["--single-snapshot", "--ignore-path=/opt/kept", "--ignore-path=/srv/*"]);
}

/// Builds with a work directory that stays, pushes, and returns the build's numbers.
fn push(context: &Path, work: &Path, repository: &str) -> Value {
    let numbers = work.join(repository.replace('/', "-"));
    let output = Command::new(env!("CARGO_BIN_EXE_zuwai"))
        .args(["build", "--log-format=text", "--reproducible"])
        .arg("--context")
        .arg(context)
        .arg("--kaniko-dir")
        .arg(work)
        .arg(format!("--insecure-registry={}", registry().host))
        .arg(format!("--destination={}/{repository}:v1", registry().host))
        .arg(format!("--benchmark-file={}", numbers.display()))
        .current_dir(work)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&fs::read(numbers).unwrap()).unwrap()
}

#[test]
fn a_base_whose_headers_are_known_is_mounted_and_not_downloaded() {
    skip_unless_available!();
    let (folder, host) = (tempfile::tempdir().unwrap(), &registry().host);
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, content: &str| {
        fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        fs::write(path(name), content).unwrap();
    };
    write(
        "base/Dockerfile",
        "FROM small\nRUN ln -s bin /sbin2 && echo 1 > /one\nRUN echo > /two\n",
    );
    Build::of(&path("base"))
        .base("small", "busybox")
        .arg(format!("--insecure-registry={host}"))
        .arg(format!("--destination={host}/outlines/base:v1"))
        .succeed();
    write("app/Dockerfile", &format!("FROM {host}/outlines/base:v1\nCOPY file /sbin2/\n"));
    write("app/file", "content");
    fs::create_dir(path("work")).unwrap();

    let cold = push(&path("app"), &path("work"), "outlines/cold");
    let warm = push(&path("app"), &path("work"), "outlines/warm");
    let headers = |read, known| json!([{"layers": {"read": read, "known": known}, "entries": cold["headers"][0]["entries"]}]);
    assert_eq!((&cold["unpacks"], &cold["headers"]), (&json!([]), &headers(3, 0)), "{cold:#}");
    assert_eq!((&warm["unpacks"], &warm["headers"]), (&json!([]), &headers(0, 3)), "{warm:#}");
    assert_eq!(cold["pulls"].as_array().unwrap().len(), 3, "{cold:#}");
    assert_eq!(warm["pulls"], json!([]), "{warm:#}");
    let routes = |numbers: &Value| {
        let pushes = numbers["pushes"].as_array().unwrap();
        let routes = pushes.iter().map(|push| push["route"].as_str().unwrap().to_owned());
        let mut routes: Vec<String> = routes.collect();
        routes.sort();
        routes
    };
    // Three layers of the base, and a layer and a config.
    for numbers in [&cold, &warm] {
        let expected = ["mounted", "mounted", "mounted", "uploaded", "uploaded"];
        assert_eq!(routes(numbers), expected, "{numbers:#}");
    }

    // What is kept is believed only if it is whole.
    for entry in fs::read_dir(path("work/headers")).unwrap() {
        fs::write(entry.unwrap().path(), "zuwai layer headers 1\nbroken").unwrap();
    }
    let broken = push(&path("app"), &path("work"), "outlines/broken");
    assert_eq!(broken["headers"], headers(3, 0), "{broken:#}");
}
