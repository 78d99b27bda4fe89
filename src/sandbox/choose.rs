//! Which form of sandbox a build uses: found by trying, in a fixed order.

use std::path::Path;

use super::container::{self, Sign};
use super::{Form, Overwrite, Sandbox, SandboxError, SandboxOptions};
use super::{in_place, probe, user_namespace};

pub(super) fn choose(options: SandboxOptions) -> Result<Sandbox, SandboxError> {
    let is_root = rustix::process::geteuid().is_root();
    match options.form {
        Some(Form::Namespaces) => namespaces(options, "asked for".to_owned()),
        Some(Form::UserNamespace) => user_namespace(options, "asked for".to_owned()),
        Some(Form::InPlace) => take_place(options, None),
        None if is_root => match probe::namespaces(&options.supervisor) {
            Ok(()) => {
                let reason = "namespaces can be made".to_owned();
                Ok(sandbox(options, Form::Namespaces, reason))
            }
            Err(refused @ SandboxError::NoNamespaces { .. }) => take_place(options, Some(refused)),
            Err(error) => Err(error),
        },
        None => {
            let uid = rustix::process::geteuid().as_raw();
            user_namespace(options, format!("started as user {uid}"))
        }
    }
}

fn namespaces(options: SandboxOptions, reason: String) -> Result<Sandbox, SandboxError> {
    probe::namespaces(&options.supervisor)?;
    Ok(sandbox(options, Form::Namespaces, reason))
}

fn user_namespace(options: SandboxOptions, reason: String) -> Result<Sandbox, SandboxError> {
    become_root_of_user_namespace(&options.supervisor)?;
    Ok(sandbox(options, Form::UserNamespace, reason))
}

/// Puts this process into a user namespace, and tries what a RUN needs in there.
pub(super) fn become_root_of_user_namespace(supervisor: &Path) -> Result<(), SandboxError> {
    user_namespace::enter(supervisor)?;
    // Namespaces that can be made need not allow mounts: Ubuntu's AppArmor takes the rights away
    // only then.
    match probe::namespaces(supervisor) {
        Err(SandboxError::NoNamespaces { source, .. }) => {
            Err(SandboxError::NoUserNamespace { obstacle: user_namespace::obstacle(), source })
        }
        outcome => outcome,
    }
}

/// Takes the root that is there, if it may be taken.
fn take_place(
    options: SandboxOptions,
    refused: Option<SandboxError>,
) -> Result<Sandbox, SandboxError> {
    if !rustix::process::geteuid().is_root() {
        return Err(SandboxError::NotRoot);
    }
    let signs = container::signs(options.surroundings);
    let mut warning = None;
    if signs.is_empty() {
        let overwritten = in_place::overwritten()?;
        if options.overwrite == Overwrite::Refused {
            return Err(SandboxError::NotAContainer { overwritten, source: refused.map(Box::new) });
        }
        warning = Some(format!(
            "this is not a container: the build overwrites files in {}",
            overwritten.join(", ")
        ));
    }
    let why = match &refused {
        Some(SandboxError::NoNamespaces { action, source }) => {
            format!("cannot {action}: {source}")
        }
        Some(_) | None => "asked for".to_owned(),
    };
    let reason = format!("{}; {why}", describe(&signs));
    Ok(Sandbox { warning, ..sandbox(options, Form::InPlace, reason) })
}

fn describe(signs: &[Sign]) -> String {
    match signs {
        [] => "not a container, but forced".to_owned(),
        signs => {
            let signs: Vec<String> = signs.iter().map(Sign::to_string).collect();
            format!("a container ({})", signs.join(", "))
        }
    }
}

fn sandbox(options: SandboxOptions, form: Form, reason: String) -> Sandbox {
    let SandboxOptions { supervisor, host_files, grace, .. } = options;
    Sandbox { form, supervisor, host_files, grace, reason, warning: None, interrupt: None }
}
