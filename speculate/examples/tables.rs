//! Compares ways to make the tables of many trees ready for lookups: mapped or read, all rows or only
//! those that are wanted, in a hash map.
//!
//! `tables make FOLDER TREES FILES` writes them; `tables WAY FOLDER TREES FILES WANTED` with `mapped`,
//! `mapped-all` or `read` looks up that many contents, and prints the time and the memory that it took.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use arrow_array::{Array, FixedSizeBinaryArray, StringArray, UInt64Array};
use arrow_ipc::reader::FileReader;
use forerunner_merkle::{Digest, DigestFunction};
use speculate::tables::{Tables, TreeRow};

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Places = HashMap<Digest, Vec<(usize, Box<str>)>>;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [way, folder, numbers @ ..] = words.as_slice() else { return Err("see the source".into()) };
    let numbers: Vec<usize> =
        numbers.iter().map(|text| text.parse()).collect::<std::result::Result<_, _>>()?;
    let (trees, files) = (numbers[0], numbers[1]);
    let tables = Tables::new(folder.into());
    if way == "make" {
        std::fs::create_dir_all(folder)?;
        for tree in 0..trees {
            let rows: Vec<TreeRow> =
                (0..files).map(|file| (content(tree, file), path(file))).collect();
            tables.write(&root(tree), &rows)?;
        }
        return Ok(());
    }
    // Spread over all trees.
    let wanted: Vec<Digest> =
        (0..numbers[2]).map(|number| content(number % trees, number * 7919 % files)).collect();
    let before = anonymous_bytes()?;
    let begun = Instant::now();
    let mut places = Places::new();
    let filter: HashSet<Digest> = wanted.iter().copied().collect();
    // What is mapped stays so, as long as it is used.
    let mut mapped = Vec::new();
    for tree in 0..trees {
        if way == "read" {
            read(Path::new(folder), tree, &mut places)?;
            continue;
        }
        let table = tables.read(&root(tree)).ok_or("a table is missing")?;
        for (digest, path) in table.rows() {
            if way == "mapped-all" || filter.contains(&digest) {
                places.entry(digest).or_default().push((tree, path.into()));
            }
        }
        mapped.push(table);
    }
    let ready = begun.elapsed();
    let mut found = 0;
    for digest in &wanted {
        found += usize::from(black_box(places.get(digest)).is_some());
    }
    assert_eq!(found, wanted.len());
    let memory = anonymous_bytes()?.saturating_sub(before);
    println!(
        "| {way} | {:.1} ms | {:.1} ms | {:.1} MiB |",
        ready.as_secs_f64() * 1e3,
        begun.elapsed().as_secs_f64() * 1e3,
        memory as f64 / f64::from(1 << 20)
    );
    Ok(())
}

fn root(tree: usize) -> Digest {
    DigestFunction::Sha256.digest(format!("tree {tree}").as_bytes())
}

fn content(tree: usize, file: usize) -> Digest {
    DigestFunction::Sha256.digest(format!("file {file} of {tree}").as_bytes())
}

fn path(file: usize) -> String {
    format!("usr/include/x86_64-linux-gnu/part{}/header{file}.h", file % 40)
}

/// All rows of a table, without a map.
fn read(folder: &Path, tree: usize, places: &mut Places) -> Result<()> {
    let root = root(tree);
    let name = folder.join(format!("{}-{}.arrow", root.hex(), root.size()));
    let bytes = std::io::Cursor::new(std::fs::read(name)?);
    for batch in FileReader::try_new(bytes, None)? {
        let batch = batch?;
        let column = |number: usize| batch.column(number).as_any();
        let hash = column(0).downcast_ref::<FixedSizeBinaryArray>().ok_or("no hashes")?;
        let size = column(1).downcast_ref::<UInt64Array>().ok_or("no sizes")?;
        let path = column(2).downcast_ref::<StringArray>().ok_or("no paths")?;
        for row in 0..size.len() {
            let digest = Digest::from_hash(hash.value(row), size.value(row)).ok_or("no hash")?;
            places.entry(digest).or_default().push((tree, path.value(row).into()));
        }
    }
    Ok(())
}

/// Memory that is this process's own, pages of mapped files left out.
fn anonymous_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).ok_or("no count")?;
    let kibibytes: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kibibytes * 1024)
}
