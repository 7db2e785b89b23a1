//! Where priming executes: on servers that are three, and on no more of one than it may take.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use forerunner_gateway::{Gateway, Policy, Recorder};
use forerunner_merkle::Digest;
use forerunner_proto::{Message, reapi};
use forerunner_reapi::{Config, Connection, Remote};
use forerunner_tests::{bin, run};
use serde_json::{Value, json};

use crate::endpoint::{embedded, runtime};
use crate::scripted::{Content, Server};
use crate::speculate_prime::{Home, prepared};

fn serve(path: PathBuf, config: &Config) -> (String, Gateway, Recorder) {
    let recorder = Recorder::new();
    let policy = Policy { update_allowed: true };
    let gateway = Gateway::start(&path, config, policy, recorder.clone()).expect("a socket");
    (format!("unix:{}", path.display()), gateway, recorder)
}

/// The result of an action with one output file.
fn result(path: &str, content: &Digest) -> Bytes {
    let file = reapi::OutputFile {
        path: path.to_owned(),
        digest: Some(content.to_proto()),
        ..Default::default()
    };
    let result = reapi::ActionResult { output_files: vec![file], ..Default::default() };
    result.encode_to_vec().into()
}

/// One server has content only, one results only, and one executes with these two behind it.
#[test]
fn content_results_and_execution_may_be_three_servers() {
    let home = Home::new();
    let inputs = [("work/a.h", "one "), ("work/a.c", "source")];
    let compile = home.action("cat a.h a.c > a.o", "a.o", &inputs);
    let link = home.action("cat a.o a.o > lib", "lib", &[("work/a.o", "one source")]);
    let mut content = Content::default();
    for (action, path, output) in
        [(compile, "a.o", "one source"), (link, "lib", "one sourceone source")]
    {
        let output = home.store.put(output.as_bytes()).expect("the output");
        content.results.insert(action, result(path, &output));
    }
    let results = Server::with(content);
    let runtime = runtime();
    let results_url = {
        let _inside = runtime.enter();
        results.serve(home.folder.path())
    };
    // The scripted server answers while the runtime is driven.
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let driver = std::thread::spawn(move || runtime.block_on(stopped));

    let here = embedded(home.folder.path());
    let (content_url, _content, content_used) = serve(home.path("content.sock"), &here);
    let mut behind = here.clone();
    behind.local.runner_arguments = vec!["--host-toolchain".to_owned()];
    behind.remote = Some(Remote {
        cas: Connection::new(&content_url),
        action_cache: Connection::new(&results_url),
        execution: Connection::new(Remote::HERE),
    });
    let (execution_url, _execution, executed) = serve(home.path("execution.sock"), &behind);

    let at = [
        format!("--remote={content_url}"),
        format!("--ac-remote={results_url}"),
        format!("--exec-remote={execution_url}"),
    ];
    let speculate = |words: &[&str]| {
        let mut command = home.speculate(words);
        // Whatever it found in a store of its own would be found there in vain.
        command.args(&at).env("FORERUNNER_STORE", home.path("none"));
        run(&mut command)
    };
    let list = [compile.to_string(), link.to_string()];
    let sources = home.tree(&[("a.h", "one "), ("a.c", "source")]).to_string();
    let element = json!({ "name": "lib", "sources": sources, "subactions": list });
    let graph = home.graph("after.json", &json!({ "elements": [element] }));
    speculate(&["generate", "--graph", &graph]);
    let sources = home.tree(&[("a.h", "two "), ("a.c", "source")]).to_string();
    let element = json!({ "name": "lib", "sources": sources });
    let graph = home.graph("before.json", &json!({ "elements": [element] }));
    let prime = || -> Value {
        let text = speculate(&["prime", "--quiet", "--json", "--graph", &graph]);
        serde_json::from_str(&text).expect("JSON")
    };
    assert_eq!(prime()["total"]["executed"], 2);
    assert_eq!(prime()["total"]["cached"], 2);

    let inputs = [("work/a.h", "two "), ("work/a.c", "source")];
    let asked = [
        home.action("cat a.h a.c > a.o", "a.o", &inputs),
        home.action("cat a.o a.o > lib", "lib", &[("work/a.o", "two source")]),
    ];
    // Executed at the third only, once each.
    assert_eq!(executed.subactions(), asked);
    assert!(content_used.subactions().is_empty());
    // The second has the results and was asked for nothing else.
    let other = ["GetCapabilities", "GetActionResult", "UpdateActionResult"];
    let calls = results.calls();
    assert!(calls.iter().all(|call| other.contains(&call.as_str())), "{calls:?}");
    let kept = results.content();
    assert!(kept.blobs.is_empty());
    for (action, expected) in asked.iter().zip(["two source", "two sourcetwo source"]) {
        let result = reapi::ActionResult::decode(kept.results[action].clone()).expect("a result");
        let output = Digest::required(result.output_files[0].digest.as_ref()).expect("a digest");
        // The first has the content and no results.
        let output = home.store.get(&output).expect("the store").expect("the output");
        assert_eq!(String::from_utf8_lossy(&output), expected);
        assert_eq!(home.output(action), None);
    }
    let _ = stop.send(());
    let _ = driver.join();
}

/// A runner that says, for each action, how many there are at once. The first of them wait until
/// there are `most` (or, so that nothing hangs, for two minutes).
fn counting_runner(folder: &Path, most: usize) -> PathBuf {
    std::fs::create_dir_all(folder).expect("a folder");
    let script = format!(
        "#!/bin/sh\n\
         cd {folder}\n\
         mkdir in.$$\n\
         count() {{ set -- in.*; echo $# >>counts; [ $# -ge {most} ] && : >enough; :; }}\n\
         left=2400\n\
         count\n\
         while [ ! -e enough ] && [ $left -gt 0 ]; do sleep 0.05; count; left=$((left - 1)); done\n\
         # Those that there should not be have time to come.\n\
         sleep 0.2\n\
         count\n\
         {runner} \"$@\"\n\
         code=$?\n\
         rmdir in.$$\n\
         exit $code\n",
        folder = folder.display(),
        runner = bin("buildbox-run").display(),
    );
    let path = folder.join("runner");
    std::fs::write(&path, script).expect("the runner");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("its mode");
    path
}

#[test]
fn no_more_than_the_share_is_executed_at_once() {
    for (share, most) in [("0.5", 2), ("1", 4)] {
        let home = Home::new();
        let actions: Vec<Digest> = (0..8)
            .map(|number| {
                let script = format!("cat a.h > {number}.o");
                home.recorded(&script, (&format!("{number}.o"), "one "), &[("work/a.h", "one ")])
            })
            .collect();
        let graph = prepared(&home, &actions, &[("a.h", "one ")], &[("a.h", "two ")]);
        let counted = home.path("counted");
        let mut command = home.speculate(&["prime", "--quiet", "--json", "--graph", &graph]);
        command.args(["--capacity", "4", "--max-share", share]);
        // The endpoint itself would execute all of them at once.
        command.env("FORERUNNER_JOBS", "8");
        let text = run(command.env("FORERUNNER_RUNNER", counting_runner(&counted, most)));
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["total"]["executed"], 8, "{text}");
        let counts = std::fs::read_to_string(counted.join("counts")).expect("the counts");
        let largest = counts.lines().map(|line| line.parse::<usize>().expect("a number")).max();
        assert_eq!(largest, Some(most), "with a share of {share}: {counts}");
    }
}
