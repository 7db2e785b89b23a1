//! Why a command is not cached.

use std::fmt;

macro_rules! reasons {
    ($($variant:ident = $name:literal : $help:literal,)*) => {
        /// Why a command is run here and its result not stored. The names are stable: statistics
        /// and scripts rely on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $help] $variant,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it means, for people.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

reasons! {
    Archive = "archive_form": "the archive is one whose result cannot be foreseen",
    AssemblyOnly = "assembly_only": "the command stops after compiling (-S)",
    CompareDebug = "compare_debug": "the compiler compares two of its own runs (-fcompare-debug)",
    DepsFailed = "dependencies_failed": "the command that finds the inputs failed",
    DependenciesOnly = "dependencies_only": "the command only lists dependencies (-M, -MM)",
    Disabled = "disabled": "RECC_PASSTHROUGH is set",
    Dump = "dump": "the compiler writes further files (-d, -fdump, -save-temps)",
    Embed = "embed": "a source embeds files in a way that dependency lists do not show (.incbin, .include, #embed)",
    ForeignFormat = "foreign_format": "an input file is of a kind that is not understood",
    Incomplete = "output_missing": "the command succeeded without writing a declared output",
    InputChanged = "input_changed": "an input changed while the command ran",
    InputName = "input_name": "the name of an input cannot stand in an input tree",
    InvalidInput = "input_excluded": "an input matches RECC_INVALID_INPUT_PATHS_REGEX",
    Language = "language": "the language is not supported (-x)",
    LibraryMissing = "library_missing": "a library on the command line was not found",
    LinkOff = "link_disabled": "a link command, and RECC_LINK is not set",
    LinkerFile = "linker_file": "the linker writes or reads a further file",
    LinkerUnknown = "linker_unknown": "the compiler's linker command was not understood",
    Modules = "modules": "modules are used, whose dependencies are not known before",
    MtimeUpdate = "update_by_time": "the result depends on time stamps of files",
    Multiple = "several_outputs": "one output is named for several sources",
    Native = "native": "the result depends on this machine's processor (native)",
    NoInput = "no_input": "the command names no input",
    NoOutput = "no_output": "the command writes no file",
    NonDeterministic = "non_deterministic": "the result depends on owners or times (U)",
    NotACommand = "not_a_command": "the program is none that this wrapper knows",
    NotUtf8 = "not_utf8": "an argument is not UTF-8",
    Operation = "operation": "the operation does not make files from files",
    OutputPlace = "output_outside": "an output lies in a place unrelated to the current directory",
    OutputSpecial = "output_special": "an output is a device, a link or a directory",
    Plugin = "plugin": "a compiler plugin is used",
    Precompiled = "precompiled": "a precompiled header has times of files in it (clang), or is named in a form that is not supported",
    PreprocessOnly = "preprocess_only": "the command stops after preprocessing (-E)",
    Profile = "profile_data": "profile data is read whose files the command does not name",
    Response = "response_file": "a response file cannot be read or is not supported here",
    Specs = "specs": "a specs file changes the compiler",
    StandardInput = "standard_input": "a source comes from standard input",
    Syntax = "syntax": "the command line was not understood",
    TimeMacro = "time_macro": "a source uses __DATE__, __TIME__ or __TIMESTAMP__",
    TimeTrace = "time_trace": "the compiler writes how long it took (-ftime-trace)",
    TextDecides = "text_decides": "text that lists of dependencies do not follow decides what is included (__COUNTER__, _Pragma)",
    Tool = "tool_unknown": "the tool's programs could not be found",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
