//! Bringing the input tree to where the sandbox can have it as its root.

use std::path::{Path, PathBuf};

use forerunner_merkle::{Digest, Forest};
use forerunner_reapi::Endpoint;
use forerunner_store::{Hold, Store};

use crate::failure::Failure;
use crate::plan::{Root, Subtree};
use crate::scratch::Scratch;
use crate::settings::Settings;
use crate::staging_mode::StagingMode;

mod copy;
mod local_cas;
mod plain;
mod properties;
mod read_only;

use local_cas::Lease;

/// A staged tree. Dropped, it is gone.
pub(crate) struct Staged {
    /// What the sandbox takes as its root.
    pub(crate) root: Root,
    /// How it came there, for the log.
    pub(crate) how: &'static str,
    /// Where it may not be written to, and where it may again. A server sees to that itself.
    pub(crate) subtrees: Vec<Subtree>,
    lease: Option<Lease>,
    _hold: Option<Hold>,
}

/// How long a server may take to remove a tree.
const REMOVAL: std::time::Duration = std::time::Duration::from_secs(60);

impl Staged {
    /// Removes the tree, and waits for that: it may be in a folder of ours.
    pub(crate) async fn end(mut self) {
        if let Some(lease) = self.lease.take() {
            let _ = tokio::time::timeout(REMOVAL, lease.end()).await;
        }
    }
}

/// What staging works with.
pub(crate) struct Stager<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) settings: &'a Settings,
    pub(crate) forest: &'a mut Forest,
    pub(crate) scratch: &'a Scratch,
}

impl Stager<'_> {
    /// Stages the tree `root`, in the cheapest way that the endpoint allows.
    ///
    /// # Errors
    /// If a part of the tree is missing, or it cannot be written.
    pub(crate) async fn stage(&mut self, root: &Digest) -> Result<Staged, Failure> {
        if let Some(store) = self.endpoint.store()
            && self.settings.workspace.is_none()
        {
            return self.overlay(&store.clone(), root).await;
        }
        if self.settings.local_cas {
            let made = self.forest.take_made();
            if !made.is_empty() {
                let blobs = made
                    .into_iter()
                    .map(|(digest, bytes)| (digest, forerunner_reapi::Content::Bytes(bytes)));
                self.endpoint.upload(blobs.collect()).await?;
            }
            let mode = self.settings.staging;
            if let Some((path, lease)) = self.lease(root, mode).await? {
                return Ok(Staged {
                    root: Root::Directory(path),
                    how: "by the server",
                    subtrees: Vec::new(),
                    lease: Some(lease),
                    _hold: None,
                });
            }
        }
        self.copy(root).await
    }

    /// Stages by copies, which nothing can refuse.
    ///
    /// # Errors
    /// If a part of the tree is missing, or it cannot be written.
    pub(crate) async fn copy(&mut self, root: &Digest) -> Result<Staged, Failure> {
        self.know(root).await?;
        let hold = match self.endpoint.store() {
            Some(store) => Some(store.hold()?),
            None => None,
        };
        let path = self.scratch.path().join("copy");
        copy::copy(self.endpoint, self.forest, root, &path).await?;
        Ok(Staged {
            root: Root::Directory(text(&path)?),
            how: "by copies",
            subtrees: read_only::subtrees(self.forest, root)?,
            lease: None,
            _hold: hold,
        })
    }

    async fn lease(
        &self,
        root: &Digest,
        mode: StagingMode,
    ) -> Result<Option<(String, Lease)>, Failure> {
        let folder = self.settings.workspace.as_ref().map(|_| self.scratch.path().join("staged"));
        let folder = folder.as_deref().map(text).transpose()?;
        local_cas::stage(self.endpoint, root, mode, folder.unwrap_or_default()).await
    }

    /// Hard links to the store's blobs below, everything that is written above.
    async fn overlay(&mut self, store: &Store, root: &Digest) -> Result<Staged, Failure> {
        let hold = store.hold()?;
        let (lower, plain) = self.lower(store, root).await?;
        let upper = self.scratch.path().join("upper");
        let work = self.scratch.path().join("work");
        for path in [&upper, &work] {
            std::fs::create_dir(path).map_err(Failure::file("make", path))?;
        }
        let subtrees = match plain {
            true => Vec::new(),
            false => read_only::subtrees(self.forest, root)?,
        };
        properties::apply_above(store, self.forest, root, &upper, plain)?;
        Ok(Staged {
            root: Root::Overlay { lower: text(&lower)?, upper: text(&upper)?, work: text(&work)? },
            how: "by an overlay on the store",
            subtrees,
            lease: None,
            _hold: Some(hold),
        })
    }

    /// The store's tree of `root`, and whether no node of it has properties of its own. When the
    /// tree is there from an earlier time and known to be plain, nothing of it is read.
    async fn lower(&mut self, store: &Store, root: &Digest) -> Result<(PathBuf, bool), Failure> {
        if let Ok(lower) = store.tree(&Forest::new(store.function()), root)
            && plain::is_marked(&lower)
        {
            return Ok((lower, true));
        }
        self.know(root).await?;
        let lower = store.tree(self.forest, root)?;
        let plain = !properties::are_set(self.forest, root);
        if plain {
            plain::mark(&lower);
        }
        Ok((lower, plain))
    }

    async fn know(&mut self, root: &Digest) -> Result<(), Failure> {
        Ok(self.endpoint.load(self.forest, &[*root]).await?)
    }
}

/// Paths of ours go into a plan as text.
fn text(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let error = std::io::Error::other("the path is not UTF-8");
        Failure::File { verb: "use", path: PathBuf::from(path), error }
    })
}
