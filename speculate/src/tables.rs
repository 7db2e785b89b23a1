//! The files of trees as Arrow IPC files: one per tree, memory-mapped, and reused while the tree's
//! digest stands.
//!
//! They spare `generate` the reading of trees that no recorded action belongs to. Their columns are
//! used where they are mapped; what a lookup needs of them goes into the hash map of
//! [`crate::Origins`], which is faster than a search (docs/speculate.md has the figures).

use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, RecordBatch, StringArray, UInt64Array};
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::writer::FileWriter;
use arrow_ipc::{Block, root_as_footer, root_as_message};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use bytes::Bytes;
use forerunner_merkle::{Digest, Forest, MissingDirectory, Node};

use crate::mapped::map;

/// Rows that are encoded in one go.
const BATCH_ROWS: usize = 65_536;

/// The length of a footer's length, and of the file's last word.
const TRAILER_BYTES: usize = 10;

/// What precedes the metadata of a message: a mark and its length, or only the length in old files.
const MARK: [u8; 4] = [0xff; 4];

/// Buffers of a batch: validity and values of each column; before the values of paths their offsets.
const BUFFERS: usize = 7;

/// What the address of a number is a multiple of, in bytes.
const ALIGNMENT: i64 = 8;

/// A table that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("`{path}`: {error}")]
pub struct TableError {
    path: PathBuf,
    error: ArrowError,
}

/// One file of a tree: content and path.
pub type TreeRow = (Digest, String);

/// The folder that keeps the tables of trees.
#[derive(Clone, Debug)]
pub struct Tables {
    folder: PathBuf,
}

/// The files of one tree. Its columns lie where the file is mapped.
#[derive(Clone, Debug)]
pub struct Table {
    batches: Vec<Columns>,
}

#[derive(Clone, Debug)]
struct Columns {
    hash: FixedSizeBinaryArray,
    size: UInt64Array,
    path: StringArray,
}

impl Tables {
    /// The tables in `folder`, which exists.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn path(&self, root: &Digest) -> PathBuf {
        self.folder.join(format!("{}-{}.arrow", root.hex(), root.size()))
    }

    /// The files of a tree, if its table is here. One that is torn or says nonsense is as good as
    /// none.
    #[must_use]
    pub fn read(&self, root: &Digest) -> Option<Table> {
        Table::decode(&map(&self.path(root)).ok()?, root.hash().len())
    }

    /// Keeps the table of a tree. Whoever has mapped an older one keeps that.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, root: &Digest, rows: &[TreeRow]) -> Result<(), TableError> {
        let path = self.path(root);
        let failed = |error| TableError { path: path.clone(), error };
        let io = |error| failed(ArrowError::from(error));
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).map_err(io)?;
        encode(&mut file, rows, root.hash().len()).map_err(failed)?;
        file.persist(&path).map_err(|error| io(error.error))?;
        Ok(())
    }
}

impl Table {
    /// Every row, as it stands in the file.
    pub fn rows(&self) -> impl Iterator<Item = (Digest, &str)> {
        self.batches.iter().flat_map(|batch| {
            (0..batch.size.len()).filter_map(|row| {
                let digest = Digest::from_hash(batch.hash.value(row), batch.size.value(row))?;
                Some((digest, batch.path.value(row)))
            })
        })
    }

    /// The table in the bytes of a file, without copying the columns.
    ///
    /// Whatever stands in them: arrow's decoder checks what arrays are made of, but takes for granted
    /// that blocks and buffers lie inside of the file, so that is checked before.
    fn decode(file: &Bytes, hash_bytes: usize) -> Option<Self> {
        let trailer = file.len().checked_sub(TRAILER_BYTES)?;
        let length = read_footer_length(file[trailer..].try_into().ok()?).ok()?;
        let footer = root_as_footer(file.get(trailer.checked_sub(length)?..trailer)?).ok()?;
        let decoder = FileDecoder::new(schema(hash_bytes), footer.version());
        let mut batches = Vec::new();
        for block in footer.recordBatches()? {
            let part = file.get(place(block)?).map(|part| file.slice_ref(part))?;
            check(&part, block, hash_bytes)?;
            let batch = decoder.read_record_batch(block, &part.into()).ok()??;
            let [hash, size, path] = batch.columns() else { return None };
            batches.push(Columns {
                hash: hash.as_any().downcast_ref::<FixedSizeBinaryArray>()?.clone(),
                size: size.as_any().downcast_ref::<UInt64Array>()?.clone(),
                path: path.as_any().downcast_ref::<StringArray>()?.clone(),
            });
        }
        Some(Self { batches })
    }
}

/// Where a block says that it is.
fn place(block: &Block) -> Option<Range<usize>> {
    let begin = usize::try_from(block.offset()).ok()?;
    let metadata = usize::try_from(block.metaDataLength()).ok()?;
    let body = usize::try_from(block.bodyLength()).ok()?;
    Some(begin..begin.checked_add(metadata)?.checked_add(body)?)
}

/// Looks whether the columns of a batch lie in its block, and are as long as its rows say.
fn check(part: &Bytes, block: &Block, hash_bytes: usize) -> Option<()> {
    let body = usize::try_from(block.metaDataLength()).ok()?;
    let metadata = part.get(..body)?;
    let prefix = if metadata.get(..4)? == MARK { 8 } else { 4 };
    let message = root_as_message(metadata.get(prefix..)?).ok()?;
    let batch = message.header_as_record_batch()?;
    let rows = batch.length();
    let nodes = batch.nodes()?;
    let whole = |node: &arrow_ipc::FieldNode| node.length() == rows && node.null_count() == 0;
    let buffers = batch.buffers()?;
    let inside = |buffer: &arrow_ipc::Buffer| {
        let end = buffer.offset().checked_add(buffer.length());
        // Numbers are read where they stand.
        buffer.offset() >= 0
            && buffer.offset() % ALIGNMENT == 0
            && buffer.length() >= 0
            && end.is_some_and(|end| end <= block.bodyLength())
    };
    let aligned = part.as_ptr().addr().checked_add(body)? as i64 % ALIGNMENT == 0;
    let good = aligned
        && rows > 0
        && batch.compression().is_none()
        && nodes.len() == 3
        && nodes.iter().all(whole)
        && buffers.len() == BUFFERS
        && buffers.iter().all(inside)
        && rows.checked_mul(hash_bytes as i64) == Some(buffers.get(1).length())
        && rows.checked_mul(8) == Some(buffers.get(3).length())
        && rows.checked_add(1)?.checked_mul(4) == Some(buffers.get(5).length());
    good.then_some(())
}

/// The files of a tree.
///
/// # Errors
/// If a directory is not known.
pub fn tree_rows(forest: &Forest, root: Digest) -> Result<Vec<TreeRow>, MissingDirectory> {
    let mut rows = Vec::new();
    forest.leaves(root, &mut |path, node| {
        if let Node::File(file) = node {
            rows.push((file.digest, path.to_string()));
        }
    })?;
    Ok(rows)
}

fn schema(hash_bytes: usize) -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("hash", DataType::FixedSizeBinary(hash_bytes as i32), false),
        Field::new("size", DataType::UInt64, false),
        Field::new("path", DataType::Utf8, false),
    ]))
}

fn encode(out: &mut impl Write, rows: &[TreeRow], hash_bytes: usize) -> Result<(), ArrowError> {
    let schema = schema(hash_bytes);
    let mut writer = FileWriter::try_new(BufWriter::new(out), &schema)?;
    for rows in rows.chunks(BATCH_ROWS) {
        let hash =
            FixedSizeBinaryArray::try_from_iter(rows.iter().map(|(digest, _)| digest.hash()))?;
        let size = UInt64Array::from_iter_values(rows.iter().map(|(digest, _)| digest.size()));
        let path = StringArray::from_iter_values(rows.iter().map(|(_, path)| path));
        let columns: Vec<ArrayRef> = vec![Arc::new(hash), Arc::new(size), Arc::new(path)];
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerunner_merkle::DigestFunction;

    fn digest(text: &str) -> Digest {
        DigestFunction::Sha256.digest(text.as_bytes())
    }

    fn rows(table: &Table) -> Vec<TreeRow> {
        table.rows().map(|(digest, path)| (digest, path.to_owned())).collect()
    }

    fn written(function: DigestFunction) -> (Vec<TreeRow>, Bytes) {
        let digest = |text: &str| function.digest(text.as_bytes());
        let rows = vec![(digest("a"), "usr/a".to_owned()), (digest("b"), "usr/ä".to_owned())];
        let mut bytes = Vec::new();
        encode(&mut bytes, &rows, digest("").hash().len()).expect("a table");
        (rows, bytes.into())
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let tables = Tables::new(folder.path().to_owned());
        let root = digest("root");
        assert!(tables.read(&root).is_none());
        let (content, bytes) = written(DigestFunction::Sha256);
        tables.write(&root, &content).expect("a table");
        let table = tables.read(&root).expect("the table");
        assert_eq!(rows(&table), content);
        // Another one in its place, and none at all: who has it keeps it.
        tables.write(&root, &[]).expect("an empty table");
        assert_eq!(tables.read(&root).map(|table| rows(&table)), Some(Vec::new()));
        std::fs::remove_file(tables.path(&root)).expect("removed");
        assert_eq!(rows(&table), content);
        // Torn: as good as none.
        for length in 0..bytes.len() {
            std::fs::write(tables.path(&root), &bytes[..length]).expect("a torn table");
            assert!(tables.read(&root).is_none(), "{length}");
        }
    }

    #[test]
    fn every_digest_function_has_its_length() {
        for function in [DigestFunction::Md5, DigestFunction::Sha1, DigestFunction::Sha512] {
            let (content, bytes) = written(function);
            let length = content[0].0.hash().len();
            let table = Table::decode(&bytes, length).expect("the table");
            assert_eq!(rows(&table), content);
            let other = Table::decode(&bytes, 32);
            assert!(other.is_none_or(|table| rows(&table) != content));
        }
    }

    #[test]
    fn columns_lie_where_the_file_does() {
        let (_, bytes) = written(DigestFunction::Sha256);
        // As a map does, the copy begins at a page.
        let mut room = vec![0_u8; bytes.len() + 4096];
        let begin = room.as_ptr().align_offset(4096);
        room[begin..begin + bytes.len()].copy_from_slice(&bytes);
        let file = Bytes::from(room).slice(begin..begin + bytes.len());
        let table = Table::decode(&file, 32).expect("the table");
        let inside = |at: *const u8| file.as_ptr_range().contains(&at);
        let columns = &table.batches[0];
        assert!(inside(columns.hash.value(0).as_ptr()));
        assert!(inside(columns.path.value(0).as_ptr()));
        assert!(inside(columns.size.values().as_ptr().cast()));
    }

    /// A byte that is not what it was leads to another table, or to none; never to a panic.
    #[test]
    fn nonsense_is_as_good_as_nothing() {
        let (content, bytes) = written(DigestFunction::Sha256);
        let (mut read, mut refused) = (0, 0);
        for at in 0..bytes.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x40] {
                let mut bytes = bytes.to_vec();
                bytes[at] = value;
                match Table::decode(&bytes.into(), 32) {
                    Some(table) => {
                        read += 1;
                        assert!(rows(&table).len() <= content.len(), "{at}: {value}");
                    }
                    None => refused += 1,
                }
            }
        }
        assert!(read > 0 && refused > 100, "{read} {refused}");
        // Two bytes at once, anywhere.
        let mut dice = 7_u64;
        let mut roll = |sides: usize| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (dice >> 33) as usize % sides
        };
        for _ in 0..5_000 {
            let mut bytes = bytes.to_vec();
            for _ in 0..=roll(8) {
                let at = roll(bytes.len());
                bytes[at] = roll(256) as u8;
            }
            if let Some(table) = Table::decode(&bytes.into(), 32) {
                rows(&table);
            }
        }
    }
}
