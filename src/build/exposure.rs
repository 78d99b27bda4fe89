//! What commands can read of the builder's own, told before the first of them runs.

use super::options::{CredentialSource, RegistryAccess};
use super::session::Session;
use crate::registry::credential_file;
use crate::report::event::Event;
use crate::sandbox::{Form, Sandbox};

/// Warns of registry credentials in a file that commands can open, which they can where they share
/// the builder's root: hiding the process does not hide files, and a mounted Secret cannot be
/// removed.
pub(super) fn warn(session: &Session<'_>, sandbox: &Sandbox) {
    let has_own_root = match sandbox.form() {
        Form::Namespaces | Form::UserNamespace => true,
        Form::InPlace => false,
    };
    if has_own_root {
        return;
    }
    if let Some(text) = warning(&session.options.registry) {
        session.events.send(Event::Warning { text });
    }
}

fn warning(access: &RegistryAccess) -> Option<String> {
    let file = credential_file(&access.credential_directories)?;
    let advice = match access.credentials {
        CredentialSource::Files => {
            "give them with `--registry-auth-stdin` instead of mounting them"
        }
        CredentialSource::Descriptor(_) | CredentialSource::Broker(_) => {
            "this build does not use them, so do not mount them"
        }
    };
    Some(format!(
        "every RUN can read the registry credentials in `{}`, because the build is in `/` of the \
         same container; {advice} (docs/kubernetes.md tells more)",
        file.display()
    ))
}
