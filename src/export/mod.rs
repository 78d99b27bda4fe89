//! What a finished image becomes outside: docker tarball, OCI layout, digest files.
