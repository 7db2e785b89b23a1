//! Origin tables as Arrow IPC files: one per tree, reused while the tree's digest stands, and the
//! whole table for export.
//!
//! Lookups use the hash map of [`crate::Origins`], which these files only spare the reading of
//! trees (docs/speculate.md has the figures). They are read, not memory-mapped: a map needs unsafe
//! code, because whoever truncates the file would crash us, and a file is read once.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use forerunner_merkle::{Digest, Forest, MissingDirectory, Node};

/// Rows that are encoded in one go.
const BATCH_ROWS: usize = 65_536;

/// A table that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("`{path}`: {error}")]
pub struct IndexError {
    path: PathBuf,
    error: ArrowError,
}

/// One file of a tree: content and path.
pub type TreeRow = (Digest, String);

/// One row of the whole table.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The content.
    pub digest: &'a Digest,
    /// Whose.
    pub element: &'a str,
    /// Where.
    pub path: &'a str,
    /// SOURCE, ACTION or ARTIFACT.
    pub kind: &'a str,
}

/// The folder that keeps the tables of trees.
#[derive(Clone, Debug)]
pub struct Tables {
    folder: PathBuf,
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

    /// The files of a tree, if its table is here. One that cannot be read is as good as none.
    #[must_use]
    pub fn read(&self, root: &Digest) -> Option<Vec<TreeRow>> {
        let file = BufReader::new(File::open(self.path(root)).ok()?);
        let mut rows = Vec::new();
        for batch in FileReader::try_new(file, None).ok()? {
            let batch = batch.ok()?;
            let text = |name| batch.column_by_name(name)?.as_any().downcast_ref::<StringArray>();
            let size = batch.column_by_name("size")?.as_any().downcast_ref::<UInt64Array>()?;
            let (hash, path) = (text("hash")?, text("path")?);
            for index in 0..batch.num_rows() {
                let digest = Digest::from_hex(hash.value(index), size.value(index)).ok()?;
                rows.push((digest, path.value(index).to_owned()));
            }
        }
        Some(rows)
    }

    /// Keeps the table of a tree.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, root: &Digest, rows: &[TreeRow]) -> Result<(), IndexError> {
        let path = self.path(root);
        let failed = |error| IndexError { path: path.clone(), error };
        let io = |error| failed(ArrowError::from(error));
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).map_err(io)?;
        write_rows(&mut file, rows).map_err(failed)?;
        file.persist(&path).map_err(|error| io(error.error))?;
        Ok(())
    }
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

fn write_rows(out: &mut impl Write, rows: &[TreeRow]) -> Result<(), ArrowError> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("hash", DataType::Utf8, false),
        Field::new("size", DataType::UInt64, false),
        Field::new("path", DataType::Utf8, false),
    ]));
    let mut writer = FileWriter::try_new(BufWriter::new(out), &schema)?;
    for rows in rows.chunks(BATCH_ROWS) {
        let hash = StringArray::from_iter_values(rows.iter().map(|(digest, _)| digest.hex()));
        let size = UInt64Array::from_iter_values(rows.iter().map(|(digest, _)| digest.size()));
        let path = StringArray::from_iter_values(rows.iter().map(|(_, path)| path));
        let columns: Vec<ArrayRef> = vec![Arc::new(hash), Arc::new(size), Arc::new(path)];
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    }
    writer.finish()
}

/// Writes the whole table: hash, size, element, path, kind.
///
/// # Errors
/// If `out` cannot be written.
pub fn export(out: &mut impl Write, rows: &[Row<'_>]) -> Result<(), ArrowError> {
    let text = |name| Field::new(name, DataType::Utf8, false);
    let schema = Arc::new(Schema::new(vec![
        text("hash"),
        Field::new("size", DataType::UInt64, false),
        text("element"),
        text("path"),
        text("kind"),
    ]));
    let mut writer = FileWriter::try_new(BufWriter::new(out), &schema)?;
    for rows in rows.chunks(BATCH_ROWS) {
        let hash = StringArray::from_iter_values(rows.iter().map(|row| row.digest.hex()));
        let size = UInt64Array::from_iter_values(rows.iter().map(|row| row.digest.size()));
        let text = |field: fn(&Row<'_>) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(field)))
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(hash),
            Arc::new(size),
            text(|row| row.element.to_owned()),
            text(|row| row.path.to_owned()),
            text(|row| row.kind.to_owned()),
        ];
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerunner_merkle::DigestFunction;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let tables = Tables::new(folder.path().to_owned());
        let digest = |text: &str| DigestFunction::Sha256.digest(text.as_bytes());
        let root = digest("root");
        assert_eq!(tables.read(&root), None);
        let rows = vec![(digest("a"), "usr/a".to_owned()), (digest("b"), "usr/ä".to_owned())];
        tables.write(&root, &rows).expect("a table");
        assert_eq!(tables.read(&root), Some(rows.clone()));
        // Torn: as good as none.
        let path = tables.path(&root);
        let bytes = std::fs::read(&path).expect("the table");
        for length in [0, 10, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).expect("a torn table");
            assert_eq!(tables.read(&root), None, "{length}");
        }
        tables.write(&root, &[]).expect("an empty table");
        assert_eq!(tables.read(&root), Some(Vec::new()));
    }

    #[test]
    fn the_whole_table_is_an_arrow_file() {
        let digest = DigestFunction::Sha256.digest(b"a");
        let row = Row { digest: &digest, element: "lib", path: "src/a", kind: "SOURCE" };
        let mut bytes = Vec::new();
        export(&mut bytes, &[row]).expect("a table");
        let reader = FileReader::try_new(std::io::Cursor::new(bytes), None).expect("a file");
        let batches: Vec<RecordBatch> = reader.map(|batch| batch.expect("a batch")).collect();
        assert_eq!((batches.len(), batches[0].num_rows(), batches[0].num_columns()), (1, 1, 5));
    }
}
