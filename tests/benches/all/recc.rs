//! recc against the newest ccache and sccache, the compiler alone, and the reference through the
//! same casd.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

use forerunner_tests::{Casd, bin, newest, peers, run as run_command, source, temp};

use crate::measure::{Bench, FEW_ROUNDS, ROUNDS, Timed};

/// A compile command in a folder.
#[derive(Clone, Copy)]
struct Line<'a> {
    folder: &'a Path,
    /// The compiler first, the object last.
    words: &'a [&'a str],
}

impl Line<'_> {
    fn under(&self, mut launcher: Command) -> Command {
        launcher.current_dir(self.folder).args(self.words);
        launcher
    }

    fn plain(&self) -> Command {
        let mut command = Command::new(self.words[0]);
        command.current_dir(self.folder).args(&self.words[1..]);
        command
    }

    fn remove(&self) {
        let object = self.words.last().copied().unwrap_or_default();
        drop(std::fs::remove_file(self.folder.join(object)));
    }
}

/// Sources and the caches of all that is measured.
struct Place {
    folder: tempfile::TempDir,
    casd: Option<Casd>,
}

const C: &[&str] = &["gcc", "-O2", "-MD", "-c", "lvm.c", "-o", "lvm.o"];

/// 561 files read, an object of 6.7 MB.
const CC: &[&str] = &[
    "g++",
    "-std=c++17",
    "-O0",
    "-Irocksdb/include",
    "-Irocksdb",
    "-DOS_LINUX",
    "-DROCKSDB_PLATFORM_POSIX",
    "-DROCKSDB_LIB_IO_POSIX",
    "-DROCKSDB_SUPPORT_THREAD_LOCAL",
    "-MMD",
    "-c",
    "rocksdb/db/db_impl/db_impl.cc",
    "-o",
    "db_impl.o",
];

pub(crate) fn run(bench: &mut Bench) {
    let (small, large) = (bench.wanted("recc-lua"), bench.wanted("recc-rocksdb"));
    if !small && !large {
        return;
    }
    let Some(lua) = source("lua5.4") else {
        println!("recc: Lua's sources are missing, nothing measured");
        return;
    };
    let place = Place { folder: temp(), casd: Casd::start() };
    let root = place.folder.path();
    run_command(Command::new("tar").arg("-C").arg(root).arg("-xf").arg(lua));
    let found = std::fs::read_dir(root).expect("a folder").filter_map(Result::ok);
    let found = found.map(|entry| entry.path().join("src")).find(|path| path.is_dir());
    let src = found.expect("Lua");
    if small {
        hits(bench, &place, "lvm.c of Lua", Line { folder: &src, words: C });
        misses_of_lua(bench, &place, &src);
    }
    let crates = peers().join("crates/librocksdb-sys");
    if large && crates.exists() {
        let rocks = root.join("rocks");
        run_command(Command::new("cp").arg("-a").arg(crates).arg(&rocks));
        hits(bench, &place, "db_impl.cc of RocksDB", Line { folder: &rocks, words: CC });
        miss_of_rocksdb(bench, &place, Line { folder: &rocks, words: CC });
        rebuild(bench, &place, &rocks);
    } else if large {
        bench.missing("db_impl.cc of RocksDB", "librocksdb-sys (`cargo xtask peers --long`)");
    }
    if let Some(mut stop) = place.sccache() {
        drop(stop.arg("--stop-server").output());
    }
}

impl Place {
    fn ours(&self) -> Command {
        let mut command = Command::new(bin("recc"));
        command.env("FORERUNNER_STORE", self.folder.path().join("store"));
        command
    }

    fn ours_over_casd(&self, casd: &Casd) -> Command {
        let mut command = self.ours();
        over_casd(&mut command, casd);
        command
    }

    fn reference(&self, casd: &Casd) -> Option<Command> {
        let mut command = newest("recc")?;
        over_casd(&mut command, casd);
        Some(command)
    }

    fn ccache(&self) -> Option<Command> {
        let mut command = newest("ccache")?;
        // What was written just now counts for us; so it does here.
        command
            .env("CCACHE_DIR", self.folder.path().join("ccache"))
            .env("CCACHE_SLOPPINESS", "include_file_mtime,include_file_ctime");
        Some(command)
    }

    fn launcher(&self, name: &str) -> Option<Command> {
        if name == "ccache" { self.ccache() } else { self.sccache() }
    }

    fn sccache(&self) -> Option<Command> {
        let program = peers().join("sccache/bin/sccache");
        let mut command = Command::new(&program);
        command
            .env("SCCACHE_DIR", self.folder.path().join("sccache"))
            .env("SCCACHE_SERVER_UDS", self.folder.path().join("sccache.sock"));
        program.exists().then_some(command)
    }
}

fn over_casd(command: &mut Command, casd: &Casd) {
    command
        .env("RECC_SERVER", casd.url())
        .env("RECC_CACHE_ONLY", "1")
        .env("RECC_CACHE_UPLOAD_LOCAL_BUILD", "1")
        .env("RECC_DEPS_GLOBAL_PATHS", "1")
        .env("RECC_NO_PATH_REWRITE", "1")
        .env("RECC_REMOTE_PLATFORM_OSFamily", "linux");
}

fn hits(bench: &mut Bench, place: &Place, what: &str, line: Line<'_>) {
    let remove = || line.remove();
    let ours = || line.under(place.ours());
    for name in ["ccache", "sccache"] {
        let case = format!("hit, {what}");
        let launcher = || place.launcher(name);
        if launcher().is_none() {
            bench.missing(&case, name);
            continue;
        }
        let peer = || line.under(launcher().expect("it is there"));
        bench.pair(
            &case,
            &Timed::new("recc", ours).before(remove),
            &Timed::new(name, peer).before(remove),
        );
        // As after an edit that is taken back: what is there is replaced.
        let case = format!("{case}, object in place");
        bench.pair(&case, &Timed::new("recc", ours), &Timed::new(name, peer));
    }
    let case = format!("hit over casd, {what}");
    let Some(casd) = &place.casd else { return bench.missing(&case, "buildbox-casd") };
    let ours = || line.under(place.ours_over_casd(casd));
    if place.reference(casd).is_some() {
        let reference = || line.under(place.reference(casd).expect("it is there"));
        bench.pair(
            &case,
            &Timed::new("recc", ours).before(remove),
            &Timed::new("reference", reference).before(remove),
        );
    } else {
        bench.missing(&case, "the reference (`cargo xtask peers --long`)");
    }
    if place.ccache().is_some() {
        let ccache = || line.under(place.ccache().expect("it is there"));
        bench.pair(
            &format!("{case}, against a local hit"),
            &Timed::new("recc", ours).before(remove),
            &Timed::new("ccache", ccache).before(remove),
        );
    }
}

/// Writes a new version of a file each time: the same length of lines, another function.
struct Edited {
    path: PathBuf,
    text: String,
    number: Cell<usize>,
}

impl Edited {
    fn new(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        Self { path, text, number: Cell::new(0) }
    }

    fn edit(&self, what: &str) {
        self.number.set(self.number.get() + 1);
        let more = what.replace("{}", &self.number.get().to_string());
        std::fs::write(&self.path, format!("{}\n{more}\n", self.text)).expect("a file");
    }
}

const FUNCTION: &str = "int fresh_{}(int x) { return x + {}; }";
const MACRO: &str = "#define FRESH {}\nint fresh_{};";

fn misses_of_lua(bench: &mut Bench, place: &Place, src: &Path) {
    std::fs::write(src.join("small.c"), "#include \"lstate.h\"\n").expect("a file");
    let small: &[&str] = &["gcc", "-O2", "-c", "small.c", "-o", "small.o"];
    for (what, file, words, edit) in [
        ("small C file, function edited", "small.c", small, FUNCTION),
        ("small C file, macro edited", "small.c", small, MACRO),
        ("lvm.c, function edited", "lvm.c", C, FUNCTION),
        ("lvm.c, macro edited", "lvm.c", C, MACRO),
    ] {
        let line = Line { folder: src, words };
        bench.rounds = if file == "lvm.c" { FEW_ROUNDS } else { ROUNDS };
        let edited = Edited::new(src.join(file));
        let next = || edited.edit(edit);
        let case = format!("miss, {what}");
        let ours = || line.under(place.ours());
        bench.pair(
            &case,
            &Timed::new("recc", ours).before(next),
            &Timed::new("gcc", || line.plain()).before(next),
        );
        for name in ["ccache", "sccache"].into_iter().filter(|_| file == "small.c") {
            let launcher = || place.launcher(name);
            if launcher().is_none() {
                bench.missing(&case, name);
                continue;
            }
            bench.pair(
                &case,
                &Timed::new("recc", ours).before(next),
                &Timed::new(name, || line.under(launcher().expect("it is there"))).before(next),
            );
        }
        std::fs::write(&edited.path, &edited.text).expect("a file");
    }
    let number = Cell::new(0);
    let line = Line { folder: src, words: C };
    let fresh = || {
        number.set(number.get() + 1);
        let mut command = line.under(place.ours());
        command.arg(format!("-DFRESH={}", number.get()));
        command
    };
    bench.pair(
        "miss, lvm.c, first time",
        &Timed::new("recc", fresh),
        &Timed::new("gcc", || line.plain()),
    );
    bench.rounds = ROUNDS;
}

fn miss_of_rocksdb(bench: &mut Bench, place: &Place, line: Line<'_>) {
    bench.rounds = FEW_ROUNDS;
    let edited = Edited::new(line.folder.join("rocksdb/db/db_impl/db_impl.cc"));
    let next = || edited.edit(FUNCTION);
    bench.pair(
        "miss, db_impl.cc with -MMD, function edited",
        &Timed::new("recc", || line.under(place.ours())).before(next),
        &Timed::new("g++", || line.plain()).before(next),
    );
    std::fs::write(&edited.path, &edited.text).expect("a file");
    bench.rounds = ROUNDS;
}

/// A warm rebuild of 64 files: all objects gone, everything stored.
fn rebuild(bench: &mut Bench, place: &Place, folder: &Path) {
    let case = "warm rebuild, 64 files of RocksDB, make -j2";
    if place.ccache().is_none() {
        return bench.missing(case, "ccache");
    }
    std::fs::write(folder.join("bench.mk"), REBUILD).expect("a makefile");
    let make = |launcher: &Command| {
        let words = std::iter::once(launcher.get_program()).chain(launcher.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        let mut command = Command::new("make");
        command.current_dir(folder).args(["-j2", "-f", "bench.mk"]);
        command.arg(format!("CXX={} g++", words.join(" ")));
        command.envs(launcher.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    };
    let clean = || {
        drop(Command::new("make").current_dir(folder).args(["-f", "bench.mk", "clean"]).output());
    };
    bench.rounds = FEW_ROUNDS;
    bench.pair(
        case,
        &Timed::new("recc", || make(&place.ours())).before(clean),
        &Timed::new("ccache", || make(&place.ccache().expect("it is there"))).before(clean),
    );
    bench.rounds = ROUNDS;
}

const REBUILD: &str = "\
FLAGS := -std=c++17 -g -O0 -Irocksdb/include -Irocksdb -I. -DOS_LINUX -DROCKSDB_PLATFORM_POSIX \\
  -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SUPPORT_THREAD_LOCAL
C := $(addprefix rocksdb/,$(shell grep -E '^(cache|env|file|memory|memtable|monitoring|options|util)/' \\
  rocksdb_lib_sources.txt | grep -v build_version | head -64))
O := $(C:.cc=.o)
all: $(O)
clean:
\trm -f $(O) $(O:.o=.d)
%.o: %.cc
\t$(CXX) $(FLAGS) -MMD -c $< -o $@
";
