//! Reads the command line of a compiler.

use crate::paths::{self, PathRules};
use crate::reason::Reason;

use super::flags::{self, Effect, Shape};
use super::profile::Profile;
use super::response::Expanded;
use super::sources::{self, InputKind};
use super::{Compiler, Family, Product};

/// What the command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Objects or precompiled headers from sources.
    Compile,
    /// A program, a library or an object from objects, and perhaps sources.
    Link,
}

/// Whether the command writes a dependency file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deps {
    /// No.
    None,
    /// `-MD`: with system headers.
    All,
    /// `-MMD`: without.
    User,
}

/// A response file, as the action has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Its name in the action.
    pub name: String,
    /// Its content there.
    pub content: String,
}

/// A command that is understood.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What it does.
    pub kind: Kind,
    /// Arguments in the action, the program first.
    pub arguments: Vec<String>,
    /// Arguments for the command that lists dependencies, the program first; without `-M`.
    pub deps_arguments: Vec<String>,
    /// All words after the program as they came, response files opened.
    pub words: Vec<String>,
    /// Inputs as they came, and what they are.
    pub inputs: Vec<(String, InputKind)>,
    /// Files named by options that are read besides.
    pub named_inputs: Vec<String>,
    /// Files that are included first.
    pub forced: Vec<String>,
    /// What it writes, sorted by the name in the action.
    pub products: Vec<Product>,
    /// Whether and where it writes a dependency file.
    pub deps: Deps,
    /// The dependency file, if it writes one.
    pub deps_file: Option<String>,
    /// Directories whose existence matters even if they are empty.
    pub directories: Vec<String>,
    /// Directories that options name, so that their paths must lead somewhere.
    pub passages: Vec<String>,
    /// Response files as the action has them.
    pub rewritten: Vec<Rewritten>,
    /// Response files that the action has as they are.
    pub response_files: Vec<String>,
    /// Nothing may be added to the command line, because it stands in the object.
    pub recorded: bool,
    /// An option names this machine's processor.
    pub native: bool,
    /// The linker's map is one of the outputs.
    pub writes_map: bool,
    /// Profile data that is read.
    pub profile: Profile,
}

/// What is gathered on the way.
pub(super) struct Draft<'a> {
    pub(super) rules: &'a PathRules,
    /// Outputs may lie anywhere.
    pub(super) anywhere: bool,
    is_clang: bool,
    arguments: Vec<String>,
    preprocessor: Vec<String>,
    deps_arguments: Vec<String>,
    rewritten: Vec<(String, Vec<String>)>,
    pub(super) inputs: Vec<(String, InputKind)>,
    named_inputs: Vec<String>,
    forced: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) deps: Deps,
    pub(super) deps_file: Option<String>,
    pub(super) coverage: bool,
    pub(super) profile_note: Option<String>,
    pub(super) split_dwarf: bool,
    pub(super) stack_usage: bool,
    /// Files that the linker writes besides.
    pub(super) maps: Vec<String>,
    directories: Vec<String>,
    passages: Vec<String>,
    empty_directories: bool,
    compile: bool,
    language: Option<InputKind>,
    recorded: bool,
    native: bool,
    pub(super) profile: Profile,
}

/// How a command is to be read.
pub struct Context<'a> {
    /// The compiler, by its name.
    pub compiler: &'a Compiler,
    /// The program as the action names it.
    pub program: &'a str,
    /// How paths are rewritten.
    pub rules: &'a PathRules,
    /// Outputs may lie anywhere, and response files stay as they are.
    pub local_defaults: bool,
    /// The user names the outputs, so those of the command do not count.
    pub outputs_named: bool,
}

/// Reads a command line whose response files are open.
///
/// # Errors
/// Why the command is not cached.
pub fn parse(context: &Context<'_>, expanded: &Expanded) -> Result<Parsed, Reason> {
    let program = context.rules.rewrite_program(context.program);
    let mut draft = Draft::new(context);
    draft.arguments.push(program);
    draft.deps_arguments.push(context.program.to_owned());
    if !context.local_defaults && !expanded.nested.is_empty() {
        return Err(Reason::Response);
    }
    let mut words = expanded.words.iter().zip(&expanded.origin).peekable();
    let mut open_file: Option<usize> = None;
    while let Some((word, origin)) = words.next() {
        let next =
            words.peek().filter(|(_, other)| *other == origin).map(|(word, _)| word.as_str());
        let before = draft.arguments.len();
        let used_next = draft.word(word, next)?;
        if used_next {
            words.next();
        } else if flags::takes_next(word, draft.is_clang) {
            // The value is missing, or stands in another file than its option.
            return Err(if origin.is_some() { Reason::Response } else { Reason::Syntax });
        }
        if let Some(file) = *origin {
            let added: Vec<String> = draft.arguments.drain(before..).collect();
            if open_file != Some(file) {
                open_file = Some(file);
                let name = context.rules.rewrite(&expanded.files[file]);
                let shown = if context.local_defaults {
                    expanded.files[file].clone()
                } else {
                    format!("{name}.recc_rewritten_rsp")
                };
                draft.arguments.push(format!("@{shown}"));
                draft.rewritten.push((shown, Vec::new()));
            }
            if let Some((_, words)) = draft.rewritten.last_mut() {
                words.extend(added);
            }
        }
    }
    draft.finish(context, expanded)
}

impl<'a> Draft<'a> {
    fn new(context: &Context<'a>) -> Self {
        Self {
            rules: context.rules,
            anywhere: context.local_defaults,
            is_clang: context.compiler.family == Family::Clang,
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
    fn word(&mut self, word: &str, next: Option<&str>) -> Result<bool, Reason> {
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

    /// The options for the preprocessor, which the reference puts at the end, one by one.
    fn preprocessor_words(&mut self) -> Result<(), Reason> {
        let words = std::mem::take(&mut self.preprocessor);
        let mut at = 0;
        while let Some(word) = words.get(at) {
            at += 1;
            let push = |this: &mut Self, text: &str, deps: Option<&str>| {
                this.arguments.extend(["-Xpreprocessor".to_owned(), text.to_owned()]);
                if let Some(deps) = deps {
                    this.deps_arguments.extend(["-Xpreprocessor".to_owned(), deps.to_owned()]);
                }
            };
            match word.as_str() {
                "-MD" | "-MMD" => {
                    // Here these two take the file as their value.
                    self.deps = if word == "-MD" { Deps::All } else { Deps::User };
                    let file = words.get(at).ok_or(Reason::Syntax)?;
                    at += 1;
                    self.deps_file = Some(file.clone());
                    let path = self.rules.rewrite(file);
                    push(self, word, None);
                    push(self, &path, None);
                }
                "-MF" | "-MT" | "-MQ" => {
                    let value = words.get(at).ok_or(Reason::Syntax)?;
                    at += 1;
                    if word == "-MF" {
                        self.deps_file = Some(value.clone());
                    }
                    let path = self.rules.rewrite(value);
                    push(self, word, None);
                    push(self, &path, None);
                }
                "-MP" | "-MG" | "-MV" => push(self, word, None),
                "-M" | "-MM" | "-E" => return Err(Reason::DependenciesOnly),
                _ => match flags::find(word, self.is_clang) {
                    Some((flag, value))
                        if matches!(
                            flag.effect,
                            Effect::Directory | Effect::IncludeFile | Effect::Path
                        ) =>
                    {
                        let inline = value.is_some();
                        let value = match value {
                            Some(value) => value.to_owned(),
                            None => {
                                at += 1;
                                words.get(at - 1).ok_or(Reason::Syntax)?.clone()
                            }
                        };
                        match flag.effect {
                            Effect::Directory => self.directories.push(value.clone()),
                            Effect::IncludeFile => self.forced.push(value.clone()),
                            _ => {}
                        }
                        let path = self.rules.rewrite(&value);
                        if inline {
                            push(self, &format!("{}{path}", flag.name), Some(word));
                        } else {
                            push(self, word, Some(word));
                            push(self, &path, Some(&value));
                        }
                    }
                    Some((flag, _)) if matches!(flag.effect, Effect::Refuse(_)) => {
                        return Err(Reason::Dump);
                    }
                    _ => push(self, word, Some(word)),
                },
            }
        }
        Ok(())
    }

    fn finish(mut self, context: &Context<'_>, expanded: &Expanded) -> Result<Parsed, Reason> {
        self.preprocessor_words()?;
        if self.inputs.is_empty() {
            return Err(Reason::NoInput);
        }
        let kind = if self.compile {
            Kind::Compile
        } else if self.inputs.iter().all(|(_, kind)| *kind == InputKind::Header) {
            // A precompiled header needs no `-c`.
            Kind::Compile
        } else {
            Kind::Link
        };
        if kind == Kind::Compile && self.inputs.iter().any(|(_, kind)| *kind == InputKind::Object) {
            self.inputs.retain(|(_, kind)| *kind != InputKind::Object);
            if self.inputs.is_empty() {
                return Err(Reason::NoOutput);
            }
        }
        if kind == Kind::Link && self.anywhere {
            self.maps = self.map_files(&expanded.words)?;
        }
        let writes_map = !self.maps.is_empty();
        let profile = self.profile(kind, &expanded.words)?;
        let products = match context.outputs_named {
            true => Vec::new(),
            false => self.products(kind)?,
        };
        let deps_file = match self.deps {
            Deps::None => None,
            _ => self.deps_file.clone().or_else(|| {
                products.iter().find(|p| p.local.ends_with(".d")).map(|p| p.local.clone())
            }),
        };
        let rewritten = if context.local_defaults {
            Vec::new()
        } else {
            self.rewritten
                .into_iter()
                .map(|(name, words)| Rewritten { name, content: words.join(" ") })
                .collect()
        };
        if rewritten.iter().any(|file: &Rewritten| file.content.contains(['"', '\'', '\\'])) {
            // Joined by spaces, such words would be read back as others.
            return Err(Reason::Response);
        }
        let response_files = if context.local_defaults {
            expanded.files.iter().chain(&expanded.nested).cloned().collect()
        } else {
            Vec::new()
        };
        Ok(Parsed {
            kind,
            arguments: self.arguments,
            deps_arguments: self.deps_arguments,
            words: expanded.words.clone(),
            inputs: self.inputs,
            named_inputs: self.named_inputs,
            forced: self.forced,
            products,
            deps: self.deps,
            deps_file,
            passages: self.passages,
            directories: if self.empty_directories { self.directories } else { Vec::new() },
            rewritten,
            response_files,
            recorded: self.recorded,
            native: self.native,
            writes_map,
            profile,
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{compiler, response};
    use crate::settings::{Places, Settings};
    use std::path::Path;

    fn read(line: &str, server: bool) -> Result<Parsed, Reason> {
        let mut environment = vec![("FORERUNNER_STORE".to_owned(), "/store".to_owned())];
        if server {
            environment.push(("RECC_SERVER".to_owned(), "unix:/s".to_owned()));
        }
        let directory = Path::new("/p/q");
        let places = Places { environment: &environment, directory, program: None };
        let settings = Settings::read(&places).expect("settings");
        let words = response::split(line);
        let rules = PathRules::new(&settings, "/p/q");
        let compiler = compiler::recognise(&words[0], None).expect("a compiler");
        let context = Context {
            compiler: &compiler,
            program: &words[0],
            rules: &rules,
            local_defaults: settings.local_defaults,
            outputs_named: false,
        };
        parse(&context, &response::expand(&words[1..], directory).expect("words"))
    }

    fn products(line: &str) -> Vec<String> {
        let parsed = read(line, true).unwrap_or_else(|reason| panic!("{line}: {reason}"));
        parsed.products.into_iter().map(|product| product.remote).collect()
    }

    #[test]
    fn what_is_written() {
        for (line, expected) in [
            ("gcc -c a.c", "a.o"),
            ("gcc -c a.c b.cc", "a.o b.o"),
            ("gcc -c a.c -oout/x.o -MD", "out/x.d out/x.o"),
            ("gcc -MMD -MF d/x.d -c a.c -o x.o", "d/x.d x.o"),
            ("gcc -Wp,-MMD,d/x.d -c a.c -o x.o", "d/x.d x.o"),
            ("gcc --coverage -c a.c", "a.gcno a.o"),
            ("gcc -gsplit-dwarf -c a.c -o s/a.o", "s/a.dwo s/a.o"),
            ("gcc -c h/a.h", "h/a.h.gch"),
            ("gcc a.o b.o", "a.out"),
            ("gcc -c /p/q/a.c -o /p/q/b.o", "b.o"),
            ("gcc -fstack-usage -c a.c -o x.o", "x.o x.su"),
        ] {
            assert_eq!(products(line).join(" "), expected, "{line}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (line, reason) in [
            ("gcc -E a.c", Reason::PreprocessOnly),
            ("gcc -S a.c", Reason::AssemblyOnly),
            ("gcc -M a.c", Reason::DependenciesOnly),
            ("gcc -c -", Reason::StandardInput),
            ("gcc --version", Reason::NoInput),
            ("gcc -march=native -c a.c", Reason::Native),
            ("gcc -save-temps=obj -c a.c", Reason::Dump),
            ("gcc -fdump-tree-all -c a.c", Reason::Dump),
            ("gcc -c a.c -o ../a.o", Reason::OutputPlace),
            ("gcc -c a.c -o /tmp/a.o", Reason::OutputPlace),
            ("gcc -c a.c -o /dev/null", Reason::OutputSpecial),
            ("gcc -c a.f90", Reason::ForeignFormat),
            ("gcc -x go -c a.c", Reason::Language),
            ("gcc -fmodules-ts -c a.cc", Reason::Modules),
            ("gcc -c a.c b.c -o x.o", Reason::Multiple),
            ("gcc -Wa,-al=x.lst -c a.c", Reason::Dump),
            ("gcc -c a.c -o", Reason::Syntax),
            ("gcc -fplugin=x.so -c a.c", Reason::Plugin),
            ("clang -ftime-trace -c a.c", Reason::TimeTrace),
        ] {
            assert_eq!(read(line, true).map(|_| ()), Err(reason), "{line}");
        }
    }

    #[test]
    fn arguments_are_rewritten() {
        for (line, expected) in [
            ("gcc -I/p/q/inc -c ./a.c -o /p/q/b.o", "gcc -Iinc -c a.c -o b.o"),
            ("gcc -MD -MT /p/q/b.o -c a.c", "gcc -MD -MT b.o -c a.c"),
            ("gcc -Wp,-Ix,-DX -c a.c", "gcc -c a.c -Xpreprocessor -Ix -Xpreprocessor -DX"),
            ("gcc -I- -I/usr/include -c a.c", "gcc -I- -I/usr/include -c a.c"),
        ] {
            assert_eq!(read(line, true).expect(line).arguments.join(" "), expected);
        }
        let here = read("gcc -I/p/q/inc -c ./a.c -o ../b.o", false).expect("a command");
        assert_eq!(here.arguments.join(" "), "gcc -I/p/q/inc -c ./a.c -o ../b.o");
        assert_eq!(here.products[0].remote, "../b.o");
    }

    #[test]
    fn dependencies_are_asked_without_outputs() {
        let parsed = read("gcc -MD -MF x.d -c a.c -o x.o -O2", true).expect("a command");
        assert_eq!(parsed.deps_arguments.join(" "), "gcc -c a.c -O2");
    }
}
