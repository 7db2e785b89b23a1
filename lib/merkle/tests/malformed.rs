//! What is no directory, by kind.
#![allow(clippy::needless_pass_by_value)]

use forerunner_merkle::{
    Digest, DigestError, DigestFunction, Directory, DirectoryError, NameError,
};
use forerunner_proto::{Message, reapi};

fn digest() -> Option<reapi::Digest> {
    Some(DigestFunction::Sha256.digest(b"x").to_proto())
}

fn file(name: &str) -> reapi::FileNode {
    reapi::FileNode { name: name.into(), digest: digest(), ..Default::default() }
}

fn folder(name: &str) -> reapi::DirectoryNode {
    reapi::DirectoryNode { name: name.into(), digest: digest() }
}

fn symlink(name: &str, target: &str) -> reapi::SymlinkNode {
    reapi::SymlinkNode { name: name.into(), target: target.into(), ..Default::default() }
}

fn decode(message: reapi::Directory) -> Result<Directory, DirectoryError> {
    Directory::decode(&message.encode_to_vec())
}

#[test]
fn names_that_lead_elsewhere() {
    let files = |name: &str| reapi::Directory { files: vec![file(name)], ..Default::default() };
    let folders =
        |name: &str| reapi::Directory { directories: vec![folder(name)], ..Default::default() };
    let symlinks =
        |name: &str| reapi::Directory { symlinks: vec![symlink(name, "x")], ..Default::default() };
    let cases = [
        ("", NameError::Empty),
        (".", NameError::Dots(".".into())),
        ("..", NameError::Dots("..".into())),
        ("/", NameError::Character("/".into())),
        ("../up", NameError::Character("../up".into())),
        ("a\0", NameError::Character("a\\0".into())),
    ];
    for (name, error) in cases {
        for message in [files(name), folders(name), symlinks(name)] {
            assert_eq!(decode(message), Err(DirectoryError::Name(error.clone())), "{name:?}");
        }
    }
}

#[test]
fn entries_out_of_order() {
    let order = |name: &str| Err(DirectoryError::Order(name.into()));
    let files = vec![file("b"), file("a")];
    assert_eq!(decode(reapi::Directory { files, ..Default::default() }), order("a"));
    let directories = vec![folder("b"), folder("a")];
    assert_eq!(decode(reapi::Directory { directories, ..Default::default() }), order("a"));
    let symlinks = vec![symlink("b", "x"), symlink("a", "x")];
    assert_eq!(decode(reapi::Directory { symlinks, ..Default::default() }), order("a"));
    // The order is that of code points, not of words.
    let files = vec![file("a"), file("B")];
    assert_eq!(decode(reapi::Directory { files, ..Default::default() }), order("B"));
}

#[test]
fn names_that_stand_twice() {
    let twice = Err(DirectoryError::Duplicate("a".into()));
    let files = vec![file("a"), file("a")];
    assert_eq!(decode(reapi::Directory { files, ..Default::default() }), twice);
    let (files, directories) = (vec![file("a")], vec![folder("a")]);
    assert_eq!(decode(reapi::Directory { files, directories, ..Default::default() }), twice);
    let (files, symlinks) = (vec![file("a")], vec![symlink("a", "x")]);
    assert_eq!(decode(reapi::Directory { files, symlinks, ..Default::default() }), twice);
    let (directories, symlinks) = (vec![folder("a")], vec![symlink("a", "x")]);
    assert_eq!(decode(reapi::Directory { directories, symlinks, ..Default::default() }), twice);
}

#[test]
fn digests_and_targets() {
    let with = |digest| {
        let files = vec![reapi::FileNode { digest, ..file("a") }];
        decode(reapi::Directory { files, ..Default::default() })
    };
    let refused = |error| Err(DirectoryError::Digest("a".into(), error));
    assert_eq!(with(None), refused(DigestError::Absent));
    let negative = reapi::Digest { size_bytes: -1, ..digest().expect("one") };
    assert_eq!(with(Some(negative)), refused(DigestError::Size("-1".into())));
    let upper = "A".repeat(64);
    let hash = reapi::Digest { hash: upper.clone(), size_bytes: 1 };
    assert_eq!(with(Some(hash)), refused(DigestError::Hash(upper)));
    for target in ["", "a\0b"] {
        let symlinks = vec![symlink("a", target)];
        let message = reapi::Directory { symlinks, ..Default::default() };
        assert_eq!(decode(message), Err(DirectoryError::Target("a".into())));
    }
    // Where a link leads is its own business.
    for target in ["/etc/passwd", "../../..", "."] {
        let symlinks = vec![symlink("a", target)];
        decode(reapi::Directory { symlinks, ..Default::default() }).expect(target);
    }
}

#[test]
fn no_message_at_all() {
    for bytes in [&b"\xff"[..], b"\x0a\xff\xff\xff\xff\x7f", b"\x0a\x03\x0a\x01\xff", b"\x08\x01"] {
        let decoded = Directory::decode(bytes);
        assert!(matches!(decoded, Err(DirectoryError::Encoding(_))), "{bytes:?}: {decoded:?}");
    }
    assert_eq!(Directory::decode(b""), Ok(Directory::default()));
}

/// A digest is not confused by one whose beginning it is.
#[test]
fn lengths_matter() {
    let short = Digest::from_hex(&"a".repeat(32), 1).expect("a digest");
    let long = Digest::from_hex(&format!("{}{}", "a".repeat(32), "0".repeat(32)), 1);
    assert_ne!(short, long.expect("a digest"));
}
