//! The options of gcc and clang that mean something to us: one row each. An option without a row
//! is one word and is passed on.

use crate::reason::Reason;

/// How an option is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Exactly this word.
    Word,
    /// This word, or it with `=VALUE`.
    WordOrEquals,
    /// Any word that begins so.
    Prefix,
    /// The value follows as a word of its own.
    Separate,
    /// The value is the rest of the word, or the next word if there is no rest.
    Either,
    /// The value is what follows `=` (which is part of the name).
    Equals,
}

/// What an option does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Passed on.
    Pass,
    /// Passed on to the real command, but not to the one that lists dependencies.
    PassOnly,
    /// Its value is a path that is rewritten.
    Path,
    /// A directory in which headers are searched; its value is rewritten.
    Directory,
    /// A file that is included first; its value is rewritten.
    IncludeFile,
    /// A file that is read; its value is rewritten.
    Input,
    /// `-c`
    Compile,
    /// `-o`
    Output,
    /// `-MD`
    DepsAll,
    /// `-MMD`
    DepsUser,
    /// `-MF`
    DepsFile,
    /// `-MT`, `-MQ`
    DepsTarget,
    /// Empty directories of the search path matter.
    EmptyDirectories,
    /// `-x`
    Language,
    /// `-Wp,…`
    PreprocessorList,
    /// `-Xpreprocessor`
    Preprocessor,
    /// `-Wa,…`
    AssemblerList,
    /// `-Xassembler`
    Assembler,
    /// `-Xclang`
    Frontend,
    /// `.gcno` files are written.
    Coverage,
    /// `-fprofile-note=`
    ProfileNote,
    /// `.dwo` files are written.
    SplitDwarf,
    /// `.su` files are written.
    StackUsage,
    /// Its value is profile data, or a directory of it.
    ProfileFile,
    /// Profile data is read whose files it does not name.
    ProfileUse,
    /// Its value is a directory of profile data.
    ProfileDirectory,
    /// Changes the names of files with profile data.
    ProfileShortened,
    /// Samples are read from its value.
    Samples,
    /// `-march=` and the like: `native` is special.
    Machine,
    /// Changes how the compiler finds its programs.
    Programs,
    /// `-l`, `-L`, `-Wl,`: only for the linker.
    Linker,
    /// The command line stands in the object, so nothing may be added to it.
    Recorded,
    /// Not cached.
    Refuse(Reason),
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// As it begins.
    pub name: &'static str,
    /// How it is written.
    pub shape: Shape,
    /// What it does.
    pub effect: Effect,
    /// Only clang has it.
    pub clang: bool,
}

const fn both(name: &'static str, shape: Shape, effect: Effect) -> Flag {
    Flag { name, shape, effect, clang: false }
}

const fn clang(name: &'static str, shape: Shape, effect: Effect) -> Flag {
    Flag { name, shape, effect, clang: true }
}

use Effect::{
    Assembler, AssemblerList, Compile, Coverage, DepsAll, DepsFile, DepsTarget, DepsUser,
    Directory, EmptyDirectories, Frontend, IncludeFile, Input, Language, Linker, Machine, Output,
    Pass, PassOnly, Path, Preprocessor, PreprocessorList, ProfileDirectory, ProfileFile,
    ProfileNote, ProfileShortened, ProfileUse, Programs, Recorded, Refuse, Samples, SplitDwarf,
    StackUsage,
};
use Shape::{Either, Equals, Prefix, Separate, Word, WordOrEquals};

/// The table, sorted by name. The longest name that fits decides.
pub const FLAGS: &[Flag] = &[
    both("-###", Word, Refuse(Reason::NoOutput)),
    both("--coverage", Word, Coverage),
    both("--param", Separate, Pass),
    both("--param=", Equals, Pass),
    both("--precompile", Word, Refuse(Reason::Modules)),
    both("--specs=", Equals, Refuse(Reason::Specs)),
    both("--sysroot", Separate, Path),
    both("--sysroot=", Equals, Path),
    clang("--analyze", Word, Refuse(Reason::NoOutput)),
    clang("--config", Separate, Refuse(Reason::Specs)),
    clang("--config=", Equals, Refuse(Reason::Specs)),
    clang("--serialize-diagnostics", Separate, Refuse(Reason::Dump)),
    both("-A", Either, Pass),
    both("-B", Either, Programs),
    both("-D", Either, Pass),
    both("-E", Word, Refuse(Reason::PreprocessOnly)),
    clang("-F", Either, Refuse(Reason::ForeignFormat)),
    both("-I", Either, Directory),
    both("-L", Either, Linker),
    both("-M", Word, Refuse(Reason::DependenciesOnly)),
    both("-MD", Word, DepsAll),
    both("-MF", Either, DepsFile),
    both("-MG", Word, PassOnly),
    clang("-MJ", Either, Refuse(Reason::Dump)),
    both("-MM", Word, Refuse(Reason::DependenciesOnly)),
    both("-MMD", Word, DepsUser),
    both("-MP", Word, PassOnly),
    both("-MQ", Either, DepsTarget),
    both("-MT", Either, DepsTarget),
    clang("-MV", Word, PassOnly),
    both("-Mno-modules", Word, Refuse(Reason::Modules)),
    both("-Mmodules", Word, Refuse(Reason::Modules)),
    both("-S", Word, Refuse(Reason::AssemblyOnly)),
    both("-T", Either, Linker),
    both("-U", Either, Pass),
    both("-Wa,", Prefix, AssemblerList),
    both("-Werror=missing-include-dirs", Word, EmptyDirectories),
    both("-Wl,", Prefix, Linker),
    both("-Wmissing-include-dirs", Word, EmptyDirectories),
    both("-Wp,", Prefix, PreprocessorList),
    clang("-Xanalyzer", Separate, Pass),
    both("-Xassembler", Separate, Assembler),
    clang("-Xclang", Separate, Frontend),
    both("-Xlinker", Separate, Linker),
    both("-Xpreprocessor", Separate, Preprocessor),
    clang("-arch", Separate, Refuse(Reason::ForeignFormat)),
    both("-aux-info", Either, Refuse(Reason::Dump)),
    both("-c", Word, Compile),
    both("-d", Prefix, Refuse(Reason::Dump)),
    clang("-dependency-file", Separate, Refuse(Reason::Dump)),
    both("-dynamic", Word, Pass),
    both("-e", Separate, Linker),
    both("-fauto-profile", WordOrEquals, Samples),
    both("-fbranch-probabilities", Word, ProfileUse),
    both("-fcallgraph-info", WordOrEquals, Refuse(Reason::Dump)),
    both("-fcompare-debug", Prefix, Refuse(Reason::CompareDebug)),
    both("-fcs-profile-use", WordOrEquals, Refuse(Reason::Profile)),
    clang("-fcrash-diagnostics-dir=", Equals, Pass),
    both("-fdiagnostics-format=", Equals, Pass),
    both("-fdump", Prefix, Refuse(Reason::Dump)),
    both("-fgcc-plugin", Prefix, Refuse(Reason::Plugin)),
    clang("-finstrument-functions-exclude-file-list=", Equals, Pass),
    clang("-fmodule", Prefix, Refuse(Reason::Modules)),
    both("-fmodules", Prefix, Refuse(Reason::Modules)),
    both("-fopt-info", Prefix, Refuse(Reason::Dump)),
    clang("-fpass-plugin=", Equals, Refuse(Reason::Plugin)),
    both("-fplugin", Prefix, Refuse(Reason::Plugin)),
    clang("-fprebuilt-module-path", Prefix, Refuse(Reason::Modules)),
    both("-fprofile-dir=", Equals, ProfileDirectory),
    both("-fprofile-generate=", Equals, ProfileDirectory),
    both("-fprofile-note=", Equals, ProfileNote),
    both("-fprofile-prefix-path=", Equals, ProfileShortened),
    clang("-fprofile-instr-use", WordOrEquals, Refuse(Reason::Profile)),
    clang("-fprofile-instr-use=", Equals, ProfileFile),
    clang("-fprofile-sample-use", WordOrEquals, Refuse(Reason::Profile)),
    clang("-fprofile-sample-use=", Equals, ProfileFile),
    both("-fprofile-use", WordOrEquals, ProfileUse),
    clang("-fprofile-use=", Equals, ProfileFile),
    both("-frecord-gcc-switches", Word, Recorded),
    clang("-frecord-command-line", Word, Recorded),
    clang("-grecord-command-line", Word, Recorded),
    clang("-fsanitize-blacklist=", Equals, Input),
    clang("-fsanitize-ignorelist=", Equals, Input),
    clang("-fsave-optimization-record", WordOrEquals, Refuse(Reason::Dump)),
    both("-fsave-optimization-record", Word, Refuse(Reason::Dump)),
    both("-fsplit-stack", Word, Pass),
    both("-fstack-usage", Word, StackUsage),
    both("-ftest-coverage", Word, Coverage),
    clang("-fthinlto-index=", Equals, Refuse(Reason::ForeignFormat)),
    clang("-ftime-report", Prefix, Pass),
    clang("-ftime-trace", Prefix, Refuse(Reason::TimeTrace)),
    clang("-gcc-toolchain", Separate, Programs),
    both("-gsplit-dwarf", WordOrEquals, SplitDwarf),
    both("-h", Separate, Linker),
    both("-idirafter", Either, Directory),
    clang("-iframework", Either, Refuse(Reason::ForeignFormat)),
    both("-imacros", Either, IncludeFile),
    both("-imultilib", Either, Pass),
    both("-include", Either, IncludeFile),
    clang("-include-pch", Separate, Refuse(Reason::Precompiled)),
    both("-iplugindir=", Equals, Refuse(Reason::Plugin)),
    both("-iprefix", Either, Path),
    both("-iquote", Either, Directory),
    both("-isysroot", Either, Path),
    both("-isystem", Either, Directory),
    clang("-isystem-after", Either, Directory),
    clang("-ivfsoverlay", Either, Refuse(Reason::ForeignFormat)),
    both("-iwithprefix", Either, Pass),
    both("-iwithprefixbefore", Either, Pass),
    both("-l", Either, Linker),
    both("-march=", Equals, Machine),
    both("-mcpu=", Equals, Machine),
    clang("-mllvm", Separate, Pass),
    clang("-mthread-model", Separate, Pass),
    both("-mtune=", Equals, Machine),
    both("-no-canonical-prefixes", Word, Pass),
    both("-o", Either, Output),
    both("-print-", Prefix, Refuse(Reason::NoOutput)),
    both("-remap", Word, Refuse(Reason::ForeignFormat)),
    both("-save-temps", WordOrEquals, Refuse(Reason::Dump)),
    clang("-save-stats", WordOrEquals, Refuse(Reason::Dump)),
    clang("-serialize-diagnostics", Separate, Refuse(Reason::Dump)),
    both("-specs", Prefix, Refuse(Reason::Specs)),
    clang("-target", Separate, Pass),
    both("-u", Either, Linker),
    clang("-undef", Word, Pass),
    both("-undef", Word, Pass),
    clang("-working-directory", Prefix, Refuse(Reason::Syntax)),
    both("-wrapper", Separate, Refuse(Reason::Specs)),
    both("-x", Either, Language),
    both("-z", Either, Linker),
];

/// The row of a word of the command line, and the value that stands in the word itself.
#[must_use]
pub fn find(word: &str, is_clang: bool) -> Option<(&'static Flag, Option<&str>)> {
    FLAGS
        .iter()
        .filter(|flag| is_clang || !flag.clang)
        .filter_map(|flag| {
            let rest = word.strip_prefix(flag.name)?;
            let value = match flag.shape {
                Word | Separate => rest.is_empty().then_some(None),
                WordOrEquals => (rest.is_empty() || rest.starts_with('=')).then_some(None),
                Prefix | Equals => Some(Some(rest)),
                Either => Some((!rest.is_empty()).then_some(rest)),
            };
            Some((flag, value?))
        })
        .max_by_key(|(flag, _)| flag.name.len())
}

/// Whether the word after this one is its value.
#[must_use]
pub fn takes_next(word: &str, is_clang: bool) -> bool {
    find(word, is_clang)
        .is_some_and(|(flag, value)| matches!(flag.shape, Separate | Either) && value.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(word: &str) -> Option<&'static str> {
        find(word, true).map(|(flag, _)| flag.name)
    }

    #[test]
    fn the_longest_name_decides() {
        assert_eq!(name("-include"), Some("-include"));
        assert_eq!(name("-include-pch"), Some("-include-pch"));
        assert_eq!(name("-Iinclude"), Some("-I"));
        assert_eq!(name("-MMD"), Some("-MMD"));
        assert_eq!(name("-MFfoo"), Some("-MF"));
        assert_eq!(name("-Mfoo"), None);
        assert_eq!(name("-Wall"), None);
        assert_eq!(name("-fdump-tree-all"), Some("-fdump"));
        assert_eq!(name("-save-temps=obj"), Some("-save-temps"));
        assert_eq!(name("-march=native"), Some("-march="));
        assert_eq!(find("-Ifoo", false).expect("a flag").1, Some("foo"));
        assert_eq!(find("-I", false).expect("a flag").1, None);
        assert!(find("-target", false).is_none());
        assert_eq!(find("-dynamic", false).expect("a flag").0.name, "-dynamic");
    }
}
