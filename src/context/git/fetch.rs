//! From a repository's URL to the objects of one commit: handshake, references, one pack.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use gix_hash::{Kind, ObjectId};
use gix_protocol::fetch::negotiate::{Action, Round, one_round};
use gix_protocol::fetch::{self, Arguments, Context, Negotiate, Options, Shallow, Tags};
use gix_protocol::handshake::Ref;
use gix_protocol::ls_refs::RefPrefixes;
use gix_protocol::{Handshake, LsRefsCommand};
use gix_transport::client::blocking_io::http::{Transport, connect_http};
use gix_transport::{Protocol, Service};
use gix_utils::progress::Discard;
use url::Url;

use super::error::{GitError, innermost};
use super::objects::Objects;
use super::wire::{Trouble, Wire};
use super::{Depth, Job, Reference, Wanted};

/// Largest object that is read: of one that is stored as a difference, all of it is in memory.
const OBJECT_BYTES: usize = 1 << 30;

/// What was fetched.
pub(super) struct Fetched {
    /// The commit.
    pub(super) commit: ObjectId,
    /// What the reference names: the commit, or an annotated tag that leads to it.
    pub(super) named: ObjectId,
    /// The reference that it was found by, in full.
    pub(super) reference: Option<String>,
    /// Everything that the commit is made of.
    pub(super) objects: Objects,
}

type Connection = Transport<Wire>;

/// A commit to fetch, and the reference that leads to it.
struct Target {
    id: ObjectId,
    /// What the reference names: the commit, or an annotated tag that leads to it.
    named: ObjectId,
    reference: Option<String>,
}

/// Fetches what is wanted into the directory `packs`.
pub(super) fn fetch(
    job: &Job<'_>,
    url: &Url,
    wanted: &Wanted,
    packs: &Path,
) -> Result<Fetched, GitError> {
    Session::open(job, url)?.fetch(wanted, packs)
}

/// Asks what a reference names, and fetches nothing.
pub(super) fn resolve(
    job: &Job<'_>,
    url: &Url,
    reference: Option<&Reference>,
) -> Result<ObjectId, GitError> {
    let mut session = Session::open(job, url)?;
    let mut handshake = session.greet()?;
    Ok(session.find(&mut handshake, reference)?.id)
}

/// Says what the network or the server had to say, or else `gix`.
fn protocol(trouble: &Trouble, error: &gix_error::Error) -> GitError {
    trouble.take().unwrap_or_else(|| GitError::Protocol { reason: innermost(error) })
}

struct Session {
    connection: Connection,
    trouble: Trouble,
    depth: Depth,
}

impl Session {
    fn protocol(&self, error: &gix_error::Error) -> GitError {
        protocol(&self.trouble, error)
    }

    fn open(job: &Job<'_>, url: &Url) -> Result<Self, GitError> {
        let wire = Wire::new(job, url)?;
        let trouble = wire.trouble.clone();
        let address = url.as_str().try_into();
        let address = address.map_err(|error: gix_error::Error| protocol(&trouble, &error))?;
        let connection = connect_http(wire, address, Protocol::V2, false);
        Ok(Self { connection, trouble, depth: job.source.depth })
    }

    fn greet(&mut self) -> Result<Handshake, GitError> {
        // Credentials were given before anyone asked, or not at all.
        let handshake = gix_protocol::handshake(
            &mut self.connection,
            Service::UploadPack,
            |_| Ok(None),
            Vec::new(),
            &mut Discard,
        );
        handshake.map_err(|error| self.protocol(&error))
    }

    fn fetch(&mut self, wanted: &Wanted, packs: &Path) -> Result<Fetched, GitError> {
        let mut handshake = self.greet()?;
        let is_new = handshake.server_protocol_version == Protocol::V2;
        let target = match (&wanted.commit, is_new) {
            // Servers of the second version give any commit that they have.
            (Some(commit), true) => {
                let id = parse(commit)?;
                Target { id, named: id, reference: None }
            }
            (Some(commit), false) => return self.old_commit(&mut handshake, commit, wanted, packs),
            (None, _) => self.find(&mut handshake, wanted.reference.as_ref())?,
        };
        let depth = self.depth;
        let fetched = self.objects(&mut handshake, &[target.id], depth, packs);
        let objects = fetched.map_err(|error| not_there(error, wanted))?;
        let commit = objects.commit(target.id)?;
        Ok(Fetched { commit, named: target.named, reference: target.reference, objects })
    }

    /// Servers of the first version give what a reference names: all of its history is looked
    /// through.
    fn old_commit(
        &mut self,
        handshake: &mut Handshake,
        commit: &str,
        wanted: &Wanted,
        packs: &Path,
    ) -> Result<Fetched, GitError> {
        let id = parse(commit)?;
        let tips: Vec<ObjectId> = match &wanted.reference {
            Some(reference) => vec![self.find(handshake, Some(reference))?.id],
            None => {
                let refs = handshake.refs.iter().flatten().map(known);
                refs.filter(|(name, _)| name.starts_with("refs/heads/"))
                    .filter_map(|(_, id)| id)
                    .collect()
            }
        };
        let objects = self.objects(handshake, &tips, Depth::Everything, packs)?;
        if !objects.has(id) {
            return Err(GitError::NoCommit { commit: commit.to_owned() });
        }
        Ok(Fetched { commit: objects.commit(id)?, named: id, reference: None, objects })
    }

    /// Asks for references until one fits.
    fn find(
        &mut self,
        handshake: &mut Handshake,
        reference: Option<&Reference>,
    ) -> Result<Target, GitError> {
        let names = candidates(reference);
        let refs = match handshake.refs.take() {
            Some(refs) => refs,
            None => {
                let mut prefixes = RefPrefixes::new();
                prefixes.extend(names.iter().map(|name| name.as_str().into()));
                let agent = ("agent", Some(gix_protocol::agent(AGENT)));
                let command = LsRefsCommand::new(Some(prefixes), &handshake.capabilities, agent);
                let listed = command.invoke_blocking(&mut self.connection, &mut Discard, false);
                listed.map_err(|error| self.protocol(&error))?
            }
        };
        let found = names.iter().find_map(|name| {
            let found = refs.iter().find(|one| known(one).0 == *name)?;
            let id = known(found).1?;
            let reference = match found {
                Ref::Symbolic { target, .. } => target.to_string(),
                _ => name.clone(),
            };
            let named = match found {
                Ref::Peeled { tag, .. } => *tag,
                Ref::Direct { .. } | Ref::Symbolic { .. } | Ref::Unborn { .. } => id,
            };
            Some(Target { id, named, reference: Some(reference) })
        });
        found.ok_or_else(|| match reference {
            Some(Reference::Any(name)) => GitError::NoReference { name: name.clone() },
            Some(Reference::BranchOrTag(name)) => GitError::NoBranch { name: name.clone() },
            None => GitError::NoDefault,
        })
    }

    /// Fetches commits with everything that they are made of.
    fn objects(
        &mut self,
        handshake: &mut Handshake,
        wants: &[ObjectId],
        depth: Depth,
        packs: &Path,
    ) -> Result<Objects, GitError> {
        let shallow = match depth {
            Depth::Everything => Shallow::NoChange,
            Depth::Commits(commits) => {
                let commits =
                    std::num::NonZeroU32::new(commits).unwrap_or(std::num::NonZeroU32::MIN);
                Shallow::DepthAtRemote(commits)
            }
        };
        let never = AtomicBool::new(false);
        let mut written = None;
        let options = gix_pack::bundle::write::Options {
            thread_limit: Some(1),
            alloc_limit_bytes: Some(OBJECT_BYTES),
            ..gix_pack::bundle::write::Options::default()
        };
        let fetched = gix_protocol::fetch(
            &mut Everything { wants },
            |pack, progress, interrupt| {
                written = Some(gix_pack::Bundle::write_to_directory(
                    pack,
                    Some(packs),
                    progress,
                    interrupt,
                    None::<gix_object::find::Never>,
                    Kind::Sha1,
                    options,
                )?);
                Ok(true)
            },
            Discard,
            &never,
            Context {
                handshake,
                transport: &mut self.connection,
                user_agent: ("agent", Some(gix_protocol::agent(AGENT))),
                trace_packetlines: false,
            },
            Options {
                // Moved to its place later.
                shallow_file: packs.join(SHALLOW),
                shallow: &shallow,
                tags: Tags::None,
                reject_shallow_remote: false,
            },
        );
        fetched.map_err(|error| self.protocol(&error))?;
        let index = written.and_then(|written| written.index_path);
        let index =
            index.ok_or_else(|| GitError::Protocol { reason: "no pack came".to_owned() })?;
        Objects::open(&index)
    }
}

/// The list of commits without parents, for as long as it is beside the packs.
pub(super) const SHALLOW: &str = "shallow";

/// How we call ourselves.
const AGENT: &str = concat!("zuwai/", env!("CARGO_PKG_VERSION"));

/// Tells a commit that the server does not have from everything else.
fn not_there(error: GitError, wanted: &Wanted) -> GitError {
    match (&wanted.commit, &error) {
        (Some(commit), GitError::Protocol { reason })
            if reason.contains("not our ref") || reason.contains("unadvertised object") =>
        {
            GitError::NoCommit { commit: commit.clone() }
        }
        _ => error,
    }
}

fn parse(commit: &str) -> Result<ObjectId, GitError> {
    ObjectId::from_hex(commit.as_bytes())
        .map_err(|_| GitError::NoCommit { commit: commit.to_owned() })
}

/// Returns a reference's name, and what it names.
fn known(reference: &Ref) -> (String, Option<ObjectId>) {
    match reference {
        Ref::Peeled { full_ref_name, object, .. }
        | Ref::Direct { full_ref_name, object }
        | Ref::Symbolic { full_ref_name, object, .. } => (full_ref_name.to_string(), Some(*object)),
        Ref::Unborn { full_ref_name, .. } => (full_ref_name.to_string(), None),
    }
}

/// Returns the full names that are meant, best first: as `git fetch` looks them up.
fn candidates(reference: Option<&Reference>) -> Vec<String> {
    match reference {
        None => vec!["HEAD".to_owned()],
        Some(Reference::Any(name)) => ["", "refs/", "refs/tags/", "refs/heads/"]
            .iter()
            .map(|prefix| format!("{prefix}{name}"))
            .collect(),
        Some(Reference::BranchOrTag(name)) => {
            vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")]
        }
    }
}

/// Wants everything and has nothing.
struct Everything<'a> {
    wants: &'a [ObjectId],
}

impl Negotiate for Everything<'_> {
    fn mark_complete_and_common_ref(&mut self) -> gix_error::Result<Action> {
        Ok(Action::MustNegotiate { remote_ref_target_known: vec![false; self.wants.len()] })
    }

    fn add_wants(&mut self, arguments: &mut Arguments, _known: &[bool]) -> bool {
        self.wants.iter().for_each(|id| arguments.want(id));
        !self.wants.is_empty()
    }

    fn one_round(
        &mut self,
        _state: &mut one_round::State,
        _arguments: &mut Arguments,
        _previous: Option<&fetch::Response>,
    ) -> gix_error::Result<(Round, bool)> {
        let round = Round {
            haves_sent: 0,
            in_vain: 0,
            haves_to_send: 0,
            previous_response_had_at_least_one_in_common: false,
        };
        Ok((round, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_looked_up_as_git_does() {
        let any = |name: &str| candidates(Some(&Reference::Any(name.to_owned())));
        assert_eq!(any("main"), ["main", "refs/main", "refs/tags/main", "refs/heads/main"]);
        assert_eq!(any("refs/pull/1/head")[0], "refs/pull/1/head");
        let branch = Reference::BranchOrTag("v1".to_owned());
        assert_eq!(candidates(Some(&branch)), ["refs/heads/v1", "refs/tags/v1"]);
        assert_eq!(candidates(None), ["HEAD"]);
    }
}
