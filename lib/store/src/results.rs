//! Action results.
//!
//! The file is one line `forerunner-result 1 ACTION CONTENT` with both digests, then the message.
//! A torn or foreign one does not match its line, and is as good as none.

use std::fs::File;
use std::io::{self, Read};

use forerunner_merkle::{Digest, Directory};
use forerunner_proto::{Message, reapi};

use crate::{Store, StoreError};

const LABEL: &str = "forerunner-result 1";

impl Store {
    /// The encoded ActionResult of an action; `None` if there is none, or if an output that it
    /// names is not in the store any more. Counts as a use of the result and its outputs.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn action_result(&self, action: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.layout().result(self.function, action);
        for _ in 0..4 {
            let Some((file, result)) = self.read_result(action)? else {
                return Ok(None);
            };
            if !self.is_complete(&result)? {
                return Ok(None);
            }
            let metadata = file.metadata().map_err(self.failed("read", &path))?;
            if self.record_use(&file, &path, &metadata) {
                return Ok(Some(result));
            }
        }
        Ok(None)
    }

    /// Puts the encoded ActionResult of an action.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put_action_result(&self, action: &Digest, result: &[u8]) -> Result<(), StoreError> {
        let mut content = header(action, &self.function.digest(result)).into_bytes();
        content.extend_from_slice(result);
        self.write_whole(&self.layout().result(self.function, action), &content)?;
        self.count_added(content.len() as u64);
        Ok(())
    }

    /// The result as it is stored, whether its outputs are there or not.
    pub(crate) fn read_result(
        &self,
        action: &Digest,
    ) -> Result<Option<(File, Vec<u8>)>, StoreError> {
        let path = self.layout().result(self.function, action);
        let mut file = match Self::open_unused(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io(self.root(), "read", &path, error)),
        };
        let mut content = Vec::new();
        match file.read_to_end(&mut content) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Ok(None),
            Err(error) => return Err(StoreError::io(self.root(), "read", &path, error)),
        }
        let Some(end) = content.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let result = content.split_off(end + 1);
        let expected = header(action, &self.function.digest(&result));
        Ok((content == expected.as_bytes()).then_some((file, result)))
    }

    /// Whether every output of a result is there; a result that is no message is not complete.
    pub(crate) fn is_complete(&self, result: &[u8]) -> Result<bool, StoreError> {
        let Ok(result) = reapi::ActionResult::decode(result) else {
            return Ok(false);
        };
        let files = result.output_files.iter().map(|file| file.digest.as_ref());
        for digest in files.chain([result.stdout_digest.as_ref(), result.stderr_digest.as_ref()]) {
            // Standard output may be missing; an output file without a digest is empty or inline.
            let Some(digest) = digest else { continue };
            if !self.contains_message(digest)? {
                return Ok(false);
            }
        }
        for directory in &result.output_directories {
            if let Some(digest) = &directory.tree_digest
                && !self.contains_tree(digest)?
            {
                return Ok(false);
            }
            if let Some(digest) = &directory.root_directory_digest
                && !self.contains_directory(digest, directory.tree_digest.is_some())?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn contains_message(&self, digest: &reapi::Digest) -> Result<bool, StoreError> {
        Digest::from_proto(digest).map_or(Ok(false), |digest| self.contains(&digest))
    }

    fn contains_tree(&self, digest: &reapi::Digest) -> Result<bool, StoreError> {
        let Some(tree) = self.message::<reapi::Tree>(digest)? else {
            return Ok(false);
        };
        for directory in tree.root.iter().chain(&tree.children) {
            for file in &directory.files {
                if let Some(digest) = &file.digest
                    && !self.contains_message(digest)?
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// `files_known`: a Tree has already shown that the files are there.
    fn contains_directory(
        &self,
        digest: &reapi::Digest,
        files_known: bool,
    ) -> Result<bool, StoreError> {
        let Ok(root) = Digest::from_proto(digest) else {
            return Ok(false);
        };
        let mut seen = std::collections::HashSet::new();
        let mut stack = vec![root];
        while let Some(digest) = stack.pop() {
            if !seen.insert(digest) {
                continue;
            }
            let Some(directory) =
                self.get(&digest)?.and_then(|bytes| Directory::decode(&bytes).ok())
            else {
                return Ok(false);
            };
            stack.extend(directory.directories().iter().map(|(_, child)| *child));
            if files_known {
                continue;
            }
            for (_, file) in directory.files() {
                if !self.contains(&file.digest)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn message<M: Message + Default>(
        &self,
        digest: &reapi::Digest,
    ) -> Result<Option<M>, StoreError> {
        let Ok(digest) = Digest::from_proto(digest) else {
            return Ok(None);
        };
        Ok(self.get(&digest)?.and_then(|bytes| M::decode(bytes.as_slice()).ok()))
    }
}

fn header(action: &Digest, content: &Digest) -> String {
    format!("{LABEL} {action} {content}\n")
}
