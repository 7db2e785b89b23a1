//! What elements cost that have nothing to do: their messages are read, all at once, and that is all.

use std::collections::HashSet;
use std::process::Command;

use forerunner_merkle::Digest;
use forerunner_proto::{Message, reapi};
use forerunner_tests::{Parcel, bin, run, temp};
use serde_json::{Value, json};

use crate::endpoint::runtime;
use crate::scripted::{Content, Server};
use crate::speculate_kill::{Files, Step};

/// Elements that do not change: pairs of which one stands on the other.
const FEW: usize = 4;
const MANY: usize = 60;

/// A server, elements at it, and the command.
pub(crate) struct Scene {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) server: Server,
    pub(crate) url: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    driver: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.driver.take().map(std::thread::JoinHandle::join);
    }
}

/// An element that compiles its own file and the header of the one below it.
pub(crate) struct Made {
    pub(crate) json: Value,
    /// What belongs to it and not to its message.
    parts: HashSet<Digest>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let folder = temp();
        let server = Server::default();
        // All messages fit into one batch.
        server.set_batch_limit(1 << 20);
        let runtime = runtime();
        let url = {
            let _inside = runtime.enter();
            server.serve(folder.path())
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let driver = std::thread::spawn(move || {
            let _ = runtime.block_on(stopped);
        });
        Self { folder, server, url, stop: Some(stop), driver: Some(driver) }
    }

    fn add(&self, parcel: Parcel) -> Vec<Digest> {
        let blobs = parcel.into_blobs().into_iter().collect();
        let content = Content { blobs, ..Content::default() };
        let digests = content.blobs.keys().copied().collect();
        self.server.add(content);
        digests
    }

    pub(crate) fn tree(&self, files: &Files) -> Digest {
        let mut parcel = Parcel::default();
        for (path, content) in files {
            parcel.file(path, content.clone(), false);
        }
        let root = parcel.tree();
        self.add(parcel);
        root
    }

    /// `content` is what its own source says.
    pub(crate) fn element(&self, name: &str, below: Option<&str>, content: &str) -> Made {
        let own = format!("{name}.h");
        let file = |path: String, content: &str| vec![(path, content.to_owned())];
        let mut inputs = file(format!("work/{own}"), content);
        inputs.extend(below.map(|below| (format!("usr/{below}.h"), below.to_owned())));
        let output = format!("{name}.o");
        let script = format!("cat {own} > {output}");
        let step = Step { script, output, content: content.to_owned(), inputs };
        let mut parcel = Parcel::default();
        let action = step.pack(&mut parcel);
        let mut parts: HashSet<Digest> = self.add(parcel).into_iter().collect();
        let mut parcel = Parcel::default();
        let made = parcel.blob(content.to_owned());
        self.add(parcel);
        let result = reapi::ActionResult {
            output_files: vec![reapi::OutputFile {
                path: step.output,
                digest: Some(made.to_proto()),
                ..Default::default()
            }],
            ..Default::default()
        };
        let results = [(action, result.encode_to_vec().into())].into();
        self.server.add(Content { results, ..Content::default() });
        let sources = self.tree(&file(own.clone(), content));
        let artifact = self.tree(&file(format!("usr/{own}"), content));
        parts.extend([sources, artifact, made]);
        let depends: Vec<&str> = below.into_iter().collect();
        let json = json!({ "name": name, "depends": depends, "sources": sources.to_string(),
            "artifact": artifact.to_string(), "subactions": [action.to_string()] });
        Made { json, parts }
    }

    pub(crate) fn speculate(&self, words: &[&str]) -> String {
        let mut command = Command::new(bin("speculate"));
        command.args(words).arg(format!("--remote={}", self.url)).env("HOME", self.folder.path());
        command.env("FORERUNNER_STORE", self.folder.path().join("store"));
        run(&mut command)
    }

    pub(crate) fn graph(&self, name: &str, elements: &[Value]) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, json!({ "elements": elements }).to_string()).expect("a graph");
        path.to_str().expect("a path").to_owned()
    }
}

/// What the commands asked for: how many calls, and which digests.
struct Asked {
    nothing_changed: [usize; 2],
    one_changed: [usize; 2],
}

/// `idle` elements, and one that changes, with one above it. Messages are named by the graph, or found
/// by the elements' names.
fn play(idle: usize, named: bool) -> Asked {
    let scene = Scene::new();
    let mut idle_parts = HashSet::new();
    let mut elements = Vec::new();
    for index in 0..idle {
        let below = (index % 2 == 1).then(|| format!("idle{}", index - 1));
        let name = format!("idle{index}");
        let made = scene.element(&name, below.as_deref(), &name);
        idle_parts.extend(made.parts);
        elements.push(made.json);
    }
    elements.push(scene.element("leaf", None, "leaf").json);
    elements.push(scene.element("top", Some("leaf"), "top").json);
    let after = scene.graph("after.json", &elements);
    let generated: Value =
        serde_json::from_str(&scene.speculate(&["generate", "--graph", &after])).expect("JSON");
    let mut before = generated["elements"].as_array().expect("elements").clone();
    let mut messages: HashSet<Digest> = HashSet::new();
    for element in &mut before {
        let fields = element.as_object_mut().expect("an object");
        fields.remove("artifact");
        fields.remove("subactions");
        let message = fields["speculative_actions"].as_str().expect("a digest");
        messages.insert(message.parse().expect("a digest"));
        if !named {
            fields.remove("speculative_actions");
        }
    }
    // What was asked for by a command, in calls.
    let calls = |words: &[&str], lookups: usize| {
        scene.server.forget();
        let said = scene.speculate(words);
        let asked = scene.server.read_blobs().into_iter().chain(scene.server.looked_up());
        let asked: HashSet<Digest> = asked.collect();
        let touched: Vec<_> = asked.intersection(&idle_parts).collect();
        assert!(touched.is_empty(), "{words:?} asked for {touched:?}");
        let calls = scene.server.calls();
        // Finding a message by the name of its element is one lookup.
        let found = calls.iter().filter(|call| *call == "GetActionResult").count();
        assert!(found >= lookups, "{calls:?}");
        (said, calls, found, asked)
    };
    let lookups = if named { 0 } else { before.len() };
    let graph = scene.graph("same.json", &before);
    let prime = ["prime", "--json", "--quiet", "--exec-remote=local:", "--graph", &graph];
    let instantiate = ["instantiate", "--graph", &graph];
    let nothing_changed = [&prime[..], &instantiate[..]].map(|words| {
        let (said, calls, found, asked) = calls(words, lookups);
        let unchanged = match words[0] {
            "prime" => serde_json::from_str::<Value>(&said).expect("JSON")["total"]["unchanged"]
                .as_u64()
                .expect("a count") as usize,
            _ => said.matches("\"unchanged\"").count(),
        };
        assert_eq!(unchanged, before.len(), "{said}");
        assert_eq!(found, lookups, "{calls:?}");
        // Nothing but messages was read, and nothing was written.
        let read: HashSet<Digest> = asked.intersection(&messages).copied().collect();
        assert_eq!(read, messages);
        assert_eq!(asked.len(), messages.len() + lookups, "{calls:?}");
        let other = ["GetCapabilities", "GetActionResult", "BatchReadBlobs"];
        assert!(calls.iter().all(|call| other.contains(&call.as_str())), "{calls:?}");
        calls.len() - found
    });
    before[idle]["sources"] =
        json!(scene.tree(&vec![("leaf.h".to_owned(), "changed".to_owned())]).to_string());
    let graph = scene.graph("changed.json", &before);
    let (said, dry_calls, found, _) = calls(&["instantiate", "--graph", &graph], lookups);
    assert_eq!(said.matches("\"unchanged\"").count(), idle, "{said}");
    let dry = [dry_calls.len() - lookups, found - lookups];
    let prime = ["prime", "--json", "--quiet", "--exec-remote=local:", "--graph", &graph];
    let (said, ..) = calls(&prime, lookups);
    let total: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(total["total"]["unchanged"], idle, "{said}");
    assert_eq!(total["total"]["executed"], 2, "{said}");
    Asked { nothing_changed, one_changed: dry }
}

#[test]
fn unchanged_elements_cost_their_messages_only() {
    for named in [true, false] {
        let (few, many) = (play(FEW, named), play(MANY, named));
        // As many calls for many as for few, but for the lookups by name.
        assert_eq!(few.nothing_changed, many.nothing_changed);
        assert_eq!(few.one_changed, many.one_changed);
    }
}

/// "Each directory is read and parsed once": and whatever else there is.
#[test]
fn nothing_is_read_twice() {
    let scene = Scene::new();
    let below = scene.element("below", None, "below");
    let above = scene.element("above", Some("below"), "above");
    let again = scene.element("again", Some("below"), "above");
    let graph = scene.graph("after.json", &[below.json, above.json, again.json]);
    for words in [["generate", "--graph", &graph], ["instantiate", "--graph", &graph]] {
        scene.server.forget();
        scene.speculate(&words);
        for asked in [scene.server.read_blobs(), scene.server.looked_up()] {
            let distinct: HashSet<Digest> = asked.iter().copied().collect();
            assert_eq!(distinct.len(), asked.len(), "{}: {asked:?}", words[0]);
        }
        assert!(!scene.server.read_blobs().is_empty());
    }
}
