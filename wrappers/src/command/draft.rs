//! Takes the words of a compiler's command line, one by one.

use crate::paths::{self, PathRules};
use crate::reason::Reason;

use super::flags::{self, Effect, Shape};
use super::kind::Deps;
use super::profile::Profile;
use super::sources::{self, InputKind};

/// What is gathered on the way.
pub(super) struct Draft<'a> {
    pub(super) rules: &'a PathRules,
    /// Outputs may lie anywhere.
    pub(super) anywhere: bool,
    pub(super) is_clang: bool,
    pub(super) arguments: Vec<String>,
    pub(super) preprocessor: Vec<String>,
    pub(super) deps_arguments: Vec<String>,
    pub(super) rewritten: Vec<(String, Vec<String>)>,
    pub(super) inputs: Vec<(String, InputKind)>,
    pub(super) named_inputs: Vec<String>,
    pub(super) forced: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) deps: Deps,
    pub(super) deps_file: Option<String>,
    pub(super) coverage: bool,
    pub(super) profile_note: Option<String>,
    pub(super) split_dwarf: bool,
    pub(super) stack_usage: bool,
    /// Files that the linker writes besides.
    pub(super) maps: Vec<String>,
    pub(super) directories: Vec<String>,
    pub(super) passages: Vec<String>,
    pub(super) empty_directories: bool,
    pub(super) compile: bool,
    pub(super) language: Option<InputKind>,
    pub(super) recorded: bool,
    pub(super) native: bool,
    pub(super) profile: Profile,
}

impl<'a> Draft<'a> {
    /// Nothing read yet. `anywhere`: outputs may lie anywhere.
    pub(super) fn new(rules: &'a PathRules, anywhere: bool, is_clang: bool) -> Self {
        Self {
            rules,
            anywhere,
            is_clang,
            arguments: Vec::new(),
            preprocessor: Vec::new(),
            deps_arguments: Vec::new(),
            rewritten: Vec::new(),
            inputs: Vec::new(),
            named_inputs: Vec::new(),
            forced: Vec::new(),
            outputs: Vec::new(),
            deps: Deps::None,
            deps_file: None,
            coverage: false,
            profile_note: None,
            split_dwarf: false,
            stack_usage: false,
            maps: Vec::new(),
            directories: Vec::new(),
            passages: Vec::new(),
            empty_directories: false,
            compile: false,
            language: None,
            recorded: false,
            native: false,
            profile: Profile::default(),
        }
    }

    /// Takes one word, and perhaps the next as its value; answers whether it did.
    pub(super) fn word(&mut self, word: &str, next: Option<&str>) -> Result<bool, Reason> {
        if word == "-" {
            return Err(Reason::StandardInput);
        }
        if !word.starts_with('-') {
            let kind =
                self.language.or_else(|| sources::kind(word)).ok_or(Reason::ForeignFormat)?;
            self.inputs.push((word.to_owned(), kind));
            self.arguments.push(self.rules.rewrite(word));
            self.deps_arguments.push(word.to_owned());
            return Ok(false);
        }
        let Some((flag, inline)) = flags::find(word, self.is_clang) else {
            self.both(word);
            return Ok(false);
        };
        let separate = matches!(flag.shape, Shape::Separate | Shape::Either) && inline.is_none();
        let value = match (inline, separate) {
            (Some(value), _) => value,
            (None, true) => match next {
                Some(next) => next,
                None => return Ok(false),
            },
            (None, false) => "",
        };
        self.effect(flag, word, value, separate)?;
        Ok(separate)
    }

    fn both(&mut self, word: &str) {
        self.arguments.push(word.to_owned());
        self.deps_arguments.push(word.to_owned());
    }

    /// Adds an option and its value to the action's arguments.
    fn add(&mut self, name: &str, value: &str, separate: bool) {
        if separate {
            self.arguments.extend([name.to_owned(), value.to_owned()]);
        } else {
            self.arguments.push(format!("{name}{value}"));
        }
    }

    fn effect(
        &mut self,
        flag: &flags::Flag,
        word: &str,
        value: &str,
        separate: bool,
    ) -> Result<(), Reason> {
        let rewritten = || self.rules.rewrite(value);
        match flag.effect {
            Effect::Refuse(reason) => return Err(reason),
            Effect::Path | Effect::Directory | Effect::IncludeFile | Effect::Input => {
                let path = rewritten();
                if matches!(flag.effect, Effect::Path | Effect::Directory) {
                    self.passages.push(value.to_owned());
                }
                match flag.effect {
                    Effect::Directory => self.directories.push(value.to_owned()),
                    Effect::IncludeFile => self.forced.push(value.to_owned()),
                    Effect::Input => self.named_inputs.push(value.to_owned()),
                    _ => {}
                }
                self.add(flag.name, &path, separate);
                self.deps_word(word, value, separate);
            }
            Effect::Output => {
                self.outputs.push(value.to_owned());
                let path = rewritten();
                self.add(flag.name, &path, separate);
            }
            Effect::DepsFile => {
                self.deps_file = Some(value.to_owned());
                let path = rewritten();
                self.add(flag.name, &path, separate);
            }
            Effect::DepsTarget => {
                let path = rewritten();
                self.add(flag.name, &path, separate);
            }
            Effect::DepsAll | Effect::DepsUser => {
                self.deps = if flag.effect == Effect::DepsAll { Deps::All } else { Deps::User };
                self.arguments.push(word.to_owned());
            }
            Effect::PassOnly => self.arguments.push(word.to_owned()),
            Effect::EmptyDirectories => {
                self.empty_directories = true;
                self.arguments.push(word.to_owned());
            }
            Effect::Language => {
                self.language = sources::of_language(value).map_err(|()| Reason::Language)?;
                self.pass(word, value, separate);
            }
            Effect::PreprocessorList => {
                self.preprocessor.extend(value.split(',').map(str::to_owned));
            }
            Effect::Preprocessor => self.preprocessor.push(value.to_owned()),
            Effect::AssemblerList | Effect::Assembler => {
                if value.split(',').any(is_listing) {
                    return Err(Reason::Dump);
                }
                self.pass(word, value, separate);
            }
            Effect::Frontend => {
                if FRONTEND_FILES.iter().any(|prefix| value.starts_with(prefix)) {
                    return Err(Reason::Plugin);
                }
                self.pass(word, value, separate);
            }
            Effect::Coverage => {
                self.coverage = true;
                self.both(word);
            }
            Effect::ProfileNote => {
                // The reference leaves this path as it is.
                self.profile_note = Some(value.to_owned());
                self.add(flag.name, value, false);
                self.deps_arguments.push(word.to_owned());
            }
            Effect::ProfileFile => {
                let local = paths::absolute(value, &self.rules.directory);
                let path = std::path::Path::new(&local);
                // What clang looks for in a directory; a file is a file.
                let file = match path.is_dir() {
                    true => format!("{}/default.profdata", value.trim_end_matches('/')),
                    false => value.to_owned(),
                };
                if path.is_dir() && !self.anywhere || !path.exists() {
                    return Err(Reason::Profile);
                }
                self.named_inputs.push(file);
                self.add(flag.name, &rewritten(), false);
                self.deps_arguments.push(word.to_owned());
            }
            Effect::ProfileUse | Effect::ProfileDirectory | Effect::Samples => {
                let value = word.split_once('=').map(|(_, value)| value.to_owned());
                match flag.effect {
                    Effect::Samples => {
                        let file = value.unwrap_or_else(|| "fbdata.afdo".to_owned());
                        self.profile.samples.push(file);
                    }
                    Effect::ProfileUse if self.is_clang => {
                        self.named_inputs.push("default.profdata".to_owned());
                    }
                    _ => self.profile.directories.extend(value),
                }
                self.profile.used |= flag.effect != Effect::ProfileDirectory;
                self.both(word);
            }
            Effect::ProfileShortened => {
                self.profile.shortened = true;
                self.both(word);
            }
            Effect::SplitDwarf => {
                self.split_dwarf = word != "-gsplit-dwarf=single";
                self.both(word);
            }
            Effect::StackUsage => {
                self.stack_usage = true;
                self.both(word);
            }
            Effect::Machine => {
                if value == "native" {
                    if !self.anywhere {
                        return Err(Reason::Native);
                    }
                    self.native = true;
                }
                self.both(word);
            }
            Effect::Compile => {
                self.compile = true;
                self.both(word);
            }
            Effect::Recorded => {
                self.recorded = true;
                self.both(word);
            }
            Effect::Programs | Effect::Linker | Effect::Pass => self.pass(word, value, separate),
        }
        Ok(())
    }

    fn deps_word(&mut self, word: &str, value: &str, separate: bool) {
        self.deps_arguments.push(word.to_owned());
        if separate {
            self.deps_arguments.push(value.to_owned());
        }
    }

    fn pass(&mut self, word: &str, value: &str, separate: bool) {
        self.arguments.push(word.to_owned());
        if separate {
            self.arguments.push(value.to_owned());
        }
        self.deps_word(word, value, separate);
    }
}

/// Frontend options that name files or load code.
const FRONTEND_FILES: &[&str] = &[
    "-load",
    "-plugin",
    "-add-plugin",
    "-include-pch",
    "-emit-",
    "-fmodule",
    "-dependency",
    "-diagnostic-log",
    "-serialize",
    "-o",
    "-stats",
    "-header-include",
    "-main-file",
];

/// Assembler options that write or read further files.
fn is_listing(word: &str) -> bool {
    word.starts_with('@')
        || word.starts_with("--MD")
        || word == "-o"
        || (word.starts_with("-a") && !word.starts_with("-alternate"))
}
