//! What element records refer to.

use std::collections::HashSet;
use std::io::Read;

use forerunner_merkle::{Digest, DigestFunction, Directory};
use forerunner_proto::{Message, ours, reapi};

use crate::census::{Kind, Unit};
use crate::records::{EARLIER_RECORDS, whole_record};
use crate::{Store, StoreError};

/// The output of an element record that says where its inputs came from
/// (docs/element-record.md).
const RECORD: &str = "element-record";

/// A function and the beginning of a hash: enough to tell apart what is in a store, and a fraction
/// of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Id(DigestFunction, [u8; 16]);

impl Id {
    fn of(function: DigestFunction, digest: &Digest) -> Self {
        let mut head = [0; 16];
        // The shortest hash, MD5, has as many.
        head.iter_mut().zip(digest.hash()).for_each(|(to, from)| *to = *from);
        Self(function, head)
    }
}

/// What must stay, of all functions.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    blobs: HashSet<Id>,
    results: HashSet<Id>,
    /// Directories whose files are in `blobs`, and so is everything below them.
    complete: HashSet<Id>,
    /// What the record that is being followed added.
    new: Vec<(Kind, Id)>,
    /// The bytes of that.
    new_bytes: u64,
}

impl Reached {
    pub(crate) fn has(&self, unit: &Unit) -> bool {
        let id = Id::of(unit.function, &unit.digest);
        match unit.kind {
            Kind::Blob => self.blobs.contains(&id),
            Kind::Result => self.results.contains(&id),
            Kind::Tree => false,
        }
    }

    fn add_blob(&mut self, store: &Store, digest: &Digest) -> bool {
        let id = Id::of(store.function, digest);
        let new = self.blobs.insert(id);
        if new {
            self.new.push((Kind::Blob, id));
            self.new_bytes += store.bytes_of(Kind::Blob, store.function, digest);
        }
        new
    }

    fn add_result(&mut self, store: &Store, digest: &Digest) {
        let id = Id::of(store.function, digest);
        if self.results.insert(id) {
            self.new.push((Kind::Result, id));
            self.new_bytes += store.bytes_of(Kind::Result, store.function, digest);
        }
    }

    /// Keeps what was added since the last call if it has at most `room` bytes, and takes these from it;
    /// answers whether it did.
    fn settle(&mut self, room: &mut u64) -> bool {
        let new = std::mem::take(&mut self.new);
        let bytes = std::mem::take(&mut self.new_bytes);
        if let Some(left) = room.checked_sub(bytes) {
            *room = left;
            return true;
        }
        for (kind, id) in new {
            match kind {
                Kind::Result => self.results.remove(&id),
                _ => self.complete.remove(&id) | self.blobs.remove(&id),
            };
        }
        false
    }
}

impl Store {
    /// Follows the pinned results, those that were used last first, as long as all that they refer
    /// to has at most `room` bytes; one that is too large is left out. Each blob is read once; what
    /// is missing or malformed is left out, since nothing can be kept of it.
    pub(crate) fn reach(&self, room: u64) -> Result<Reached, StoreError> {
        let mut reached = Reached::default();
        let mut room = room;
        for pin in self.pinned() {
            self.with_function(pin.function).follow_pin(&pin.key, &mut reached, &mut room)?;
        }
        Ok(reached)
    }

    /// `nameless`: the name of the file has no size; the first line of the result does.
    fn follow_pin(
        &self,
        nameless: &Digest,
        reached: &mut Reached,
        room: &mut u64,
    ) -> Result<(), StoreError> {
        reached.add_result(self, nameless);
        let path = self.layout().result(self.function, nameless);
        let mut content = Vec::new();
        let read = Self::open_unused(&path).and_then(|mut file| file.read_to_end(&mut content));
        let action = action_of(&content).filter(|action| action.hash() == nameless.hash());
        let (Ok(_), Some(action)) = (read, action) else {
            reached.settle(room);
            return Ok(());
        };
        let records = self.records(&action)?;
        if records.is_empty() {
            self.follow_results(vec![action], reached)?;
            reached.settle(room);
            return Ok(());
        }
        // Without these no record is found. They are small.
        records.iter().for_each(|(digest, _)| {
            reached.add_blob(self, digest);
        });
        if !reached.settle(room) {
            return Ok(());
        }
        let sizes: Vec<(bool, usize)> =
            records.iter().map(|(_, record)| (record.partial, record.subactions.len())).collect();
        let base = whole_record(&sizes).unwrap_or(0);
        // What is newer than the one to start from may be that one later, when older ones are forgotten.
        for index in std::iter::once(base).chain(0..base) {
            self.follow_record(&records[index].1, reached)?;
            reached.settle(room);
        }
        Ok(())
    }

    /// The record that stands under `key`, and the earlier ones that it names: the newest first. None, if
    /// it is something else that is pinned.
    fn records(&self, key: &Digest) -> Result<Vec<(Digest, ours::ElementRecord)>, StoreError> {
        let mut records = Vec::new();
        let Some((_, result)) = self.read_result(key)? else { return Ok(records) };
        let Ok(result) = reapi::ActionResult::decode(result.as_slice()) else { return Ok(records) };
        let file = result.output_files.iter().find(|file| file.path == RECORD);
        let Some(newest) = file.and_then(|file| parsed(file.digest.as_ref()?)) else {
            return Ok(records);
        };
        let Some(message) = self.peek_message::<ours::ElementRecord>(&newest)? else {
            return Ok(records);
        };
        let earlier: Vec<Digest> =
            message.previous.iter().filter_map(parsed).take(EARLIER_RECORDS).collect();
        records.push((newest, message));
        for digest in earlier {
            if let Some(message) = self.peek_message(&digest)? {
                records.push((digest, message));
            }
        }
        Ok(records)
    }

    fn follow_record(
        &self,
        record: &ours::ElementRecord,
        reached: &mut Reached,
    ) -> Result<(), StoreError> {
        let subactions: Vec<Digest> = record.subactions.iter().filter_map(parsed).collect();
        for subaction in &subactions {
            self.follow_action(subaction, reached)?;
        }
        self.follow_results(subactions, reached)?;
        self.follow_origins(record, reached)
    }

    /// The results of actions, with what these name.
    fn follow_results(&self, todo: Vec<Digest>, reached: &mut Reached) -> Result<(), StoreError> {
        let mut todo = todo;
        let mut seen = HashSet::new();
        while let Some(action) = todo.pop() {
            if !seen.insert(action) {
                continue;
            }
            let Some((_, result)) = self.read_result(&action)? else { continue };
            reached.add_result(self, &action);
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
                reached.add_blob(self, &digest);
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
        if !reached.add_blob(self, digest) {
            return Ok(());
        }
        let Some(tree) = self.peek_message::<reapi::Tree>(digest)? else { return Ok(()) };
        for directory in tree.root.iter().chain(&tree.children) {
            for file in directory.files.iter().filter_map(|file| file.digest.as_ref()) {
                if let Some(digest) = parsed(file) {
                    reached.add_blob(self, &digest);
                }
            }
        }
        Ok(())
    }

    fn follow_action(&self, action: &Digest, reached: &mut Reached) -> Result<(), StoreError> {
        if !reached.add_blob(self, action) {
            return Ok(());
        }
        let Some(message) = self.peek_message::<reapi::Action>(action)? else { return Ok(()) };
        if let Some(command) = message.command_digest.as_ref().and_then(parsed) {
            reached.add_blob(self, &command);
        }
        if let Some(root) = message.input_root_digest.as_ref().and_then(parsed) {
            self.follow_directory(&root, reached)?;
        }
        Ok(())
    }

    fn follow_directory(&self, root: &Digest, reached: &mut Reached) -> Result<(), StoreError> {
        let mut stack = vec![*root];
        while let Some(digest) = stack.pop() {
            reached.add_blob(self, &digest);
            if !reached.complete.insert(Id::of(self.function, &digest)) {
                continue;
            }
            let Some(content) = self.peek(&digest)? else { continue };
            let Ok(directory) = Directory::decode(&content) else { continue };
            for (_, file) in directory.files() {
                reached.add_blob(self, &file.digest);
            }
            stack.extend(directory.directories().iter().map(|(_, child)| *child));
        }
        Ok(())
    }

    /// The trees in which the origins of the inputs are looked up: of these only directories are
    /// needed.
    fn follow_origins(
        &self,
        record: &ours::ElementRecord,
        reached: &mut Reached,
    ) -> Result<(), StoreError> {
        let roots = [&record.sources, &record.input_root].into_iter().flatten();
        let mut stack: Vec<Digest> = roots.filter_map(parsed).collect();
        let mut seen = HashSet::new();
        while let Some(digest) = stack.pop() {
            if !seen.insert(digest) {
                continue;
            }
            reached.add_blob(self, &digest);
            let Some(content) = self.peek(&digest)? else { continue };
            let Ok(directory) = Directory::decode(&content) else { continue };
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
