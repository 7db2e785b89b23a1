//! What element records refer to.

use std::collections::HashSet;
use std::path::Path;

use forerunner_merkle::{Digest, DigestFunction, Directory};
use forerunner_proto::{Message, reapi};

use crate::{Store, StoreError};

/// What must stay, of all functions.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    pub(crate) blobs: HashSet<(DigestFunction, Box<[u8]>)>,
    pub(crate) results: HashSet<(DigestFunction, Box<[u8]>)>,
}

impl Reached {
    pub(crate) fn has_blob(&self, function: DigestFunction, hash: &[u8]) -> bool {
        self.blobs.contains(&(function, hash.into()))
    }

    pub(crate) fn has_result(&self, function: DigestFunction, hash: &[u8]) -> bool {
        self.results.contains(&(function, hash.into()))
    }

    fn add_blob(&mut self, function: DigestFunction, digest: &Digest) -> bool {
        self.blobs.insert((function, digest.hash().into()))
    }

    fn add_result(&mut self, function: DigestFunction, digest: &Digest) -> bool {
        self.results.insert((function, digest.hash().into()))
    }
}

impl Store {
    /// Follows every pinned result. Each blob is read once; what is missing or malformed is left
    /// out, since nothing can be kept of it.
    pub(crate) fn reach(&self) -> Result<Reached, StoreError> {
        let mut reached = Reached::default();
        for function in DigestFunction::ALL {
            let store = self.with_function(function);
            for hex in fanned_names(&self.layout().pins(), function) {
                store.follow_pin(&hex, &mut reached)?;
            }
        }
        Ok(reached)
    }

    fn follow_pin(&self, hex: &str, reached: &mut Reached) -> Result<(), StoreError> {
        // The name of the file has no size; the first line of the result does.
        let Ok(nameless) = Digest::from_hex(hex, 0) else { return Ok(()) };
        reached.add_result(self.function, &nameless);
        let path = self.layout().result(self.function, &nameless);
        let Ok(content) = std::fs::read(&path) else { return Ok(()) };
        let Some(action) = action_of(&content) else { return Ok(()) };
        if action.hash() == nameless.hash() {
            self.follow_result(&action, reached)?;
        }
        Ok(())
    }

    fn follow_result(&self, action: &Digest, reached: &mut Reached) -> Result<(), StoreError> {
        let mut todo = vec![*action];
        let mut seen = HashSet::new();
        while let Some(action) = todo.pop() {
            if !seen.insert(action) {
                continue;
            }
            let Some((_, result)) = self.read_result(&action)? else { continue };
            reached.add_result(self.function, &action);
            let Ok(result) = reapi::ActionResult::decode(result.as_slice()) else { continue };
            self.follow_outputs(&result, reached)?;
            for subaction in result.subactions.iter().filter_map(parsed) {
                self.follow_action(&subaction, reached)?;
                todo.push(subaction);
            }
        }
        Ok(())
    }

    fn follow_outputs(
        &self,
        result: &reapi::ActionResult,
        reached: &mut Reached,
    ) -> Result<(), StoreError> {
        let files = result.output_files.iter().filter_map(|file| file.digest.as_ref());
        for digest in files.chain(&result.stdout_digest).chain(&result.stderr_digest) {
            if let Some(digest) = parsed(digest) {
                reached.add_blob(self.function, &digest);
            }
        }
        for directory in &result.output_directories {
            if let Some(digest) = directory.tree_digest.as_ref().and_then(parsed) {
                self.follow_tree(&digest, reached)?;
            }
            if let Some(digest) = directory.root_directory_digest.as_ref().and_then(parsed) {
                self.follow_directory(&digest, reached)?;
            }
        }
        Ok(())
    }

    fn follow_tree(&self, digest: &Digest, reached: &mut Reached) -> Result<(), StoreError> {
        if !reached.add_blob(self.function, digest) {
            return Ok(());
        }
        let Some(tree) = self.peek_message::<reapi::Tree>(digest)? else { return Ok(()) };
        for directory in tree.root.iter().chain(&tree.children) {
            for file in directory.files.iter().filter_map(|file| file.digest.as_ref()) {
                if let Some(digest) = parsed(file) {
                    reached.add_blob(self.function, &digest);
                }
            }
        }
        Ok(())
    }

    fn follow_action(&self, action: &Digest, reached: &mut Reached) -> Result<(), StoreError> {
        if !reached.add_blob(self.function, action) {
            return Ok(());
        }
        let Some(message) = self.peek_message::<reapi::Action>(action)? else { return Ok(()) };
        if let Some(command) = message.command_digest.as_ref().and_then(parsed) {
            reached.add_blob(self.function, &command);
        }
        if let Some(root) = message.input_root_digest.as_ref().and_then(parsed) {
            self.follow_directory(&root, reached)?;
        }
        Ok(())
    }

    fn follow_directory(&self, root: &Digest, reached: &mut Reached) -> Result<(), StoreError> {
        let mut stack = vec![*root];
        while let Some(digest) = stack.pop() {
            if !reached.add_blob(self.function, &digest) {
                continue;
            }
            let Some(content) = self.peek(&digest)? else { continue };
            let Ok(directory) = Directory::decode(&content) else { continue };
            for (_, file) in directory.files() {
                reached.add_blob(self.function, &file.digest);
            }
            stack.extend(directory.directories().iter().map(|(_, child)| *child));
        }
        Ok(())
    }

    fn peek_message<M: Message + Default>(&self, digest: &Digest) -> Result<Option<M>, StoreError> {
        Ok(self.peek(digest)?.and_then(|bytes| M::decode(bytes.as_slice()).ok()))
    }
}

fn parsed(digest: &reapi::Digest) -> Option<Digest> {
    Digest::from_proto(digest).ok()
}

/// The action that the first line of a stored result names.
pub(crate) fn action_of(content: &[u8]) -> Option<Digest> {
    let line = content.split(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line).ok()?.split(' ').nth(2)?.parse().ok()
}

/// The hashes, in hex, that stand below the folder of `function` in `base`.
pub(crate) fn fanned_names(base: &Path, function: DigestFunction) -> Vec<String> {
    let folder = base.join(function.name().to_ascii_lowercase());
    let mut names = Vec::new();
    for head in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        for tail in std::fs::read_dir(head.path()).into_iter().flatten().flatten() {
            if let (Some(head), Some(tail)) = (head.file_name().to_str(), tail.file_name().to_str())
            {
                names.push(format!("{head}{tail}"));
            }
        }
    }
    names
}
