//! What `--speculate` costs a build that gains nothing by it.

use std::path::PathBuf;

use forerunner_merkle::Digest;
use forerunner_proto::{Message, reapi};
use forerunner_reapi::{Endpoint, Record, record};
use forerunner_tests::{FUNCTION, Parcel, bin, config};

use super::{BUSYBOX, Place};
use crate::measure::{Bench, Timed};

pub(super) fn run(bench: &mut Bench, place: &Place) {
    for (command, arguments) in
        [("true", vec![BUSYBOX, "true"]), ("0.3 s of work", vec![BUSYBOX, "sh", "-c", WORK])]
    {
        let used = place.action("used", 0, &arguments, &[]);
        for (record, element) in [("no record", "new"), ("a record", "known")] {
            let asking = asking(place, &used, element);
            let remote = place.remote();
            let ahead = [remote.as_str(), "--speculate"];
            let runner = bin("buildbox-run");
            bench.pair(
                &format!("--speculate, {record}, `{command}`"),
                &Timed::new("with", || place.command(&runner, &asking, &ahead)),
                &Timed::new("without", || place.command(&runner, &asking, &ahead[..1])),
            );
        }
    }
}

const WORK: &str = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";

/// The action in a file as the build of an element, which may use a socket. The last build of the
/// element `known` used the action itself, with another input.
fn asking(place: &Place, from: &std::path::Path, element: &str) -> PathBuf {
    let bytes = std::fs::read(from).expect("an action");
    let used = FUNCTION.digest(&bytes);
    let mut action = reapi::Action::decode(&bytes[..]).expect("an action");
    let property = |name: &str, value: &str| reapi::platform::Property {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let properties =
        vec![property("forerunnerElement", element), property("remoteApisSocketPath", "bin/s")];
    action.platform = Some(reapi::Platform { properties });
    let input_root = Digest::required(action.input_root_digest.as_ref()).ok();
    let bytes = action.encode_to_vec();
    let path = place.folder.path().join(element);
    std::fs::write(&path, &bytes).expect("a file");
    let mut parcel = Parcel::default();
    parcel.blob(bytes);
    let config = config(&place.store(), Some(&place.casd.url()));
    place.runtime.block_on(async {
        let endpoint = Endpoint::open(&config).expect("an endpoint");
        parcel.upload(&endpoint).await;
        if element == "known" {
            let record = Record {
                element: element.to_owned(),
                subactions: vec![used],
                input_root,
                ..Record::default()
            };
            record::write(&endpoint, &record).await.expect("a record");
        }
    });
    path
}
