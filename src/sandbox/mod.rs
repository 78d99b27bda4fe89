//! Where RUN runs: namespaces or in place; the supervisor child; mounts; process care.
