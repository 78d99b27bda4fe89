//! Flags that say where a build comes from.

use clap::{ArgAction, Args};
use serde::Serialize;

use super::value::GitOption;

/// The context of a build that names none: where pipelines mount it.
pub const DEFAULT_CONTEXT: &str = "/workspace/";

/// Where the context and the Dockerfile are.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SourceArgs {
    /// Directory or archive with the files of the build
    ///
    /// A path or `dir://PATH` is used in place. Archives are unpacked first: `tar://FILE`,
    /// `tar://stdin`, `s3://BUCKET/KEY`, `gs://BUCKET/PATH`,
    /// `https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB` or any other `https://` URL; plain
    /// tar, gzip, zstd, bzip2 or xz, told apart by content. `git://HOST/REPOSITORY` is fetched by
    /// https; `#REFERENCE`, `#COMMIT`, `#REFERENCE#COMMIT` or `#REFERENCE:DIRECTORY` may follow.
    /// docs/contexts.md says which credentials are used.
    #[arg(long, short = 'c', value_name = "CONTEXT", default_value = DEFAULT_CONTEXT)]
    pub context: String,

    /// Directory inside the context to use as its root
    ///
    /// Works for every kind of context. Must stay inside it.
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    pub context_sub_path: String,

    /// Bucket of Google Cloud Storage that holds the context
    ///
    /// Kept for old pipelines; `--context=gs://BUCKET/PATH` says the same.
    #[arg(
        long,
        short = 'b',
        value_name = "BUCKET",
        default_value = "",
        hide_default_value = true,
        hide = true
    )]
    pub bucket: String,

    /// Option for a git context, repeatable
    ///
    /// `branch=NAME`, `single-branch=BOOL`, `recurse-submodules=BOOL`, `insecure-skip-tls=BOOL` or
    /// `depth=COUNT` (0: all of the history), one for each time the flag is given.
    #[arg(long, value_name = "KEY=VALUE", action = ArgAction::Append)]
    pub git: Vec<GitOption>,

    /// File with the build's instructions
    ///
    /// Looked for from the current directory first, then inside the context. `-` reads standard
    /// input; an `http://` or `https://` URL is downloaded. A `.dockerignore` named after the file
    /// (`Dockerfile.dockerignore`) is used when it is beside it.
    #[arg(long, short = 'f', value_name = "PATH", default_value = "Dockerfile")]
    pub dockerfile: String,

    /// Secret for RUN --mount=type=secret, repeatable
    ///
    /// `id=NAME,src=FILE` or `id=NAME,env=VARIABLE`; with neither, the environment variable of that
    /// name if there is one, else the file. It is read when the build starts, and is in no layer,
    /// config or log.
    #[arg(long, value_name = "id=NAME[,src=FILE|,env=VARIABLE]", action = ArgAction::Append)]
    pub secret: Vec<String>,

    /// Named context for FROM and COPY --from, repeatable
    ///
    /// The value is a directory, `oci-layout://DIR[:TAG]` or `docker-image://REFERENCE`. It stands
    /// before a stage or an image of the same name.
    #[arg(long, value_name = "NAME=VALUE", action = ArgAction::Append)]
    pub build_context: Vec<String>,
}
