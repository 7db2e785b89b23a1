//! The history of a real C project: each release of zstd is built with what the one before it
//! taught. Prints a table (docs/speculate.md). Two steps; in the long form all 22.
//!
//! The sources are those that the crate `zstd-sys` carries, fetched by cargo.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use forerunner_merkle::{Digest, DigestFunction, Forest, Node};
use forerunner_proto::{Message, reapi};
use forerunner_store::{Options, Store};
use forerunner_tests::{at_home, long, on_path, peer, peers, run, temp};
use serde_json::Value;

/// Version of the crate, and of the zstd in it.
const RELEASES: [(&str, &str); 23] = [
    ("1.4.1", "1.3.2"),
    ("1.4.2", "1.3.3"),
    ("1.4.3", "1.3.4"),
    ("1.4.4", "1.3.5"),
    ("1.4.5", "1.3.6"),
    ("1.4.6", "1.3.7"),
    ("1.4.8", "1.3.8"),
    ("1.4.10", "1.4.0"),
    ("1.4.11", "1.4.1"),
    ("1.4.12", "1.4.2"),
    ("1.4.13", "1.4.3"),
    ("1.4.15", "1.4.4"),
    ("1.4.17", "1.4.5"),
    ("1.4.18", "1.4.7"),
    ("1.4.19", "1.4.8"),
    ("1.4.20", "1.4.9"),
    ("1.6.1", "1.5.0"),
    ("1.6.2", "1.5.1"),
    ("1.6.3", "1.5.2"),
    ("2.0.7", "1.5.4"),
    ("2.0.9", "1.5.5"),
    ("2.0.13", "1.5.6"),
    ("2.0.16", "1.5.7"),
];

/// The releases of the short form: the last ones.
const SHORT: usize = 3;

/// Of crates without a Makefile for it; the same for all releases.
const MAKEFILE: &str = "\
CC = gcc
AR = ar rcs
CPPFLAGS = -Ilib -Ilib/common -Ilib/legacy -DZSTD_LEGACY_SUPPORT=1 -DZSTD_DISABLE_ASM
SOURCES := $(sort $(wildcard lib/common/*.c lib/compress/*.c lib/decompress/*.c \
\tlib/dictBuilder/*.c lib/legacy/*.c))
OBJECTS := $(SOURCES:.c=.o)
roundtrip: roundtrip.o libzstd.a
\t$(CC) -o $@ roundtrip.o libzstd.a
libzstd.a: $(OBJECTS)
\t$(AR) $@ $(OBJECTS)
%.o: %.c
\t$(CC) -O0 $(CPPFLAGS) -c -o $@ $<
";

const PROGRAM: &str = "\
#include <string.h>
#include <zstd.h>
int main(void) {
    const char text[] = \"what goes in comes out\";
    char packed[256], again[sizeof text];
    size_t size = ZSTD_compress(packed, sizeof packed, text, sizeof text, 1);
    if (ZSTD_isError(size)) return 1;
    if (ZSTD_decompress(again, sizeof again, packed, size) != sizeof text) return 2;
    return memcmp(text, again, sizeof text) != 0;
}
";

const PRODUCTS: [&str; 2] = ["libzstd.a", "roundtrip"];

/// Lets cargo fetch one release, and copies its library beside the other tools of others.
fn fetch(version: &str) -> Option<PathBuf> {
    let lib = peers().join("history").join(format!("zstd-sys-{version}"));
    if lib.exists() {
        return Some(lib);
    }
    let package = temp();
    let manifest = format!(
        "[package]\nname = \"sources\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n\
        [dependencies]\nzstd-sys = {{ version = \"={version}\", default-features = false }}\n"
    );
    std::fs::write(package.path().join("Cargo.toml"), manifest).ok()?;
    std::fs::create_dir(package.path().join("src")).ok()?;
    std::fs::write(package.path().join("src/lib.rs"), "").ok()?;
    let cargo = |arguments: &[&str]| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Command::new(cargo).args(arguments).current_dir(package.path()).output().ok()
    };
    cargo(&["fetch", "--quiet"])?;
    let said = cargo(&["metadata", "--format-version=1", "--offline"])?;
    let metadata: Value = serde_json::from_slice(&said.stdout).ok()?;
    let found = metadata["packages"].as_array()?.iter().find(|p| p["name"] == "zstd-sys")?;
    let from = Path::new(found["manifest_path"].as_str()?).parent()?.join("zstd/lib");
    std::fs::create_dir_all(lib.parent()?).ok()?;
    // Complete or not there at all.
    let part = tempfile::tempdir_in(lib.parent()?).ok()?;
    let copied = Command::new("cp").arg("-rL").arg(from).arg(part.path().join("lib")).status();
    copied.ok().filter(std::process::ExitStatus::success)?;
    let _ = std::fs::rename(part.path().join("lib"), &lib);
    lib.exists().then_some(lib)
}

/// What a build asked for, as far as it matters whether it could be known before.
#[derive(Default)]
struct Build {
    actions: Vec<Digest>,
    /// Their commands.
    commands: HashMap<Digest, Digest>,
    /// By the digest of the command: the paths of the input tree.
    shapes: HashMap<Digest, BTreeSet<String>>,
}

struct History {
    folder: tempfile::TempDir,
    store: Store,
}

impl History {
    fn new() -> Self {
        let folder = temp();
        let function = DigestFunction::Sha256;
        let options = Options { root: folder.path().join("store"), size_limit: 10 << 30, function };
        Self { store: Store::open(&options).expect("a store"), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts the sources of a release in place, and nothing else.
    fn check_out(&self, lib: &Path) {
        for name in ["work", "plain"] {
            let work = self.path(name);
            let _ = std::fs::remove_dir_all(&work);
            std::fs::create_dir(&work).expect("a folder");
            run(Command::new("cp").arg("-r").arg(lib).arg(work.join("lib")));
            std::fs::write(work.join("Makefile"), MAKEFILE).expect("the Makefile");
            std::fs::write(work.join("roundtrip.c"), PROGRAM).expect("the program");
        }
    }

    fn speculate(&self, arguments: &[&str]) -> String {
        run(at_home("speculate", &self.path("work"), self.folder.path()).args(arguments))
    }

    /// Builds with the wrappers; answers with what the build asked for.
    fn build(&self) -> Build {
        let make = ["make", "-j2", "CC=recc gcc", "AR=rear rcs"];
        let record = ["record", "--element", "zstd", "--sources", ".", "--"];
        self.speculate(&[&record[..], &make[..]].concat());
        let graph = self.speculate(&["generate", "--element", "zstd"]);
        let graph: Value = serde_json::from_str(&graph).expect("JSON");
        let list = graph["elements"][0]["subactions"].as_array().expect("subactions");
        let digest = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        let mut build = Build::default();
        for action in list.iter().map(|value| digest(value).expect("a digest")) {
            let (command, files) = self.inputs(&action);
            build.commands.insert(action, command);
            build.shapes.insert(command, files.into_keys().collect());
            build.actions.push(action);
        }
        build
    }

    fn message<M: Message + Default>(&self, digest: &Digest) -> M {
        let bytes = self.store.get(digest).expect("the store");
        let bytes = bytes.unwrap_or_else(|| panic!("{digest} is gone"));
        M::decode(&*bytes).expect("a message")
    }

    /// The command of an action, and its input files.
    fn inputs(&self, action: &Digest) -> (Digest, BTreeMap<String, Digest>) {
        let action: reapi::Action = self.message(action);
        let command = Digest::required(action.command_digest.as_ref()).expect("a command");
        let root = Digest::required(action.input_root_digest.as_ref()).expect("a root");
        let mut forest = Forest::new(DigestFunction::Sha256);
        loop {
            let missing = forest.missing_below(&[root]);
            if missing.is_empty() {
                break;
            }
            for digest in missing {
                let bytes = self.store.get(&digest).expect("the store").expect("a directory");
                forest.insert_encoded(digest, &bytes).expect("a directory");
            }
        }
        let mut files = BTreeMap::new();
        let mut visit = |path: &forerunner_merkle::TreePath, node: &Node| {
            if let Node::File(file) = node {
                files.insert(path.to_string(), file.digest);
            }
        };
        forest.leaves(root, &mut visit).expect("all directories");
        (command, files)
    }

    fn outputs(&self, action: &Digest) -> Option<Vec<Digest>> {
        let bytes = self.store.action_result(action).expect("the store")?;
        let result = reapi::ActionResult::decode(&*bytes).expect("a result");
        let digests = result.output_files.iter();
        Some(digests.filter_map(|file| Digest::required(file.digest.as_ref()).ok()).collect())
    }

    /// The actions that could be known in advance: the build before had the same command on files
    /// of the same paths, and the same holds for what made its inputs.
    fn knowable(&self, before: &Build, now: &Build) -> HashSet<Digest> {
        let mut knowable = HashSet::new();
        let mut products: HashMap<Digest, bool> = HashMap::new();
        for action in &now.actions {
            let (command, files) = self.inputs(action);
            let same =
                before.shapes.get(&command).is_some_and(|shape| shape.iter().eq(files.keys()));
            let known = same && files.values().all(|file| *products.get(file).unwrap_or(&true));
            if known {
                knowable.insert(*action);
            }
            for output in self.outputs(action).unwrap_or_default() {
                products.entry(output).or_insert(known);
            }
        }
        knowable
    }

    /// The actions that have a result, as `prime` left its trace.
    fn primed(&self) -> HashSet<Digest> {
        let text = std::fs::read_to_string(self.path("trace.json")).expect("the trace");
        let trace: Value = serde_json::from_str(&text).expect("JSON");
        let events = trace["traceEvents"].as_array().expect("events").iter();
        let ready = events.filter(|event| {
            matches!(event["cat"].as_str(), Some("execution" | "lookup" | "unchanged"))
        });
        ready.filter_map(|event| event["args"]["action"].as_str()?.parse().ok()).collect()
    }

    fn check_products(&self) -> u64 {
        run(Command::new("make").arg("-j2").current_dir(self.path("plain")));
        run(&mut Command::new(self.path("work").join("roundtrip")));
        let mut bytes = 0;
        for product in PRODUCTS {
            let ours = std::fs::read(self.path("work").join(product)).expect("a product");
            let plain = std::fs::read(self.path("plain").join(product)).expect("a product");
            assert!(ours == plain, "{product} differs from that of a plain build");
            bytes += ours.len() as u64;
        }
        bytes
    }

    /// The bytes of the newest message.
    fn metadata(&self) -> u64 {
        let graph = self.speculate(&["generate", "--element", "zstd"]);
        let graph: Value = serde_json::from_str(&graph).expect("JSON");
        let digest = graph["elements"][0]["speculative_actions"].as_str().expect("a digest");
        digest.parse::<Digest>().expect("a digest").size()
    }
}

#[derive(Default)]
struct Row {
    recorded: usize,
    resolved: usize,
    executed: usize,
    tries: usize,
    skipped: BTreeMap<String, u64>,
    asked: usize,
    hits: usize,
    knowable: usize,
    known_hits: usize,
    repeated: usize,
    repeated_hits: usize,
    wasted: usize,
    metadata: u64,
    products: u64,
}

impl Row {
    fn add(&mut self, other: &Self) {
        self.recorded += other.recorded;
        self.resolved += other.resolved;
        self.executed += other.executed;
        self.tries += other.tries;
        self.asked += other.asked;
        self.hits += other.hits;
        self.knowable += other.knowable;
        self.known_hits += other.known_hits;
        self.repeated += other.repeated;
        self.repeated_hits += other.repeated_hits;
        self.wasted += other.wasted;
        self.metadata += other.metadata;
        self.products += other.products;
        for (reason, count) in &other.skipped {
            *self.skipped.entry(reason.clone()).or_default() += count;
        }
    }

    fn print(&self, name: &str) {
        let reasons: Vec<String> = self.skipped.iter().map(|(r, n)| format!("{r} {n}")).collect();
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} of {} | {} of {} | {} | {:.2} % | {} |",
            self.recorded,
            self.resolved,
            self.executed,
            self.tries,
            self.asked,
            self.hits,
            self.known_hits,
            self.knowable,
            self.repeated_hits,
            self.repeated,
            self.wasted,
            100.0 * self.metadata as f64 / self.products.max(1) as f64,
            reasons.join(", "),
        );
    }
}

#[test]
fn releases_of_zstd() {
    for tool in ["gcc", "make"] {
        if peer(tool, on_path(tool)).is_none() {
            return;
        }
    }
    let releases = if long() { &RELEASES[..] } else { &RELEASES[RELEASES.len() - SHORT..] };
    let mut libraries = Vec::new();
    for (version, _) in releases {
        let Some(lib) = peer("the history of zstd-sys", fetch(version)) else { return };
        libraries.push(lib);
    }
    let history = History::new();
    let mut ever: HashSet<Digest> = HashSet::new();
    let mut before: Option<Build> = None;
    let mut total = Row::default();
    println!(
        "| step | recorded | resolved | executed | tries | asked for | hits | of the knowable \
        | of the same commands | wasted | metadata | not primed \
        |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for (lib, (_, version)) in libraries.iter().zip(releases) {
        history.check_out(lib);
        let Some(previous) = before.take() else {
            let build = history.build();
            history.check_products();
            ever.extend(&build.actions);
            before = Some(build);
            continue;
        };
        let trace = history.path("trace.json");
        let trace = trace.to_str().expect("a path");
        let prime = ["prime", "--element", "zstd", "--sources", ".", "--json", "--trace", trace];
        let said: Value = serde_json::from_str(&history.speculate(&prime)).expect("JSON");
        let count = |name: &str| said["total"][name].as_u64().unwrap_or_default() as usize;
        let primed = history.primed();
        let build = history.build();
        let knowable = history.knowable(&previous, &build);
        // The build before ran the same command, whatever it read.
        let repeated: HashSet<Digest> = build
            .commands
            .iter()
            .filter(|(_, command)| previous.shapes.contains_key(command))
            .map(|(action, _)| *action)
            .collect();
        let asked: HashSet<Digest> = build.actions.iter().copied().collect();
        let hits: HashSet<Digest> =
            asked.iter().filter(|a| primed.contains(a) || ever.contains(a)).copied().collect();
        let skipped: BTreeMap<String, u64> =
            serde_json::from_value(said["total"]["skipped"].clone()).expect("counts");
        let row = Row {
            recorded: count("recorded"),
            resolved: count("unchanged") + count("cached") + count("executed"),
            executed: count("executed"),
            tries: count("tries"),
            skipped,
            asked: asked.len(),
            hits: hits.len(),
            knowable: knowable.len(),
            known_hits: knowable.intersection(&hits).count(),
            repeated: repeated.len(),
            repeated_hits: repeated.intersection(&hits).count(),
            wasted: primed.iter().filter(|a| !asked.contains(a) && !ever.contains(a)).count(),
            metadata: history.metadata(),
            products: history.check_products(),
        };
        row.print(version);
        total.add(&row);
        ever.extend(&build.actions);
        ever.extend(&primed);
        before = Some(build);
    }
    total.print("all");
    // What could be known in advance is a hit.
    assert!(10 * total.known_hits >= 9 * total.knowable, "{} hits", total.known_hits);
    assert!(total.hits > 0);
}
