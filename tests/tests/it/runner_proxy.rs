//! A casd that has another server behind it.

use forerunner_merkle::Digest;
use forerunner_reapi::Endpoint;
use forerunner_tests::{Casd, Parcel, bin, run};

use crate::endpoint::remote;
use crate::runner::{Lab, sh};

/// What BuildStream asks for.
const DIRECTORY_ONLY: i32 = 1;

/// BuildStream reads output directories as files of its casd's cache. Such a casd says of what the
/// server behind it has that it is not missing.
#[test]
fn output_directories_are_in_casds_own_cache() {
    let Some(behind) = Casd::start() else { return };
    let Some(lab) = Lab::casd_with(&[format!("--cas-remote={}", behind.url())]) else { return };
    let casd = lab.casd.as_ref().expect("a casd");
    let other = lab.runtime.block_on(async { Endpoint::open(&remote(&behind.url())) });
    let other = other.expect("an address");
    for known in ["nothing", "a file", "everything"] {
        let mut tree = Parcel::default();
        tree.file("e/g", format!("{known} is known: g\n"), false);
        tree.file("f", format!("{known} is known: f\n"), false);
        let root = tree.tree();
        let blobs = tree.into_blobs();
        let mut there = Parcel::default();
        for (_, content) in blobs.iter().take(match known {
            "nothing" => 0,
            "a file" => 1,
            _ => blobs.len(),
        }) {
            there.blob(content.clone());
        }
        lab.runtime.block_on(there.upload(&other));
        assert!(blobs.iter().all(|(digest, _)| !casd.has(digest)), "{known}");
        let script = format!(
            "mkdir -p d/e; for n in f e/g; do echo {known} is known: ${{n#e/}} > d/$n; done"
        );
        let case = sh(&script).out(&["d"]).format(DIRECTORY_ONLY);
        let (mut command, files) = lab.command(&bin("buildbox-run"), &case);
        run(&mut command);
        // Before we look at what was made: that would fetch it.
        let gone: Vec<&Digest> =
            blobs.iter().map(|(digest, _)| digest).filter(|digest| !casd.has(digest)).collect();
        assert!(gone.is_empty(), "{known}: {gone:?}");
        let outcome = lab.read(&files);
        let directory = &outcome.result.as_ref().expect("a result").output_directories[0];
        let made = Digest::required(directory.root_directory_digest.as_ref());
        assert_eq!(made, Ok(root), "{outcome:#?}");
    }
}
