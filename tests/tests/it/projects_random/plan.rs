//! The command that is run: compiler, source, search path, flags and environment.

use std::collections::{BTreeMap, BTreeSet};

use super::headers::{FOLDERS, SOURCES};
use crate::dice::Dice;

/// `bin/…` are ours: links to a compiler, or scripts.
const COMPILERS: &[&str] =
    &["gcc", "gcc", "clang", "cc", "g++", "clang++", "bin/gcc", "bin/clang", "/usr/bin/gcc"];

const SEARCH: &[&str] = &["-I", "-I", "-I ", "-iquote", "-isystem", "-idirafter "];

/// Words of one flag are separated by spaces.
const FLAGS: &[&str] = &[
    "-DNAME=one",
    "-DNAME=two",
    "-UNAME",
    "-O2",
    "-g",
    "-Wall",
    "-Wall -Wextra",
    "-Werror",
    "-MD",
    "-MMD -MF out/named.d",
    "-MMD -MP",
    "-fprofile-use -Wmissing-profile",
    "-fprofile-use=prof",
    "-MD -MP -MT target",
    "-Wp,-MMD,out/wp.d",
    "-include h2.h",
    "-include inc0/h4.h",
    "-imacros h2.h",
    "-fPIC",
    "-ffunction-sections",
    "-H",
    "-DSOURCE_DATE",
    "-nostdinc",
    "-std=gnu17",
    "-gsplit-dwarf -g",
    "--coverage -frandom-seed=1",
    "-fdiagnostics-color=always",
    "-fmax-errors=1",
    "-w",
    "-pipe",
    "@flags.rsp",
    "-Wmissing-include-dirs",
    "-x c++",
    "-ffile-prefix-map=out=in",
    "-iprefix inc -iwithprefix 1",
    "-save-temps=obj",
    "-S",
    "-E",
    "-MM",
];

/// Names and the values that they may have.
const VARIABLES: &[(&str, &[&str])] = &[
    ("CPATH", &["env0", "env1", "env0:env1", "env1:env0", ":env0"]),
    ("C_INCLUDE_PATH", &["env0", "env1"]),
    ("CPLUS_INCLUDE_PATH", &["env1"]),
    ("SOURCE_DATE_EPOCH", &["0", "1000000000"]),
    ("LC_ALL", &["C", "C.UTF-8"]),
    ("DEPENDENCIES_OUTPUT", &["out/variable.d"]),
    ("SUNPRO_DEPENDENCIES", &["out/sun.d target"]),
    ("GCC_COLORS", &["error=01;31"]),
    ("COMPILER_PATH", &["tools"]),
    ("UNRELATED", &["1", "2"]),
];

/// What is run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) compiler: &'static str,
    pub(crate) sources: Vec<&'static str>,
    search: Vec<String>,
    flags: BTreeSet<&'static str>,
    pub(crate) variables: BTreeMap<&'static str, &'static str>,
    /// Through which of two paths the current directory is reached.
    pub(crate) through_link: bool,
    /// Whether the output is named.
    named: bool,
    /// Folder of our own compilers first on PATH.
    pub(crate) own_path: bool,
    pub(crate) output_before: OutputBefore,
}

/// What stands where the object will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputBefore {
    Nothing,
    File,
    Link,
    HardLink,
}

impl Plan {
    pub(crate) fn new() -> Self {
        let search = ["inc0", "inc1", "inc2"].map(|folder| format!("-I{folder}"));
        Self {
            compiler: "gcc",
            sources: vec!["main.c"],
            search: search.into(),
            flags: BTreeSet::new(),
            variables: BTreeMap::new(),
            through_link: false,
            named: true,
            own_path: false,
            output_before: OutputBefore::Nothing,
        }
    }

    /// Changes one thing, and says what.
    pub(crate) fn change(&mut self, dice: &mut Dice) -> String {
        match dice.below(12) {
            0 | 1 => {
                self.compiler = *dice.of(COMPILERS);
                format!("compiler {}", self.compiler)
            }
            2 => {
                self.sources = vec![*dice.of(SOURCES)];
                if dice.once_in(6) {
                    self.sources = vec!["main.c", "src/sub.c"];
                }
                format!("sources {:?}", self.sources)
            }
            3 | 4 => {
                if !self.search.is_empty() && dice.once_in(2) {
                    let one = dice.below(self.search.len());
                    let other = dice.below(self.search.len());
                    self.search.swap(one, other);
                } else if self.search.len() > 2 && dice.once_in(2) {
                    self.search.remove(dice.below(self.search.len()));
                } else {
                    let entry = format!("{}{}", dice.of(SEARCH), dice.of(FOLDERS));
                    self.search.insert(dice.below(self.search.len() + 1), entry);
                }
                format!("search path {:?}", self.search)
            }
            5..=8 => {
                let flag = *dice.of(FLAGS);
                if !self.flags.remove(flag) {
                    self.flags.insert(flag);
                }
                // Few at a time, or nothing compiles any more.
                while self.flags.len() > 4 {
                    let at = dice.below(self.flags.len());
                    let flag = *self.flags.iter().nth(at).expect("a flag");
                    self.flags.remove(flag);
                }
                format!("flags {:?}", self.flags)
            }
            9 => {
                let (name, values) = *dice.of(VARIABLES);
                if self.variables.remove(name).is_none() {
                    let value = *dice.of(values);
                    self.variables.insert(name, value);
                }
                format!("environment {:?}", self.variables)
            }
            10 => {
                match dice.below(3) {
                    0 => self.through_link = !self.through_link,
                    1 => self.named = !self.named,
                    _ => self.own_path = !self.own_path,
                }
                format!("{self:?}")
            }
            _ => {
                let all = [
                    OutputBefore::Nothing,
                    OutputBefore::File,
                    OutputBefore::Link,
                    OutputBefore::HardLink,
                ];
                self.output_before = *dice.of(&all);
                format!("output before {:?}", self.output_before)
            }
        }
    }

    /// Takes away what most commands fail by.
    pub(crate) fn heal(&mut self) {
        for flag in ["-Werror", "-nostdinc", "-x c++", "-imacros h2.h", "-include h2.h"] {
            self.flags.remove(flag);
        }
        self.flags.remove("-include inc0/h4.h");
        self.flags.remove("-fmax-errors=1");
        self.variables.remove("COMPILER_PATH");
        if !self.search.iter().any(|entry| entry == "-Iinc1") {
            self.search.push("-Iinc1".to_owned());
        }
    }

    /// The command line.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = vec![self.compiler.to_owned()];
        let entries = self.search.iter().map(String::as_str).chain(self.flags.iter().copied());
        for entry in entries {
            words.extend(entry.split(' ').map(str::to_owned));
        }
        words.push("-c".to_owned());
        words.extend(self.sources.iter().map(|&source| source.to_owned()));
        if self.named {
            words.extend(["-o".to_owned(), "out/object.o".to_owned()]);
        }
        words
    }
}
