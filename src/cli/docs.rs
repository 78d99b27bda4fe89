//! The generated parts of the docs: `docs/flags.md`, and the tables of `docs/compatibility.md`.
//!
//! Made from clap's definitions and the table in `flags`, so that they cannot fall behind.

use super::args::{
    self, BrokerArgs, BuildArgs, CacheListArgs, CachePruneArgs, ComparisonArgs, FlagSet, WarmerArgs,
};
use super::flags::{Flag, Origin, Support};
use super::spelling::OldName;
use super::variables::VARIABLES;

/// Returns `docs/flags.md`.
pub fn flags() -> String {
    let mut page = String::from(
        "# Flags\n\n\
         Written by `hack/docs.sh` from the program's own definitions; do not edit.\n\n\
         Values follow a space or `=`. A flag with `[=BOOL]` is true when it stands alone and takes \
         Go's words for true and false after `=`. Of a flag given several times the last one \
         counts, unless it is repeatable. How each compares with kaniko's is in \
         [compatibility.md](compatibility.md).\n",
    );
    page.push_str("\n## `zuwai build`, `executor`\n");
    section::<BuildArgs>(&mut page);
    page.push_str("\n## `zuwai warm`, `warmer`\n");
    section::<WarmerArgs>(&mut page);
    page.push_str(
        "\n## `zuwai plan`, `zuwai doctor`\n\nThe flags of `zuwai build`: they say which build is \
         meant. `doctor` looks at those that say where and how commands run and changes are found, \
         and prints JSON with `--log-format=json`. With `--registry=IMAGE`, repeatable, it asks the \
         image's registry instead: which credentials are used there, where else they were looked \
         for, and whether the image can be pulled and pushed; it exits with 0 when either can.\n",
    );
    page.push_str("\n## `zuwai broker`\n");
    section::<BrokerArgs>(&mut page);
    page.push_str(
        "\n## `zuwai cache ls`\n\nPrints JSON with `--log-format=json`, as `zuwai cache prune` \
         does.\n",
    );
    section::<CacheListArgs>(&mut page);
    page.push_str("\n## `zuwai cache prune`\n");
    section::<CachePruneArgs>(&mut page);
    page.push_str(
        "\n## `zuwai compare-modes`\n\nThe flags of `zuwai build` hold for each build that it \
         makes, but for those that the comparison decides. \
         [compare-modes.md](compare-modes.md) tells the rest.\n",
    );
    section::<ComparisonArgs>(&mut page);
    page
}

fn section<A: FlagSet>(page: &mut String) {
    let mut heading = None;
    for arg in args::command::<A>().get_arguments().filter(|arg| arg.get_long().is_some()) {
        let topic = arg.get_help_heading().map(str::to_owned);
        if topic != heading {
            page.push_str(&format!("\n### {}\n", topic.as_deref().unwrap_or("Other")));
            heading = topic;
        }
        entry::<A>(page, arg);
    }
}

fn entry<A: FlagSet>(page: &mut String, arg: &clap::Arg) {
    let name = arg.get_long().unwrap_or_default();
    let value = arg.get_value_names().unwrap_or_default().join(" ");
    let shape = match args::is_switch(arg) {
        true => format!("--{name}[={value}]"),
        false => format!("--{name} {value}"),
    };
    let short = arg.get_short().map(|short| format!(", `-{short}`")).unwrap_or_default();
    page.push_str(&format!("\n#### `{shape}`{short}\n\n"));
    let text = arg.get_long_help().or(arg.get_help()).map(ToString::to_string);
    page.push_str(&sentence(&text.unwrap_or_default()));
    page.push('\n');
    let default: Vec<String> = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .filter(|value| !value.is_empty())
        .collect();
    if !default.is_empty() {
        page.push_str(&format!("\nDefault: `{}`\n", default.join(" ")));
    }
    for old in A::OLD_NAMES.iter().filter(|old| old.successor == name) {
        page.push_str(&format!("\n{}\n", old_name(old)));
    }
}

fn old_name(old: &OldName) -> String {
    match old.notice {
        super::spelling::Notice::Warn => format!("Deprecated name: `--{}`", old.name),
        super::spelling::Notice::Silent => format!("Also: `--{}`", old.name),
    }
}

/// Ends the first line of a help text, which has no full stop, like a sentence.
fn sentence(text: &str) -> String {
    match text.split_once("\n\n") {
        Some((first, rest)) => format!("{first}.\n\n{rest}"),
        None => format!("{text}."),
    }
}

/// Returns the generated tables of `docs/compatibility.md`.
pub fn compatibility() -> String {
    let mut page = String::new();
    page.push_str("### Flags of `executor` and `zuwai build`\n\n");
    table(&mut page, BuildArgs::FLAGS);
    page.push_str("\n### Flags of `warmer` and `zuwai warm`\n\n");
    table(&mut page, WarmerArgs::FLAGS);
    page.push_str("\n### Deprecated names\n\n| name | successor |\n|---|---|\n");
    for old in BuildArgs::OLD_NAMES.iter() {
        page.push_str(&format!("| `--{}` | `--{}` |\n", old.name, old.successor));
    }
    page.push_str(
        "\n### Environment variables\n\n| variable | class | what it does |\n|---|---|---|\n",
    );
    for variable in VARIABLES {
        let why = match variable.support {
            Support::ByDesign(why) => format!(": {why}"),
            Support::Works | Support::NotYet => String::new(),
        };
        page.push_str(&format!(
            "| `{}` | {} | {}{why} |\n",
            variable.name,
            variable.support.name(),
            variable.effect
        ));
    }
    page
}

fn table(page: &mut String, flags: &[Flag]) {
    page.push_str("| flag | class | different from kaniko |\n|---|---|---|\n");
    for flag in flags {
        let difference = match (flag.origin, flag.support) {
            (Origin::Zuwai, _) => "kaniko has no such flag",
            (Origin::Kaniko, Support::ByDesign(why)) => why,
            (Origin::Kaniko, Support::Works | Support::NotYet) => flag.difference,
        };
        page.push_str(&format!(
            "| `--{}` | {} | {} |\n",
            flag.name,
            flag.support.name(),
            difference
        ));
    }
}
