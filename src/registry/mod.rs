//! Endpoints, authentication, pulls and uploads as streams, on the one HTTP client.
//!
//! Must not touch a root file system.
