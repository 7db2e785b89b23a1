//! Compares a hash map with a search in a sorted Arrow column, on a table of origins.
//!
//! `lookups TABLE`, where `speculate index export` wrote TABLE. Every hash is looked up once, in an
//! order that has nothing to do with its place; the time to make either ready is told apart.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::time::{Duration, Instant};

use arrow_array::{Array, RecordBatch, StringArray};
use arrow_ipc::reader::FileReader;
use forerunner_merkle::Digest;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or("usage: lookups TABLE")?;
    let begun = Instant::now();
    let batches: Vec<RecordBatch> =
        FileReader::try_new(File::open(path)?, None)?.collect::<std::result::Result<_, _>>()?;
    let mut hashes: Vec<&str> = Vec::new();
    for batch in &batches {
        let column = batch.column_by_name("hash").ok_or("a table without hashes")?;
        let column = column.as_any().downcast_ref::<StringArray>().ok_or("no text")?;
        hashes.extend(column.iter().flatten());
    }
    let read = begun.elapsed();

    let begun = Instant::now();
    hashes.sort_unstable();
    let column = StringArray::from_iter_values(&hashes);
    let sorted = begun.elapsed();

    let begun = Instant::now();
    let digests: Vec<Digest> = hashes
        .iter()
        .map(|hash| Digest::from_hex(hash, 0))
        .collect::<std::result::Result<_, _>>()?;
    let mut map: HashMap<Digest, u32> = HashMap::with_capacity(digests.len());
    for (row, digest) in digests.iter().enumerate() {
        map.entry(*digest).or_insert(row as u32);
    }
    let hashed = begun.elapsed();

    // A step that shares no factor with the number of rows reaches all of them, far apart.
    let rows = hashes.len();
    let step = (rows / 3..).find(|step| coprime(*step, rows)).unwrap_or(1);
    let order = || (0..rows).map(|index| index * step % rows);
    let begun = Instant::now();
    for row in order() {
        black_box(map.get(&digests[row]));
    }
    let probes = begun.elapsed();
    let begun = Instant::now();
    for row in order() {
        black_box(search(&column, hashes[row]));
    }
    let searches = begun.elapsed();
    let each = |time: Duration| time.as_nanos() as f64 / rows.max(1) as f64;
    println!("\n| {rows} rows | ready | one lookup |\n|---|---|---|");
    println!("| hash map | {:.1} ms | {:.0} ns |", ms(hashed), each(probes));
    println!("| search in the Arrow column | {:.1} ms | {:.0} ns |", ms(sorted), each(searches));
    println!("\nReading the file: {:.1} ms.", ms(read));
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn coprime(mut left: usize, mut right: usize) -> bool {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left == 1
}

fn search(column: &StringArray, hash: &str) -> Option<usize> {
    let (mut low, mut high) = (0, column.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if column.value(middle) < hash {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    (low < column.len() && column.value(low) == hash).then_some(low)
}
