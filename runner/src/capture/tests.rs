use std::fs::File;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use forerunner_merkle::TreePath;

use super::*;
use crate::outputs::Format;

const BOTH: Format = Format { tree: true, directory: true };

fn outputs(paths: &[&str], format: Format) -> Outputs {
    let list = paths.iter().map(|path| Output {
        spelled: (*path).to_owned(),
        path: TreePath::parse(path).expect("a path"),
        kind: Kind::Any,
    });
    Outputs { list: list.collect(), format, mtime: false, unix_mode: false }
}

fn take(root: &Path, outputs: &Outputs) -> Result<(Captured, Vec<Digest>), CaptureError> {
    let spare = tempfile::tempdir().expect("a directory");
    let root = File::open(root).expect("the root");
    let mut seen = Vec::new();
    let mut sink = |batch: Batch| {
        seen.extend(batch.blobs.iter().map(|(digest, _)| *digest));
        true
    };
    let captured = capture(root.as_fd(), outputs, DigestFunction::Sha256, spare.path(), &mut sink)?;
    Ok((captured, seen))
}

fn digest(content: &[u8]) -> Digest {
    DigestFunction::Sha256.digest(content)
}

#[test]
fn every_kind_of_output() {
    let temp = tempfile::tempdir().expect("a directory");
    let at = |path: &str| temp.path().join(path);
    std::fs::create_dir_all(at("d/e")).expect("a directory");
    std::fs::write(at("d/f"), "f").expect("a file");
    symlink("f", at("d/l")).expect("a symlink");
    std::fs::write(at("x"), "x").expect("a file");
    std::fs::set_permissions(at("x"), std::fs::Permissions::from_mode(0o755)).expect("mode");
    symlink("/etc/passwd", at("out")).expect("a symlink");
    let (captured, seen) =
        take(temp.path(), &outputs(&["d", "x", "out", "none", "x/below"], BOTH)).expect("outputs");
    assert_eq!(captured.files.len(), 1);
    assert!(captured.files[0].is_executable);
    assert_eq!(captured.symlinks[0].target, "/etc/passwd");
    let directory = &captured.directories[0];
    assert!(directory.is_topologically_sorted);
    let root = Digest::required(directory.root_directory_digest.as_ref()).expect("a digest");
    let tree = Digest::required(directory.tree_digest.as_ref()).expect("a digest");
    for wanted in [root, tree, digest(b"f"), digest(b"x"), digest(b"")] {
        assert!(seen.contains(&wanted), "{wanted}");
    }
    assert_eq!(captured.bytes, 2);
}

#[test]
fn formats_are_as_asked() {
    let temp = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(temp.path().join("d")).expect("a directory");
    for (tree, directory) in [(true, false), (false, true)] {
        let (captured, _) =
            take(temp.path(), &outputs(&["d"], Format { tree, directory })).expect("outputs");
        let output = &captured.directories[0];
        assert_eq!(output.tree_digest.is_some(), tree);
        assert_eq!(output.root_directory_digest.is_some(), directory);
    }
}

#[test]
fn the_root_itself_is_an_output() {
    let temp = tempfile::tempdir().expect("a directory");
    std::fs::write(temp.path().join("f"), "f").expect("a file");
    let mut wanted = outputs(&[], BOTH);
    wanted.list.push(Output { spelled: ".".to_owned(), path: TreePath::root(), kind: Kind::Any });
    let (captured, seen) = take(temp.path(), &wanted).expect("outputs");
    assert_eq!(captured.directories[0].path, ".");
    assert!(seen.contains(&digest(b"f")));
}

#[test]
fn nothing_outside_is_read() {
    let temp = tempfile::tempdir().expect("a directory");
    std::fs::write(temp.path().join("secret"), "secret").expect("a file");
    let root = temp.path().join("root");
    std::fs::create_dir(&root).expect("a directory");
    symlink("..", root.join("up")).expect("a symlink");
    symlink(temp.path(), root.join("absolute")).expect("a symlink");
    symlink("loop", root.join("loop")).expect("a symlink");
    let wanted = outputs(&["up/secret", "absolute/secret", "loop/x"], BOTH);
    let (captured, seen) = take(&root, &wanted).expect("outputs");
    assert!(captured.files.is_empty() && seen.is_empty());
}

#[test]
fn a_symlinked_parent_inside_is_followed() {
    let temp = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(temp.path().join("real")).expect("a directory");
    std::fs::write(temp.path().join("real/f"), "f").expect("a file");
    symlink("/real", temp.path().join("link")).expect("a symlink");
    let (captured, _) = take(temp.path(), &outputs(&["link/f"], BOTH)).expect("outputs");
    assert_eq!(captured.files[0].path, "link/f");
}

#[test]
fn attributes_are_as_asked() {
    let temp = tempfile::tempdir().expect("a directory");
    let file = temp.path().join("f");
    std::fs::write(&file, "f").expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("mode");
    let mut wanted = outputs(&["f"], BOTH);
    wanted.unix_mode = true;
    let (captured, _) = take(temp.path(), &wanted).expect("outputs");
    let properties = captured.files[0].node_properties.clone().expect("properties");
    assert_eq!((properties.unix_mode, properties.mtime), (Some(0o640), None));
}

#[test]
fn what_no_result_can_hold() {
    let temp = tempfile::tempdir().expect("a directory");
    let fifo = temp.path().join("fifo");
    nix::unistd::mkfifo(&fifo, Mode::S_IRUSR).expect("a fifo");
    let error = take(temp.path(), &outputs(&["fifo"], BOTH)).expect_err("a fifo");
    assert!(matches!(error, CaptureError::Special(_)));
    std::fs::create_dir(temp.path().join("d")).expect("a directory");
    std::fs::rename(&fifo, temp.path().join("d/fifo")).expect("a rename");
    let (captured, _) = take(temp.path(), &outputs(&["d"], BOTH)).expect("outputs");
    assert_eq!(captured.directories.len(), 1);
    let mut deep = temp.path().join("deep");
    for _ in 0..DEEPEST + 2 {
        deep.push("d");
    }
    std::fs::create_dir_all(&deep).expect("directories");
    let error = take(temp.path(), &outputs(&["deep"], BOTH)).expect_err("too deep");
    assert!(matches!(error, CaptureError::Deep(_)));
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(b"d/\xff");
    std::fs::write(temp.path().join(name), "").expect("a file");
    let error = take(temp.path(), &outputs(&["d"], BOTH)).expect_err("a name");
    assert!(matches!(error, CaptureError::Encoding(_)));
}

#[test]
fn large_files_stay_open_until_they_are_uploaded() {
    let temp = tempfile::tempdir().expect("a directory");
    let content = vec![7; 300_000];
    std::fs::write(temp.path().join("f"), &content).expect("a file");
    let root = File::open(temp.path()).expect("the root");
    let mut lengths = Vec::new();
    let mut sink = |batch: Batch| {
        for (digest, content) in &batch.blobs {
            if let forerunner_reapi::Content::File(path) = content {
                let bytes = std::fs::read(path).expect("the content");
                assert_eq!(*digest, DigestFunction::Sha256.digest(&bytes));
                lengths.push(bytes.len());
            }
        }
        true
    };
    let wanted = outputs(&["f"], BOTH);
    capture(root.as_fd(), &wanted, DigestFunction::Sha256, temp.path(), &mut sink)
        .expect("outputs");
    assert_eq!(lengths, [300_000]);
}

#[test]
fn it_ends_when_nobody_wants_it() {
    let temp = tempfile::tempdir().expect("a directory");
    std::fs::write(temp.path().join("f"), "f").expect("a file");
    let root = File::open(temp.path()).expect("the root");
    let error = capture(
        root.as_fd(),
        &outputs(&["f"], BOTH),
        DigestFunction::Sha256,
        temp.path(),
        &mut |_| false,
    );
    assert!(matches!(error, Err(CaptureError::Unwanted)));
}
