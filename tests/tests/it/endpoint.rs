//! `lib/reapi` against the embedded store, a stock buildbox-casd and a stock BuildGrid: the same cases.

use std::path::Path;

use bytes::Bytes;
use forerunner_merkle::{Digest, File, Forest, TreeBuilder, TreePath};
use forerunner_proto::{Kept, reapi};
use forerunner_reapi::{Config, Content, Endpoint, Error, Record, record};
pub(crate) use forerunner_tests::FUNCTION;
use forerunner_tests::{BuildGrid, Casd, config, temp};

/// The embedded store in `folder`.
pub(crate) fn embedded(folder: &Path) -> Config {
    config(&folder.join("store"), None)
}

/// A server.
pub(crate) fn remote(url: &str) -> Config {
    let mut config = config(Path::new("/nonexistent"), Some(url));
    let remote = config.remote.as_mut().expect("a server");
    for connection in [&mut remote.cas, &mut remote.action_cache, &mut remote.execution] {
        connection.retry_limit = 0;
    }
    config
}

#[test]
fn the_embedded_store_passes_every_case() {
    let folder = temp();
    runtime().block_on(async {
        pass(&Endpoint::open(&embedded(folder.path())).expect("a store")).await;
    });
}

#[test]
fn casd_passes_every_case() {
    let Some(casd) = Casd::start() else { return };
    // The runtime, and with it the connection, ends before casd, which waits for that.
    runtime().block_on(async {
        pass(&Endpoint::open(&remote(&casd.url())).expect("an address")).await;
    });
}

#[test]
fn buildgrid_passes_every_case() {
    let Some(grid) = BuildGrid::start() else { return };
    runtime().block_on(async {
        pass(&Endpoint::open(&remote(&grid.url())).expect("an address")).await;
    });
}

async fn pass(endpoint: &Endpoint) {
    eprintln!("blobs_of_every_size_go_up_and_come_back");
    blobs_of_every_size_go_up_and_come_back(endpoint).await;
    eprintln!("what_is_not_there_is_named");
    what_is_not_there_is_named(endpoint).await;
    eprintln!("a_file_that_is_not_what_was_said_is_refused");
    a_file_that_is_not_what_was_said_is_refused(endpoint).await;
    eprintln!("trees_are_loaded");
    trees_are_loaded(endpoint).await;
    eprintln!("results_keep_fields_that_nobody_knows");
    results_keep_fields_that_nobody_knows(endpoint).await;
    eprintln!("records_are_found_by_the_name_of_their_element");
    records_are_found_by_the_name_of_their_element(endpoint).await;
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Content that no compression shortens, the same for the same `seed`.
pub(crate) fn noise(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

async fn blobs_of_every_size_go_up_and_come_back(endpoint: &Endpoint) {
    let sizes = [0, 1, 1000, 59_000, 70_000, 3_000_000, 5_000_000, 9_000_000];
    let blobs: Vec<Bytes> = sizes.iter().map(|size| noise(*size as u64, *size as usize)).collect();
    let digests: Vec<Digest> = blobs.iter().map(|blob| FUNCTION.digest(blob)).collect();
    // The empty blob may be there from the beginning.
    let missing = endpoint.missing(&digests[1..]).await.expect("an answer");
    assert_eq!(missing.len(), sizes.len() - 1);

    let folder = temp();
    let mut uploads = Vec::new();
    for (index, (digest, blob)) in digests.iter().zip(&blobs).enumerate() {
        let path = folder.path().join(index.to_string());
        std::fs::write(&path, blob).expect("a file");
        let content = match index % 2 {
            0 => Content::File(path),
            _ => Content::Bytes(blob.clone()),
        };
        uploads.push((*digest, content));
    }
    endpoint.upload(uploads).await.expect("an upload");
    assert_eq!(endpoint.missing(&digests).await.expect("an answer"), vec![]);

    let found = endpoint.get_many(&digests).await.expect("blobs");
    for (digest, blob) in digests.iter().zip(&blobs) {
        assert_eq!(found.get(digest), Some(blob), "{digest}");
    }
    let files: Vec<_> = digests
        .iter()
        .enumerate()
        .map(|(index, digest)| (*digest, folder.path().join(format!("out{index}")), index % 2 == 1))
        .collect();
    endpoint.fetch_files(&files).await.expect("files");
    for ((_, path, executable), blob) in files.iter().zip(&blobs) {
        assert_eq!(&std::fs::read(path).expect("a file"), blob);
        let mode = std::fs::metadata(path).expect("a file").permissions();
        let mode = std::os::unix::fs::PermissionsExt::mode(&mode);
        assert_eq!(mode & 0o100 != 0, *executable);
    }
    let mut middle = endpoint.read(&digests[7], 4_000_000, 500_000).expect("a stream");
    let mut bytes = Vec::new();
    while let Some(piece) = middle.next().await.expect("a piece") {
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(bytes, &blobs[7][4_000_000..4_500_000]);
}

async fn what_is_not_there_is_named(endpoint: &Endpoint) {
    let digest = FUNCTION.digest(b"nobody stored this");
    let large = FUNCTION.digest(&noise(77, 8_000_000));
    for digest in [digest, large] {
        match endpoint.get(&digest).await {
            Err(Error::MissingBlob(missing)) => assert_eq!(missing, digest),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(endpoint.action_result(&digest, &[]).await.expect("an answer"), None);
    let folder = temp();
    let path = folder.path().join("file");
    let error = endpoint.fetch_files(&[(digest, path.clone(), false)]).await.expect_err("missing");
    assert!(error.to_string().contains(&digest.to_string()), "{error}");
    assert!(!path.exists() && std::fs::read_dir(folder.path()).expect("a folder").count() == 0);
}

async fn a_file_that_is_not_what_was_said_is_refused(endpoint: &Endpoint) {
    let digest = FUNCTION.digest(b"what was said");
    let content = Content::Bytes(Bytes::from_static(b"what was sent"));
    assert!(endpoint.upload(vec![(digest, content)]).await.is_err());
    assert_eq!(endpoint.missing(&[digest]).await.expect("an answer"), vec![digest]);
}

async fn trees_are_loaded(endpoint: &Endpoint) {
    let mut forest = Forest::new(FUNCTION);
    let mut builder = TreeBuilder::new();
    let file = FUNCTION.digest(b"content");
    for path in ["a/b/c/file", "a/x/file", "z"] {
        let path = TreePath::parse(path).expect("a path");
        builder.file(&path, File::new(file, false)).expect("no conflict");
    }
    builder.directory(&TreePath::parse("empty/one").expect("a path")).expect("no conflict");
    let root = builder.build(&mut forest);
    let blobs = forest.take_made().into_iter();
    let blobs = blobs.map(|(digest, bytes)| (digest, Content::Bytes(bytes))).collect();
    endpoint.upload(blobs).await.expect("an upload");

    let mut loaded = Forest::new(FUNCTION);
    endpoint.load(&mut loaded, &[root]).await.expect("a tree");
    assert_eq!(loaded.tree(root), forest.tree(root));
    let absent = FUNCTION.digest(b"no directory");
    assert!(endpoint.load(&mut loaded, &[absent]).await.is_err());
}

async fn results_keep_fields_that_nobody_knows(endpoint: &Endpoint) {
    let output = Bytes::from_static(b"output");
    let digest = FUNCTION.digest(&output);
    endpoint.upload(vec![(digest, Content::Bytes(output))]).await.expect("an upload");
    let action = FUNCTION.digest(b"an action");
    let result = reapi::ActionResult {
        output_files: vec![reapi::OutputFile {
            path: "o".to_owned(),
            digest: Some(digest.to_proto()),
            ..Default::default()
        }],
        subactions: vec![digest.to_proto()],
        ..Default::default()
    };
    let strange = reapi::Digest { hash: "of the future".to_owned(), size_bytes: 1 };
    let result = Kept::new(&result).with_field(1234, &[strange]);
    endpoint.update_action_result(&action, &result).await.expect("an update");
    let back = endpoint.action_result(&action, &[]).await.expect("an answer").expect("a hit");
    assert_eq!(back.message().expect("a result").subactions, vec![digest.to_proto()]);
    let strange = back.field::<reapi::Digest>(1234).expect("a message").expect("the field");
    assert_eq!(strange.message().expect("a digest").hash, "of the future");
}

async fn records_are_found_by_the_name_of_their_element(endpoint: &Endpoint) {
    let none = record::read(endpoint, "a.bst").await.expect("an answer");
    assert_eq!(none, None);
    let mut first = Record {
        element: "a.bst".to_owned(),
        subactions: vec![FUNCTION.digest(b"1"), FUNCTION.digest(b"2")],
        written: 5,
        ..Record::default()
    };
    record::write(endpoint, &first).await.expect("a record");
    first.partial = true;
    record::write(endpoint, &first).await.expect("a record");
    let newest = record::read(endpoint, "a.bst").await.expect("an answer").expect("a record");
    assert_eq!(newest.subactions, first.subactions);
    assert!(newest.partial);
    let [before] = newest.previous.as_slice() else { panic!("{newest:?}") };
    let before = record::read_blob(endpoint, before).await.expect("the one before");
    assert!(!before.partial);
    assert_eq!(record::read(endpoint, "b.bst").await.expect("an answer"), None);
}

#[test]
fn an_endpoint_that_is_not_there_is_one_clear_message() {
    runtime().block_on(async {
        let folder = temp();
        let url = format!("unix:{}/none.sock", folder.path().display());
        let endpoint = Endpoint::open(&remote(&url)).expect("an address");
        let error = endpoint.capabilities().await.expect_err("nobody there").to_string();
        assert!(error.contains(&url) && error.contains("cannot be reached"), "{error}");
    });
}
