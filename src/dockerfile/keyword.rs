//! The instructions that exist.

use std::fmt;

use super::character::to_lower;

macro_rules! keywords {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// An instruction's keyword.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Keyword {
            $($(#[$doc])* $variant,)*
        }

        impl Keyword {
            /// All keywords, in upper case.
            pub(super) const NAMES: &'static [&'static str] = &[$($name),*];

            /// Returns the keyword in upper case.
            pub fn name(self) -> &'static str {
                match self {
                    $(Keyword::$variant => $name,)*
                }
            }

            fn from_upper(name: &str) -> Option<Keyword> {
                match name {
                    $($name => Some(Keyword::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

keywords! {
    /// `ADD`
    Add = "ADD",
    /// `ARG`
    Arg = "ARG",
    /// `CMD`
    Cmd = "CMD",
    /// `COPY`
    Copy = "COPY",
    /// `ENTRYPOINT`
    Entrypoint = "ENTRYPOINT",
    /// `ENV`
    Env = "ENV",
    /// `EXPOSE`
    Expose = "EXPOSE",
    /// `FROM`
    From = "FROM",
    /// `HEALTHCHECK`
    Healthcheck = "HEALTHCHECK",
    /// `LABEL`
    Label = "LABEL",
    /// `MAINTAINER`
    Maintainer = "MAINTAINER",
    /// `ONBUILD`
    Onbuild = "ONBUILD",
    /// `RUN`
    Run = "RUN",
    /// `SHELL`
    Shell = "SHELL",
    /// `STOPSIGNAL`
    Stopsignal = "STOPSIGNAL",
    /// `USER`
    User = "USER",
    /// `VOLUME`
    Volume = "VOLUME",
    /// `WORKDIR`
    Workdir = "WORKDIR",
}

impl Keyword {
    /// Reads a keyword in any case.
    pub fn from_text(text: &str) -> Option<Keyword> {
        Keyword::from_upper(&to_lower(text).to_ascii_uppercase())
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
