//! User 1000, as which tests build without root, whoever the users of the machine are.

/// The beginning of a shell script that root runs in a mount namespace of its own: gives user 1000
/// the subordinate ids that the file `$ids` names, and a name where it has none, because `newuidmap`
/// serves nobody without one. The machine's own files stay as they are.
pub const GIVE_IDS: &str = "set -e; \
    mount --make-rprivate /; \
    for name in subuid subgid; do \
        test -e /etc/$name || : > /etc/$name; \
        mount --bind \"$ids\" /etc/$name; \
    done; \
    if ! getent passwd 1000 > /dev/null; then \
        (cat /etc/passwd; echo tester:x:1000:1000::/:/bin/sh) > \"$ids.users\"; \
        chmod 644 \"$ids.users\"; \
        mount --bind \"$ids.users\" /etc/passwd; \
    fi; ";
