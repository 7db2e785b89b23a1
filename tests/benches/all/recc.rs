//! A hit of recc on the embedded store against a direct hit of ccache; a miss against the
//! compiler alone.

use std::path::Path;
use std::process::Command;

use forerunner_tests::{bin, on_path, run as run_command, source, temp};

use crate::measure::{Bench, Timed};

pub(crate) fn run(bench: &mut Bench) {
    if !bench.wanted("recc") {
        return;
    }
    let (Some(ccache), Some(lua)) = (on_path("ccache"), source("lua5.4")) else {
        println!("recc: ccache or Lua's sources are missing, nothing measured");
        return;
    };
    let folder = temp();
    run_command(Command::new("tar").arg("-C").arg(folder.path()).arg("-xf").arg(lua));
    let found = std::fs::read_dir(folder.path()).expect("a folder").next().expect("Lua");
    let src = found.expect("Lua").path().join("src");
    std::fs::write(folder.path().join("big.cc"), BIG).expect("a file");

    let c: &[&str] = &["gcc", "-O2", "-c", "lvm.c", "-o", "lvm.o"];
    let cc: &[&str] = &["g++", "-g", "-O1", "-c", "../../big.cc", "-o", "big.o"];
    for (case, words) in [("hit, lvm.c of Lua", c), ("hit, C++ with most of the library", cc)] {
        let output = words.last().copied().unwrap_or_default();
        let remove = || drop(std::fs::remove_file(src.join(output)));
        bench.pair(
            case,
            &Timed::new("recc", || ours(folder.path(), &src, words)).before(remove),
            &Timed::new("ccache", || peer(&ccache, folder.path(), &src, words)).before(remove),
        );
    }
    let number = std::cell::Cell::new(0);
    let edit = || {
        number.set(number.get() + 1);
        let line = format!("int fresh_{} ;\n", number.get());
        std::fs::write(src.join("fresh.c"), format!("#include \"lstate.h\"\n{line}"))
            .expect("a file");
    };
    let words: &[&str] = &["gcc", "-O2", "-c", "fresh.c", "-o", "fresh.o"];
    bench.pair(
        "miss, small C file, against gcc alone",
        &Timed::new("recc", || ours(folder.path(), &src, words)).before(edit),
        &Timed::new("gcc", || plain(&src, words)).before(edit),
    );
    let words: &[&str] = &["gcc", "-O2", "-c", "lvm.c", "-o", "lvm.o"];
    let salted = || {
        number.set(number.get() + 1);
        let mut command = ours(folder.path(), &src, words);
        command.arg(format!("-DFRESH={}", number.get()));
        command
    };
    bench.pair(
        "miss, lvm.c of Lua, against gcc alone",
        &Timed::new("recc", salted),
        &Timed::new("gcc", || plain(&src, words)),
    );
}

fn ours(folder: &Path, src: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(bin("recc"));
    command.current_dir(src).args(words).env("FORERUNNER_STORE", folder.join("store"));
    command
}

fn peer(ccache: &Path, folder: &Path, src: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(ccache);
    command.current_dir(src).args(words).env("CCACHE_DIR", folder.join("ccache"));
    command
}

fn plain(src: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.current_dir(src).args(&words[1..]);
    command
}

/// Includes a few hundred headers, and makes an object of several megabytes.
const BIG: &str = r#"
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <regex>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>
template <int N> struct Many {
  static int sum(const std::map<std::string, std::vector<int>>& m) {
    std::regex r("a" + std::to_string(N));
    int total = 0;
    for (auto& [k, v] : m) if (std::regex_match(k, r)) for (int i : v) total += i + N;
    std::vector<std::function<int(int)>> f{[](int x) { return x * N; }};
    std::sort(f.begin(), f.end(), [](auto&, auto&) { return false; });
    return total + f[0](N) + Many<N - 1>::sum(m);
  }
};
template <> struct Many<0> { static int sum(const std::map<std::string, std::vector<int>>&) { return 0; } };
int main() { std::map<std::string, std::vector<int>> m; return Many<40>::sum(m); }
"#;
