//! What commands can read of the builder's own, told before the first of them runs.

use super::options::{CredentialSource, RegistryAccess};
use super::session::Session;
use crate::registry::{AmbientCredentials, credential_file};
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
    let access = &session.options.registry;
    for text in warning(access).into_iter().chain(identity_warning(&access.ambient)) {
        session.events.send(Event::Warning { text });
    }
}

/// Warns of a file that says who the container is to a cloud.
fn identity_warning(ambient: &AmbientCredentials) -> Option<String> {
    let file = ambient.files().into_iter().find(|file| file.is_file())?;
    Some(format!(
        "every RUN can read the identity in `{}`, because the build is in `/` of the same container; \
         give it to a broker in another container instead (docs/kubernetes.md tells more)",
        file.display()
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_an_identity_is_named_if_it_is_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("key.json");
        let mut ambient = AmbientCredentials::default();
        ambient.aws.shared.credentials = Some(directory.path().join("missing"));
        ambient.google.credentials = Some(file.clone());
        assert_eq!(identity_warning(&ambient), None);
        std::fs::write(&file, "{}").expect("a file");
        let text = identity_warning(&ambient).expect("a warning");
        let start = format!("every RUN can read the identity in `{}`, because", file.display());
        assert!(text.starts_with(&start), "{text}");
    }
}
