//! A secret is in a file or a variable of one command, and nowhere else.

use std::fs;

use super::{MARKER, Project, has};
use crate::skip_unless_available;

#[test]
fn a_secret_is_where_the_dockerfile_says_and_nowhere_in_the_image() {
    skip_unless_available!();
    let project = Project::new(
        "FROM base\n\
         RUN --mount=type=secret,id=key test \"$(cat /run/secrets/key | wc -c)\" = 16; \
             stat -c 'saw %a %u:%g' /run/secrets/key\n\
         RUN --mount=type=secret,id=key,target=/etc/deep/key,mode=440,uid=7,gid=8 \
             stat -c 'saw %a %u:%g' /etc/deep/key; cat /etc/deep/key > /dev/null; \
             ! echo x > /etc/deep/key || exit 3\n\
         RUN --mount=type=secret,id=key,env=TOKEN test ${#TOKEN} = 16; test ! -e /run/secrets\n\
         RUN --mount=type=secret,id=other test ! -e /run/secrets && echo saw none\n\
         RUN test -z \"$TOKEN\"; touch /done\n",
    );
    let built = project.succeed(&["--verbosity=trace"]);
    let text = built.text();
    let saw: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("saw ")).collect();
    assert!(saw.contains(&"400 0:0") && saw.contains(&"440 7:8"), "{text}");
    assert!(!has(&project.bytes(), MARKER), "it is in the image");
    assert!(!text.contains(MARKER), "it is in the log");
    assert_eq!(project.last_layer(), ["./", "done"]);
}

#[test]
fn a_secret_of_the_environment_is_not_shown() {
    skip_unless_available!();
    let project = Project::new("FROM base\nRUN --mount=type=secret,id=none,env=X true\n");
    let missing = project.fail(&["--secret=id=a,env=NO_SUCH_VARIABLE"]);
    assert!(missing.contains("the environment variable that it names is not set"), "{missing}");
    let missing = project.fail(&["--secret=id=a,src=/no/such/file"]);
    assert!(missing.contains("cannot read the secret `a` from `/no/such/file`"), "{missing}");
    fs::write(project.path("large"), vec![b'x'; 600 << 10]).unwrap();
    let large = format!("--secret=id=a,src={}", project.path("large").display());
    let refused = project.fail(&[&large]);
    assert!(refused.contains("the secret `a` has more than 512000 bytes"), "{refused}");
}
