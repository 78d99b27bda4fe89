//! The one HTTP client: TLS roots, client certificates, proxies, resolver, redaction, retry.
//!
//! Used by `registry`, `context` and ADD of URLs; must not know what travels through it.
