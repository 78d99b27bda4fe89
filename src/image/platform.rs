//! Operating system and architecture of an image.

use std::fmt;
use std::str::FromStr;

/// What an image runs on, in the normal form that registries and configs use.
///
/// Normalisation follows containerd's `platforms` package: `aarch64` is `arm64`, `x86_64` is
/// `amd64`, `arm` without a variant is `arm/v7`, and `arm64/v8` is written without its variant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// `linux`, `windows`, …
    pub os: String,
    /// `amd64`, `arm64`, … as Go names them.
    pub architecture: String,
    /// `v6`, `v7`, …; absent where the architecture's default is meant.
    pub variant: Option<String>,
    /// The operating system's version, used by Windows images only.
    pub os_version: Option<String>,
}

/// A platform as somebody typed it.
///
/// Its normal form does for choosing images. Builds also see the spelling: `TARGETVARIANT` is `v8`
/// for `linux/arm64/v8` and empty for `linux/arm64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformText(String);

impl PlatformText {
    /// Returns the text, which parses as a [`Platform`].
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PlatformText {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        text.parse::<Platform>().map(|_| Self(text.to_owned()))
    }
}

/// A platform text that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// The text has more than three parts, an empty part, or characters outside the grammar.
    #[error("`{0}` is not a platform of the form `os/architecture[/variant]`")]
    Syntax(String),
    /// One word that is neither a known operating system nor a known architecture.
    #[error("`{0}` is neither a known operating system nor a known architecture")]
    Unknown(String),
}

const KNOWN_OS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];
const KNOWN_ARCHITECTURES: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

impl Platform {
    /// Returns the platform of the given parts in normal form.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = normal_os(os);
        let (architecture, variant) = normal_architecture(architecture, variant.unwrap_or(""));
        Self {
            os,
            architecture,
            variant: Some(variant).filter(|v| !v.is_empty()),
            os_version: None,
        }
    }

    /// Returns the platform that this program was compiled for.
    pub fn of_this_machine() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, None)
    }

    /// Says whether an image made for `offered` may be taken where `self` is asked for.
    ///
    /// Variants must agree after normalisation; an absent variant of `offered` fits any.
    pub fn accepts(&self, offered: &Platform) -> bool {
        self.os == offered.os
            && self.architecture == offered.architecture
            && (offered.variant.is_none() || self.variant == offered.variant)
            && match (&self.os_version, &offered.os_version) {
                (Some(asked), Some(found)) => asked == found,
                _ => true,
            }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let valid = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        if parts.len() > 3 || !parts.iter().all(valid) {
            return Err(PlatformError::Syntax(text.to_owned()));
        }
        match parts.as_slice() {
            [word] => {
                let os = normal_os(word);
                if KNOWN_OS.contains(&os.as_str()) {
                    let here = Self::of_this_machine();
                    return Ok(Self { os, ..here });
                }
                let one = Self::new("linux", word, None);
                if KNOWN_ARCHITECTURES.contains(&one.architecture.as_str()) {
                    return Ok(one);
                }
                Err(PlatformError::Unknown(text.to_owned()))
            }
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(PlatformError::Syntax(text.to_owned())),
        }
    }
}

fn normal_os(os: &str) -> String {
    match os.to_ascii_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    }
}

fn normal_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (architecture.to_ascii_lowercase(), variant.to_ascii_lowercase());
    match architecture.as_str() {
        "i386" | "x86" => ("386".to_owned(), String::new()),
        "x86_64" | "x86-64" | "amd64" => {
            let variant = if variant == "v1" { String::new() } else { variant };
            ("amd64".to_owned(), variant)
        }
        "aarch64" | "arm64" => {
            let variant =
                if matches!(variant.as_str(), "8" | "v8") { String::new() } else { variant };
            ("arm64".to_owned(), variant)
        }
        "armhf" => ("arm".to_owned(), "v7".to_owned()),
        "armel" => ("arm".to_owned(), "v6".to_owned()),
        "arm" => {
            let variant = match variant.as_str() {
                "" | "7" => "v7".to_owned(),
                "5" | "6" | "8" => format!("v{variant}"),
                _ => variant,
            };
            ("arm".to_owned(), variant)
        }
        "powerpc64le" => ("ppc64le".to_owned(), variant),
        "loongarch64" => ("loong64".to_owned(), variant),
        _ => (architecture, variant),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown =
            text.parse::<Platform>().map(|p| p.to_string()).unwrap_or_else(|e| e.to_string());
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn platforms_are_normalised_as_containerd_does() {
        check("linux/arm64/v8", "linux/arm64");
        check("arm64", "linux/arm64");
        check("aarch64", "linux/arm64");
        check("linux/arm", "linux/arm/v7");
        check("armhf", "linux/arm/v7");
        check("linux/armel", "linux/arm/v6");
        check("linux/arm/6", "linux/arm/v6");
        check("x86_64", "linux/amd64");
        check("Linux/AMD64", "linux/amd64");
        check("linux/amd64/v3", "linux/amd64/v3");
        check("macos/arm64", "darwin/arm64");
        check("a/b/c/d", "`a/b/c/d` is not a platform of the form `os/architecture[/variant]`");
        check("linux//v7", "`linux//v7` is not a platform of the form `os/architecture[/variant]`");
        check("toaster", "`toaster` is neither a known operating system nor a known architecture");
    }

    #[test]
    fn a_variant_that_is_asked_for_must_be_offered() {
        let asked: Platform = "linux/arm/v6".parse().unwrap();
        assert!(asked.accepts(&"linux/arm/v6".parse().unwrap()));
        assert!(!asked.accepts(&"linux/arm/v7".parse().unwrap()));
        assert!(!asked.accepts(&"linux/amd64".parse().unwrap()));
    }
}
