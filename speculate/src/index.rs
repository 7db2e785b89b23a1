//! The whole table of origins as an Arrow IPC file, for pandas, DuckDB or Polars.

use std::io::{BufWriter, Write};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use forerunner_merkle::Digest;

/// Rows that are encoded in one go.
const BATCH_ROWS: usize = 65_536;

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
    use arrow_ipc::reader::FileReader;
    use forerunner_merkle::DigestFunction;

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
