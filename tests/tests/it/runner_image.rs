//! Images of containers that an asset service knows: a stock casd is one.

use forerunner_merkle::Forest;
use forerunner_proto::asset::push_client::PushClient;
use forerunner_proto::asset::{PushBlobRequest, Qualifier};
use forerunner_proto::{Message, reapi};
use forerunner_reapi::Content;
use forerunner_tests::{bin, buildbox, peer};

use crate::endpoint::FUNCTION;
use crate::runner::{Case, Lab, sh};

/// Has the service know the tree of `case` by a name; answers with the case on an image of that.
fn image(lab: &Lab, case: Case, name: &str) -> Case {
    let (action, _) = lab.upload(&case);
    let runtime = &lab.runtime;
    let action: reapi::Action =
        runtime.block_on(lab.endpoint.message(&action)).expect("the action");
    let root = action.input_root_digest.expect("a root");
    runtime.block_on(async {
        let digest = forerunner_merkle::Digest::from_proto(&root).expect("a digest");
        let mut forest = Forest::new(FUNCTION);
        lab.endpoint.load(&mut forest, &[digest]).await.expect("the tree");
        let tree = forest.tree(digest).expect("a tree").encode_to_vec();
        let tree_digest = FUNCTION.digest(&tree);
        let blobs = vec![(tree_digest, Content::Bytes(tree.into()))];
        lab.endpoint.upload(blobs).await.expect("an upload");
        let url = lab.casd.as_ref().expect("casd").url();
        let channel = tonic::transport::Endpoint::from_shared(url).expect("an address");
        let mut service = PushClient::new(channel.connect().await.expect("a server"));
        let qualifiers =
            [("buildbox_oci_version", "v1"), ("platform_os", "linux"), ("platform_arch", "amd64")];
        let qualifiers = qualifiers
            .map(|(name, value)| Qualifier { name: name.to_owned(), value: value.to_owned() });
        let request = PushBlobRequest {
            uris: vec![name.to_owned()],
            qualifiers: qualifiers.to_vec(),
            blob_digest: Some(tree_digest.to_proto()),
            references_directories: vec![root],
            ..Default::default()
        };
        service.push_blob(request).await.expect("a name");
    });
    Case { tree: Vec::new(), without_programs: true, ..case }
}

#[test]
fn an_image_that_is_known_is_the_root() {
    let Some(lab) = Lab::casd() else { return };
    let Some(reference) = peer("buildbox-run of the reference", buildbox("buildbox-run")) else {
        return;
    };
    let hash = "a".repeat(64);
    let service = format!("--ra-remote={}", lab.casd.as_ref().expect("casd").url());
    let case = sh("cat ../etc/name in; echo x > x").file("etc/name", "image\n").out(&["x"]);
    let case = image(&lab, case, &format!("registry-1.docker.io/a/b@sha256:{hash}"));
    let case = case.file("w/in", "input\n");
    let with = |image: String, option: &str| {
        case.clone().property("container-image", &image).option(option)
    };
    for image in [format!("docker://a/b@sha256:{hash}"), format!("docker://a/b:v1@sha256:{hash}")] {
        let known = with(image, &service);
        for program in [&reference, &bin("buildbox-run")] {
            let outcome = lab.run(program, &known);
            assert_eq!(outcome.stdout(), "image\ninput\n", "{outcome:#?}");
            assert_eq!(outcome.files(), ["x"]);
        }
        // What is fetched file by file is the same.
        let outcome = lab.ours(&known.option("--disable-localcas"));
        assert_eq!(outcome.stdout(), "image\ninput\n", "{outcome:#?}");
    }
    for (image, option, why) in [
        (format!("docker://a/c@sha256:{hash}"), &*service, "does not know it"),
        (format!("docker://a/b@sha256:{hash}"), "--verbose", "--ra-remote=URL"),
        (format!("docker://a/b@sha256:{hash}"), "--ra-remote=unix:/nowhere/s", "/nowhere/s"),
        ("docker://a/b:v1".to_owned(), &*service, "by its digest"),
    ] {
        let case = with(image, option).option("--ra-retry-limit=0");
        let outcome = lab.ours(&case);
        assert_eq!(outcome.exit_status, 1, "{outcome:#?}");
        let message = outcome.status.expect("a status").message;
        assert!(message.contains(why), "{message}");
    }
}
