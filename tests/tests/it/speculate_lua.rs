//! Upstream Lua, built by its own Makefile: recorded, changed, primed, built again.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use forerunner_merkle::{Digest, Forest, Node, TreeBuilder, TreePath};
use forerunner_proto::reapi;
use forerunner_reapi::{Config, Content, Endpoint, ExecuteOptions};
use forerunner_tests::{FUNCTION, Parcel, bin, bin_dir, config, on_path, peer, run, source, temp};
use serde_json::{Value, json};

/// What is compared in the end.
const PRODUCTS: [&str; 3] = ["src/lua", "src/luac", "src/liblua.a"];

struct Lua {
    folder: tempfile::TempDir,
}

impl Lua {
    fn unpack() -> Option<Self> {
        peer("gcc", on_path("gcc"))?;
        peer("make", on_path("make"))?;
        let tarball = peer("the sources of lua5.4", source("lua5.4"))?;
        let folder = temp();
        let lua = Self { folder };
        for name in ["work", "plain"] {
            let to = lua.path(name);
            std::fs::create_dir(&to).expect("a directory");
            let mut tar = Command::new("tar");
            tar.arg("-xf").arg(&tarball).arg("--strip-components=1").arg("-C").arg(&to);
            run(&mut tar);
        }
        Some(lua)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes a header that most files include, so that every one of their objects changes.
    fn edit(&self, name: &str) {
        let header = self.path(name).join("src/lobject.h");
        let text = std::fs::read_to_string(&header).expect("the header");
        let before = "#define LUA_TUPVAL";
        assert!(text.contains(before), "{} has changed", header.display());
        let mark = "static const char edited[] __attribute__((used)) = \"edited\";\n";
        let text = text.replacen(before, &format!("{mark}{before}"), 1);
        std::fs::write(&header, text).expect("the header");
    }

    fn speculate(&self) -> Command {
        let mut command = Command::new(bin("speculate"));
        command
            .current_dir(self.path("work"))
            .env("FORERUNNER_STORE", self.path("store"))
            .env("HOME", self.path("home"))
            .env("PATH", path());
        command
    }

    fn record(&self) {
        let mut record = self.speculate();
        record.args(["record", "--element", "lua", "--sources", ".", "--"]).args(make(true));
        run(&mut record);
    }
}

/// Our wrappers, then what the system has.
fn path() -> String {
    format!("{}:{}", bin_dir().display(), std::env::var("PATH").unwrap_or_default())
}

/// Lua's Makefile asks for `ar rcu`, which this binutils warns about; so does the plain build.
fn make(wrapped: bool) -> Vec<String> {
    let (cc, ar, ranlib) = match wrapped {
        true => ("recc gcc -std=gnu99", "rear rcu", "reranlib"),
        false => ("gcc -std=gnu99", "ar rcu", "ranlib"),
    };
    ["make".to_owned(), "linux".to_owned()]
        .into_iter()
        .chain([format!("CC={cc}"), format!("AR={ar}"), format!("RANLIB={ranlib}")])
        .collect()
}

fn build_plain(lua: &Lua) {
    let arguments = make(false);
    run(Command::new(&arguments[0]).args(&arguments[1..]).current_dir(lua.path("plain")));
}

/// The `action` of each line that `instantiate` writes; every one must be resolved.
fn foreseen(text: &str) -> HashSet<String> {
    let mut actions = HashSet::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let state = line["state"].as_str().expect("a state");
        assert!(matches!(state, "changed" | "unchanged"), "{line}");
        actions.insert(line["action"].as_str().expect("a digest").to_owned());
    }
    actions
}

fn subactions(graph: &str) -> Vec<String> {
    let graph: Value = serde_json::from_str(graph).expect("JSON");
    let list = graph["elements"][0]["subactions"].as_array().expect("subactions").clone();
    list.iter().map(|digest| digest.as_str().expect("a digest").to_owned()).collect()
}

#[test]
fn a_changed_header_is_all_hits() {
    let Some(lua) = Lua::unpack() else { return };
    lua.record();
    let graph = run(lua.speculate().args(["generate", "--element", "lua"]));
    let first = subactions(&graph);
    // 32 sources of the library, lua.c and luac.c; an archive, its index, two links.
    assert!(first.len() >= 37, "{}", first.len());

    lua.edit("work");
    lua.edit("plain");
    let prime = ["prime", "--element", "lua", "--sources", ".", "--json"];
    let primed: Value = serde_json::from_str(&run(lua.speculate().args(prime))).expect("JSON");
    // 19 sources include it; then the archive, its index and two links.
    assert!(primed["total"]["executed"].as_u64() >= Some(20), "{primed}");
    assert_eq!(primed["total"]["skipped"], json!({}), "{primed}");
    let dry = ["instantiate", "--element", "lua", "--sources", "."];
    let foreseen = foreseen(&run(lua.speculate().args(dry)));

    run(Command::new("make").arg("clean").current_dir(lua.path("work")));
    lua.record();
    let second = subactions(&run(lua.speculate().args(["generate", "--element", "lua"])));
    assert_eq!(second.len(), first.len());
    for action in &second {
        assert!(foreseen.contains(action), "{action} was not foreseen");
    }
    build_plain(&lua);
    for product in PRODUCTS {
        let ours = std::fs::read(lua.path("work").join(product)).expect("a product");
        let plain = std::fs::read(lua.path("plain").join(product)).expect("a product");
        assert!(ours == plain, "{product} differs from that of a plain build");
    }
    // Nothing changed since: nothing to do.
    let primed: Value = serde_json::from_str(&run(lua.speculate().args(prime))).expect("JSON");
    assert_eq!(primed["total"]["executed"], 0, "{primed}");
}

/// The configuration of an endpoint on the test's store whose runner shows our wrappers.
fn showing_wrappers(lua: &Lua) -> Config {
    let mut config = config(&lua.path("store"), None);
    config.local.runner_arguments = vec![
        "--host-toolchain".to_owned(),
        format!("--ro-bind-mount={}:/forerunner", bin_dir().display()),
        "--nested-ac-enable-update".to_owned(),
    ];
    config
}

/// Builds the tree `sources` inside `buildbox-run`; answers with its result.
async fn build_inside(
    endpoint: &Endpoint,
    sources: Digest,
    forest: &mut Forest,
) -> reapi::ActionResult {
    let directory = "buildstream/test/lua.bst";
    let mut builder = TreeBuilder::new();
    let at = TreePath::parse(directory).expect("a path");
    builder.leaf(&at, Node::Directory(sources)).expect("free");
    let root = builder.build(forest);
    let variable = |(name, value): (&str, &str)| reapi::command::EnvironmentVariable {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let environment = [
        ("FORERUNNER_TOOLCHAIN_SALT", "1"),
        ("HOME", "/tmp"),
        ("PATH", "/forerunner:/usr/bin:/bin"),
        ("RECC_CACHE_ONLY", "1"),
        ("RECC_CACHE_UPLOAD_LOCAL_BUILD", "1"),
        ("RECC_DEPS_GLOBAL_PATHS", "1"),
        ("RECC_LINK", "1"),
        ("RECC_NO_PATH_REWRITE", "1"),
        ("RECC_REMOTE_PLATFORM_OSFamily", "linux"),
        ("RECC_SERVER", "unix:/tmp/reapi.sock"),
    ];
    let property = |name: &str, value: &str| reapi::platform::Property {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let quoted: Vec<String> = make(true).iter().map(|word| format!("'{word}'")).collect();
    let command = reapi::Command {
        arguments: ["sh", "-e", "-c", &quoted.join(" ")].map(str::to_owned).to_vec(),
        environment_variables: environment.into_iter().map(variable).collect(),
        output_paths: PRODUCTS.iter().map(|&path| path.to_owned()).collect(),
        working_directory: directory.to_owned(),
        ..Default::default()
    };
    let properties =
        vec![property("OSFamily", "linux"), property("remoteApisSocketPath", "tmp/reapi.sock")];
    let action = reapi::Action {
        input_root_digest: Some(root.to_proto()),
        do_not_cache: true,
        platform: Some(reapi::Platform { properties }),
        ..Default::default()
    };
    let mut parcel = Parcel::default();
    let (digest, _) = parcel.action(&command, action);
    for (_, directory) in forest.take_made() {
        parcel.blob(directory);
    }
    parcel.upload(endpoint).await;
    let execution = endpoint.execute(&digest, &ExecuteOptions::default()).expect("an execution");
    let response = execution.finish().await.expect("an answer").message().expect("a message");
    let result = response.result.unwrap_or_else(|| panic!("{:?}", response.status));
    if result.exit_code != 0 {
        let stderr = Digest::required(result.stderr_digest.as_ref()).expect("a digest");
        let stderr = endpoint.get(&stderr).await.expect("the errors");
        panic!("exit code {}: {}", result.exit_code, String::from_utf8_lossy(&stderr));
    }
    result
}

async fn capture(endpoint: &Endpoint, path: &Path) -> (Digest, Forest) {
    let attributes = forerunner_store::scan::Attributes::default();
    let function = FUNCTION;
    let mut scanned =
        forerunner_store::scan::directory(path, function, attributes).expect("a tree");
    let mut blobs: Vec<(Digest, Content)> = scanned
        .forest
        .take_made()
        .into_iter()
        .map(|(digest, bytes)| (digest, Content::Bytes(bytes)))
        .collect();
    blobs.extend(scanned.files.into_iter().map(|(digest, path)| (digest, Content::File(path))));
    endpoint.upload(blobs).await.expect("the upload");
    (scanned.root, scanned.forest)
}

#[tokio::test(flavor = "current_thread")]
async fn the_same_inside_the_sandbox() {
    let Some(lua) = Lua::unpack() else { return };
    let endpoint = Endpoint::open(&showing_wrappers(&lua)).expect("an endpoint");
    let graph = lua.path("graph.json");
    let graph_text = graph.to_str().expect("a path").to_owned();
    let (sources, mut forest) = capture(&endpoint, &lua.path("work")).await;
    let result = build_inside(&endpoint, sources, &mut forest).await;
    assert!(result.subactions.len() >= 37, "{}", result.subactions.len());
    let digests: Vec<String> = result
        .subactions
        .iter()
        .map(|digest| Digest::from_proto(digest).expect("a digest").to_string())
        .collect();
    let text = json!({ "elements": [{
        "name": "lua.bst", "sources": sources.to_string(), "subactions": digests } ] });
    std::fs::write(&graph, text.to_string()).expect("the graph");
    run(lua.speculate().args(["generate", "--graph", &graph_text]));

    lua.edit("work");
    lua.edit("plain");
    let (sources, mut forest) = capture(&endpoint, &lua.path("work")).await;
    let text = json!({ "elements": [{ "name": "lua.bst", "sources": sources.to_string() }] });
    std::fs::write(&graph, text.to_string()).expect("the graph");
    let primed = run(lua.speculate().args(["prime", "--graph", &graph_text, "--json"]));
    let primed: Value = serde_json::from_str(&primed).expect("JSON");
    assert_eq!(primed["total"]["skipped"], json!({}), "{primed}");
    let foreseen = foreseen(&run(lua.speculate().args(["instantiate", "--graph", &graph_text])));

    let result = build_inside(&endpoint, sources, &mut forest).await;
    for digest in &result.subactions {
        let digest = Digest::from_proto(digest).expect("a digest").to_string();
        assert!(foreseen.contains(&digest), "{digest} was not foreseen");
    }
    build_plain(&lua);
    for product in PRODUCTS {
        let plain = std::fs::read(lua.path("plain").join(product)).expect("a product");
        let ours = result.output_files.iter().find(|file| file.path == product);
        let ours = ours.and_then(|file| Digest::required(file.digest.as_ref()).ok());
        assert_eq!(ours, Some(FUNCTION.digest(&plain)), "{product}");
    }
}
