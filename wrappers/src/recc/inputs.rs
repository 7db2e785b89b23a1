//! Asks the compiler what a command reads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::command::flags::{self, Effect, Shape};
use crate::command::sources::InputKind;
use crate::command::{Compiler, Kind, Parsed};
use crate::engine::{Gathered, Inputs};
use crate::link::driver;
use crate::link::search::{self, LinkInputs, Search};
use crate::make_rule::{self, Layout, Rule};
use crate::manifest;
use crate::paths;
use crate::reason::Reason;
use crate::run;
use crate::search_path::{self, Question, SearchPath};
use crate::session::Session;

use super::{cold, narrow};

/// A compiler and its command.
pub(super) struct CompilerInputs<'a> {
    pub(super) session: &'a Session,
    pub(super) program: String,
    pub(super) compiler: Compiler,
    pub(super) is_clang: bool,
    pub(super) identity: String,
    pub(super) parsed: Parsed,
}

impl Inputs for CompilerInputs<'_> {
    fn find(&mut self) -> Result<Gathered, Reason> {
        let mut paths = self.compiled()?;
        let mut gathered = self.besides()?;
        paths.append(&mut gathered.paths);
        Ok(Gathered { paths, ..gathered })
    }

    fn besides(&mut self) -> Result<Gathered, Reason> {
        let mut gathered = Gathered::default();
        if self.parsed.kind == Kind::Link {
            let linked = self.linked()?;
            gathered.absent = linked.absent;
            gathered.paths = linked.files;
        }
        self.precompiled_by_name(&mut gathered.absent)?;
        let settings = &self.session.settings;
        // It says also which inputs no list names.
        if settings.local_defaults || (settings.manifest && !settings.no_execute) {
            gathered.search = self.search_path(false);
        }
        Ok(gathered)
    }

    fn write_rule(&mut self, all: &Path) -> bool {
        let Some(file) = self.parsed.deps_files.first().cloned() else { return false };
        match self.narrowed(all) {
            Some(text) => {
                let place = paths::absolute(&file, &self.session.directory);
                std::fs::write(place, text).is_ok()
            }
            None => self.ask_for_rule(&file),
        }
    }
}

impl CompilerInputs<'_> {
    /// The rule of `-MMD`, if it follows from that of `-MD`.
    fn narrowed(&self, all: &Path) -> Option<String> {
        let layout = if self.is_clang { Layout::Clang } else { Layout::Gcc };
        let mut rule = Rule::read(&std::fs::read_to_string(all).ok()?, layout)?;
        let listed = rule.names();
        // clang may list files before the source.
        let source = self.preprocessed().next().map(|(path, _)| path);
        source.filter(|path| listed.first() == Some(path))?;
        let whole = self.search_path(false)?;
        let system = self.search_path(true)?;
        // The user's directories come first.
        let user = whole.angle.strip_suffix(system.angle.as_slice())?;
        let places = narrow::Places {
            directory: &self.session.directory,
            quote: &whole.quote,
            user,
            system: &system.angle,
            lists_asked: self.is_clang,
        };
        let shown = narrow::shown(&listed, &self.parsed.forced, &places)?;
        rule.keep(|name| shown.contains(name));
        Some(rule.text())
    }

    /// Lets the compiler write the rule of `-MMD` without compiling.
    fn ask_for_rule(&self, file: &str) -> bool {
        let mut arguments: Vec<String> =
            self.parsed.deps_arguments.iter().skip(1).cloned().collect();
        arguments.extend(["-w", "-MM", "-MF", file].map(str::to_owned));
        let (mut output, mut named) = (None, false);
        let mut words = self.parsed.words.iter();
        while let Some(word) = words.next() {
            let Some((flag, inline)) = flags::find(word, self.is_clang) else { continue };
            let separate =
                matches!(flag.shape, Shape::Separate | Shape::Either) && inline.is_none();
            let value = if separate { words.next().map(String::as_str) } else { inline };
            match (flag.effect, value) {
                (Effect::DepsTarget, Some(value)) => {
                    named = true;
                    arguments.extend([flag.name.to_owned(), value.to_owned()]);
                }
                (Effect::Output, Some(value)) => output = Some(value.to_owned()),
                (Effect::PassOnly, _) => arguments.push(word.clone()),
                (Effect::PreprocessorList, Some(list)) => {
                    // gcc's preprocessor does not know the object then.
                    named |= !self.is_clang;
                    arguments.extend(cold::without_file(list));
                }
                _ => {}
            }
        }
        if let Some(output) = output.filter(|_| !named) {
            arguments.extend(["-MQ".to_owned(), output]);
        }
        run::capture(&self.program, &arguments, None, &[]).is_ok_and(|asked| asked.code() == 0)
    }

    /// Where headers are searched, or only those of the system.
    fn search_path(&self, of_system: bool) -> Option<SearchPath> {
        let kinds: BTreeSet<(bool, bool)> = self
            .preprocessed()
            .map(|(path, kind)| (*kind == InputKind::AssemblerCpp, self.is_cpp(path)))
            .collect();
        if kinds.is_empty() {
            return Some(SearchPath::default());
        }
        // Sources of several languages have several search paths.
        let (assembler, cpp) = *kinds.first().filter(|_| kinds.len() == 1)?;
        let kind = if assembler { InputKind::AssemblerCpp } else { InputKind::Source };
        let question = Question {
            program: &self.program,
            family: self.compiler.family,
            parsed: &self.parsed,
            kind,
            cpp,
            identity: &self.identity,
            of_system,
        };
        search_path::of(self.session, &question)
    }

    fn preprocessed(&self) -> impl Iterator<Item = &(String, InputKind)> {
        self.parsed.inputs.iter().filter(|(_, kind)| {
            matches!(kind, InputKind::Source | InputKind::Header | InputKind::AssemblerCpp)
        })
    }

    fn is_cpp(&self, path: &str) -> bool {
        let named =
            self.parsed.words.windows(2).any(|pair| pair[0] == "-x" && pair[1].starts_with("c++"))
                || self.parsed.words.iter().any(|word| word.starts_with("-xc++"));
        let suffix = path.rsplit_once('.').map_or("", |(_, suffix)| suffix);
        self.compiler.cpp || named || !matches!(suffix, "c" | "h" | "S" | "s" | "sx" | "i")
    }

    /// What the preprocessor reads.
    fn compiled(&self) -> Result<Vec<String>, Reason> {
        let mut found: Vec<String> = self
            .parsed
            .inputs
            .iter()
            .filter(|(_, kind)| matches!(kind, InputKind::Assembler | InputKind::Preprocessed))
            .map(|(path, _)| path.clone())
            .collect();
        if self.preprocessed().next().is_none() {
            return Ok(found);
        }
        if self.lacks_header() {
            // The compiler says so, and need not be asked twice.
            return Err(Reason::DepsFailed);
        }
        let settings = &self.session.settings;
        // The reference adds clang's way to find gcc's files; here it counts as toolchain.
        let finds_gcc = self.is_clang && settings.global_paths && !settings.local_defaults;
        let mut arguments: Vec<String> =
            self.parsed.deps_arguments.iter().skip(1).cloned().collect();
        arguments.extend(["-w", "-M"].map(str::to_owned));
        if finds_gcc {
            arguments.push("-v".to_owned());
        }
        let environment: Vec<(&str, &str)> =
            settings.deps_env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let asked = run::capture(&self.program, &arguments, None, &environment)
            .map_err(|_| Reason::DepsFailed)?;
        if asked.code() != 0 {
            self.session.log.info(format_args!(
                "Failed to execute get dependencies command: {} {}",
                self.program,
                arguments.join(" ")
            ));
            return Err(Reason::DepsFailed);
        }
        let rules = String::from_utf8(asked.stdout).map_err(|_| Reason::NotUtf8)?;
        let listed = make_rule::prerequisites(&rules);
        if listed.is_empty() {
            return Err(Reason::DepsFailed);
        }
        found.extend(listed);
        if finds_gcc {
            found.extend(crtbegin(&String::from_utf8_lossy(&asked.stderr)));
        }
        Ok(found)
    }

    /// Whether a source includes, whatever else is true, a file that is nowhere: half of what
    /// `configure` compiles. That is certain, as is that the command fails.
    fn lacks_header(&self) -> bool {
        let generates = self.parsed.words.iter().any(|word| word.ends_with("-MG"));
        if generates || self.session.settings.no_execute {
            return false;
        }
        let directory = &self.session.directory;
        let mut search = None;
        self.preprocessed().any(|(source, kind)| {
            if *kind == InputKind::AssemblerCpp {
                return false;
            }
            let Ok(text) = std::fs::read(paths::absolute(source, directory)) else { return false };
            let beside = &source[..source.len() - paths::file_name(source).len()];
            manifest::unconditional(&text).iter().any(|mention| {
                let Some(search) = search.get_or_insert_with(|| self.search_path(false)) else {
                    return false;
                };
                let quote = std::iter::once(beside).chain(search.quote.iter().map(String::as_str));
                let quote = quote.filter(|_| mention.quoted);
                let mut places = quote.chain(search.angle.iter().map(String::as_str));
                let is_there = |place: &str| {
                    let path = match place {
                        "" => mention.name.clone(),
                        place => format!("{place}/{}", mention.name),
                    };
                    Path::new(&paths::absolute(&path, directory)).exists()
                };
                if mention.name.starts_with('/') {
                    !Path::new(&mention.name).exists()
                } else {
                    !places.any(is_there)
                }
            })
        })
    }

    /// What the linker reads.
    fn linked(&self) -> Result<LinkInputs, Reason> {
        let mut arguments = self.parsed.words.clone();
        arguments.push("-###".to_owned());
        let shown = run::ask(&self.program, &arguments).map_err(|_| Reason::LinkerUnknown)?;
        if shown.code() != 0 {
            return Err(Reason::DepsFailed);
        }
        let text = String::from_utf8_lossy(&shown.stderr).into_owned();
        let words = driver::linker_words(&text).ok_or(Reason::LinkerUnknown)?;
        let searched_first: Vec<String> = ["LD_RUN_PATH", "LD_LIBRARY_PATH"]
            .iter()
            .flat_map(|name| self.session.variable(name).unwrap_or_default().split(':'))
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        let tmpdir = self.session.settings.tmpdir.to_string_lossy().into_owned();
        let follow = |default_dirs: &[String]| {
            let search = Search {
                directory: &self.session.directory,
                default_dirs,
                searched_first: &searched_first,
                temporary: &tmpdir,
                as_reference: !self.session.settings.local_defaults,
                writes_map: self.parsed.writes_map,
            };
            search::inputs(&search, &words)
        };
        match follow(&[]) {
            // Only now is it worth asking the linker where else it looks.
            Err(Reason::LibraryMissing) => follow(&self.default_dirs()),
            other => other,
        }
    }

    fn default_dirs(&self) -> Vec<String> {
        let Ok(folder) = tempfile::tempdir_in(&self.session.settings.tmpdir) else {
            return Vec::new();
        };
        let output = folder.path().join("none").to_string_lossy().into_owned();
        let mut arguments = Vec::new();
        let mut words = self.parsed.words.iter();
        while let Some(word) = words.next() {
            if word == "--sysroot" {
                arguments.extend(words.next().map(|path| format!("--sysroot={path}")));
            } else if ["-m32", "-m64", "-mx32"].contains(&word.as_str())
                || ["-fuse-ld", "--sysroot="].iter().any(|option| word.starts_with(option))
            {
                arguments.push(word.clone());
            }
        }
        arguments.extend(["-Wl,--verbose", "-o"].map(str::to_owned));
        arguments.push(output);
        run::ask(&self.program, &arguments)
            .map(|shown| driver::search_dirs(&String::from_utf8_lossy(&shown.stdout)))
            .unwrap_or_default()
    }

    /// clang takes `X.pch` or `X.gch` for `-include X`; whether it may is for it to say.
    fn precompiled_by_name(&self, absent: &mut BTreeSet<PathBuf>) -> Result<(), Reason> {
        if !self.is_clang {
            return Ok(());
        }
        for name in &self.parsed.forced {
            for suffix in ["pch", "gch"] {
                let path = paths::absolute(&format!("{name}.{suffix}"), &self.session.directory);
                let path = PathBuf::from(path);
                if path.exists() {
                    return Err(Reason::Precompiled);
                }
                absent.insert(path);
            }
        }
        Ok(())
    }
}

/// The start-up object of the gcc that clang found.
fn crtbegin(shown: &str) -> Option<String> {
    let line = shown.lines().find_map(|line| line.strip_prefix("Selected GCC installation: "))?;
    let path = format!("{}/crtbegin.o", line.trim());
    Path::new(&path).is_file().then_some(path)
}
