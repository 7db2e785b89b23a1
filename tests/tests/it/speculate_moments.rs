//! `generate` and `prime` that are stopped at random moments, and an endpoint that goes away and comes
//! back: whatever was begun, the cache holds nothing wrong, nothing is left running, mounted or lying
//! about, and the next run does the rest. The same for the same seed (`FORERUNNER_SEED`), but for the clock.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use forerunner_merkle::Digest;
use forerunner_tests::{Casd, Parcel, bin, long, run, temp};
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::speculate_kill::{Files, Lab, Step};

/// Compiles of the project; an archive and its index follow.
const UNITS: usize = 5;

/// What the commands take, as long as nothing else is known: most moments are within.
const TAKES: Duration = Duration::from_millis(200);

/// For whatever must happen sooner or later.
const LIMIT: Duration = Duration::from_secs(300);

/// How a command is disturbed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Blow {
    Signal(&'static str),
    /// The endpoint goes away, and comes back after so many milliseconds.
    Outage(u64),
}

/// In front of a server: passes everything on, as long as it is there.
struct Line {
    front: PathBuf,
    open: Arc<Mutex<Vec<UnixStream>>>,
}

impl Line {
    fn new(front: &Path, back: PathBuf) -> Self {
        let listener = UnixListener::bind(front).expect("a socket");
        let open = Arc::new(Mutex::new(Vec::new()));
        let streams = Arc::clone(&open);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, UnixStream::connect(&back)) else {
                    continue;
                };
                let again = |stream: &UnixStream| stream.try_clone().expect("a stream");
                streams.lock().expect("no panic").extend([again(&client), again(&server)]);
                for (from, to) in [(again(&client), again(&server)), (server, client)] {
                    std::thread::spawn(move || pass_on(from, to));
                }
            }
        });
        Self { front: front.to_owned(), open }
    }

    fn aside(&self) -> PathBuf {
        self.front.with_extension("away")
    }

    /// Nobody is there any more, and whoever was connected is no longer.
    fn go_away(&self) {
        std::fs::rename(&self.front, self.aside()).expect("the socket");
        for stream in self.open.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn come_back(&self) {
        std::fs::rename(self.aside(), &self.front).expect("the socket");
    }
}

fn pass_on(mut from: UnixStream, mut to: UnixStream) {
    let mut piece = [0; 8192];
    while let Ok(size @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..size]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

struct Game {
    lab: Lab,
    line: Option<Line>,
    dice: Dice,
    /// What nobody else's processes have in their command lines.
    mark: String,
    /// The headers so far; the last is today's.
    headers: Vec<String>,
    /// What a fresh execution of an action made.
    fresh: HashMap<Digest, Vec<u8>>,
    /// How long commands took that nothing disturbed, by name.
    takes: HashMap<&'static str, Duration>,
}

impl Game {
    fn project(&self, header: &str) -> Vec<Step> {
        let mark = &self.mark;
        let mut objects = Files::new();
        let mut steps = Vec::new();
        for unit in 0..UNITS {
            let content = format!("{header} {unit}");
            // Long enough that a blow finds several under way.
            let script = format!("sleep 0.1; cat a.h u{unit}.c > u{unit}.o; : {mark}");
            let inputs = vec![
                ("work/a.h".to_owned(), header.to_owned()),
                (format!("work/u{unit}.c"), format!(" {unit}")),
            ];
            objects.push((format!("work/u{unit}.o"), content.clone()));
            steps.push(Step { script, output: format!("u{unit}.o"), content, inputs });
        }
        let content: String = objects.iter().map(|(_, content)| content.as_str()).collect();
        let script = format!("cat *.o > lib; : {mark}");
        let archive = ("work/lib".to_owned(), content.clone());
        steps.push(Step {
            script,
            output: "lib".to_owned(),
            content: content.clone(),
            inputs: objects,
        });
        let content = format!("{content}!");
        let script = format!("cat lib > app; printf ! >> app; : {mark}");
        steps.push(Step { script, output: "app".to_owned(), content, inputs: vec![archive] });
        steps
    }

    fn graph(&self, name: &str, header: &str, actions: Option<&[Digest]>) -> String {
        let mut files = vec![("a.h".to_owned(), header.to_owned())];
        files.extend((0..UNITS).map(|unit| (format!("u{unit}.c"), format!(" {unit}"))));
        let mut parcel = Parcel::default();
        for (path, content) in files {
            parcel.file(&path, content, false);
        }
        let root = parcel.tree();
        self.lab.with_endpoint(async |endpoint| parcel.upload(endpoint).await);
        let mut element = json!({ "name": "lib", "sources": root.to_string() });
        if let Some(actions) = actions {
            let actions: Vec<String> = actions.iter().map(ToString::to_string).collect();
            element["subactions"] = json!(actions);
        }
        let path = self.lab.path(name);
        std::fs::write(&path, json!({ "elements": [element] }).to_string()).expect("a graph");
        path.to_str().expect("a path").to_owned()
    }

    fn command(&self, words: &[&str]) -> Command {
        let line = self.line.as_ref().map(|line| format!("unix:{}", line.front.display()));
        let mut command = self.lab.speculate_at(line.as_deref(), words);
        command.env("TMPDIR", self.lab.path("tmp"));
        command
    }

    /// Starts the command, and lets the blow fall at a random moment; answers with how it ended.
    fn strike(&mut self, words: &[&'static str], graph: &str) -> String {
        let blow = match self.dice.below(if self.line.is_some() { 5 } else { 3 }) {
            0 => Blow::Signal("KILL"),
            1 => Blow::Signal("INT"),
            2 => Blow::Signal("TERM"),
            _ => Blow::Outage(self.dice.below(600) as u64),
        };
        // Some come too late; that is a moment, too.
        let latest = self.takes.get(words[0]).copied().unwrap_or(TAKES) * 5 / 4;
        let moment = latest * self.dice.below(1000) as u32 / 1000;
        let mut child = self.command(words).args(["--graph", graph]).spawn().expect("it starts");
        std::thread::sleep(moment);
        match blow {
            Blow::Signal(name) => signal(&mut child, name),
            Blow::Outage(length) => {
                let line = self.line.as_ref().expect("only with a server");
                line.go_away();
                std::thread::sleep(Duration::from_millis(length));
                line.come_back();
            }
        }
        let output = child.wait_with_output().expect("an end");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code();
        let fine = match blow {
            Blow::Signal("KILL") => matches!(code, None | Some(0)),
            Blow::Signal("INT") => matches!(code, None | Some(0 | 130)),
            Blow::Signal(_) => matches!(code, None | Some(0 | 143)),
            Blow::Outage(_) => matches!(code, Some(0 | 3)),
        };
        let what = format!("{} {blow:?} after {moment:.3?}: {}", words[0], output.status);
        assert!(fine, "{what}: {said}");
        assert!(!said.contains("panicked"), "{what}: {said}");
        what
    }

    /// Every result in the cache is what a fresh execution makes.
    fn check_results(&mut self, what: &str) {
        let steps: Vec<Step> =
            self.headers.iter().flat_map(|header| self.project(header)).collect();
        for step in steps {
            let action = step.pack(&mut Parcel::default());
            let found = self.lab.with_endpoint(async |endpoint| {
                let result = endpoint.action_result(&action, &[]).await.expect("an answer")?;
                let result = result.message().expect("a message");
                assert_eq!(result.exit_code, 0, "{what}: {}", step.output);
                let [file] = &result.output_files[..] else { panic!("{what}: {result:?}") };
                assert_eq!(file.path, step.output, "{what}");
                let digest = Digest::required(file.digest.as_ref()).expect("a digest");
                Some(endpoint.get(&digest).await.expect("the output"))
            });
            if let Some(found) = found {
                let fresh = self.fresh.entry(action).or_insert_with(|| execute(&step));
                assert!(found == *fresh, "{what}: {} is wrong", step.output);
            }
        }
    }

    /// What is left of the command: processes, mounts, temporary files.
    fn left(&self) -> Vec<String> {
        let folder = self.lab.folder.path().display().to_string();
        let mut left = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("processes").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let read = |file: &str| {
                let bytes = std::fs::read(entry.path().join(file)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let (line, environment) = (read("cmdline"), read("environ"));
            if line.contains(&self.mark) || environment.contains(&format!("HOME={folder}")) {
                left.push(format!("process {name}: {line}"));
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        left.extend(mounts.lines().filter(|line| line.contains(&folder)).map(str::to_owned));
        let files = std::fs::read_dir(self.lab.path("tmp")).expect("a folder").flatten();
        left.extend(files.map(|entry| entry.path().display().to_string()));
        left
    }

    fn check_nothing_is_left(&self, what: &str) {
        let begun = Instant::now();
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "{what}: {left:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A change: generate of what was built, prime, build. One of the two commands is disturbed, or
    /// both.
    fn round(&mut self, number: usize) {
        let before = self.headers.last().expect("the first").clone();
        let actions: Vec<Digest> =
            self.project(&before).iter().map(|step| step.pack(&mut Parcel::default())).collect();
        let after_build = self.graph("after.json", &before, Some(&actions));
        let header = format!("header {number}");
        let before_build = self.graph("before.json", &header, None);
        self.headers.push(header.clone());
        let which = self.dice.below(3);
        let generate = ["generate"];
        let prime = ["prime", "--json", "--quiet"];
        if which != 0 {
            let what = self.strike(&generate, &after_build);
            self.check(&what);
        }
        self.undisturbed(&generate, &after_build);
        if which != 1 {
            let what = self.strike(&prime, &before_build);
            self.check(&what);
        }
        let total = |text: String| -> Value {
            serde_json::from_str::<Value>(&text).expect("JSON")["total"].clone()
        };
        // The next run does the rest, and one more finds everything.
        let rest = total(self.undisturbed(&prime, &before_build));
        assert_eq!(rest["skipped"], json!({}), "{rest}");
        let again = total(run(self.command(&prime).args(["--graph", &before_build])));
        assert_eq!(
            (&again["executed"], &again["cached"]),
            (&json!(0), &json!(UNITS + 2)),
            "{again}"
        );
        self.check("at the end of a round");
        let steps = self.project(&header);
        for step in &steps {
            let action = step.pack(&mut Parcel::default());
            assert!(self.fresh.contains_key(&action), "{} is no hit", step.output);
        }
    }

    fn undisturbed(&mut self, words: &[&'static str], graph: &str) -> String {
        let begun = Instant::now();
        let said = run(self.command(words).args(["--graph", graph]));
        self.takes.insert(words[0], begun.elapsed());
        said
    }

    fn check(&mut self, what: &str) {
        println!("{what}");
        self.check_results(what);
        self.check_nothing_is_left(what);
        if self.line.is_none() {
            run(&mut self.command(&["store", "verify"]));
        }
    }
}

fn signal(child: &mut Child, name: &str) {
    // One that has ended is there until it is waited for.
    run(Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()));
}

/// What an action makes when it is executed by hand.
fn execute(step: &Step) -> Vec<u8> {
    let folder = temp();
    std::fs::create_dir(folder.path().join("work")).expect("a folder");
    for (path, content) in &step.inputs {
        std::fs::write(folder.path().join(path), content).expect("an input");
    }
    let work = folder.path().join("work");
    let mut command = Command::new("/bin/sh");
    run(command.args(["-e", "-c", &step.script]).current_dir(&work));
    std::fs::read(work.join(&step.output)).expect("the output")
}

fn play(lab: Lab, line: Option<Line>, seed: u64) {
    let asked = std::env::var("FORERUNNER_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = asked.unwrap_or(seed);
    std::fs::create_dir(lab.path("tmp")).expect("a folder");
    let mark = format!("moments-{}-{seed}", std::process::id());
    let headers = vec!["header".to_owned()];
    let dice = Dice::new(seed);
    let mut game =
        Game { lab, line, dice, mark, headers, fresh: HashMap::new(), takes: HashMap::new() };
    let steps = game.project("header");
    game.lab.record(&steps);
    for round in 0..if long() { 150 } else { 5 } {
        println!("FORERUNNER_SEED={seed}, round {round}");
        game.round(round);
    }
}

#[test]
fn the_store_at_any_moment() {
    play(Lab::new(temp(), None), None, 7);
}

#[test]
fn a_server_at_any_moment() {
    let runner = format!("--buildbox-run={}", bin("buildbox-run").display());
    let arguments = [runner, "--runner-arg=--host-toolchain".to_owned()];
    let Some(casd) = Casd::start_with(&arguments) else { return };
    let folder = temp();
    let line = Line::new(&folder.path().join("line.sock"), casd.socket());
    // What is looked at is looked at directly.
    play(Lab::new(folder, Some(casd.url())), Some(line), 8);
}
