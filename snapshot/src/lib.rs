//! Finds what changed in a root file system and writes it as a layer.
//!
//! Knows files and bytes; nothing of images, Dockerfiles or networks. Synchronous, threads only;
//! never prints, reads the environment or exits.
