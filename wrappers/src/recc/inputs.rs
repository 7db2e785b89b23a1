//! Asks the compiler what a command reads.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::command::parse::Kind;
use crate::command::sources::InputKind;
use crate::command::{Compiler, Parsed};
use crate::engine::{Gathered, Inputs};
use crate::link::driver;
use crate::link::search::{self, LinkInputs, Search};
use crate::make_rule;
use crate::paths;
use crate::reason::Reason;
use crate::run;
use crate::search_path::{self, SearchPath};
use crate::session::Session;

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
        let mut gathered = Gathered { paths: self.compiled()?, ..Gathered::default() };
        if self.parsed.kind == Kind::Link {
            let linked = self.linked()?;
            gathered.absent = linked.absent;
            gathered.paths.extend(linked.files);
        }
        self.precompiled_by_name(&mut gathered.absent)?;
        if self.session.settings.manifest && !self.session.settings.no_execute {
            gathered.search = self.search_path();
        }
        Ok(gathered)
    }

    fn search_path(&mut self) -> Option<SearchPath> {
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
        search_path::of(
            self.session,
            &self.program,
            self.compiler.family,
            &self.parsed,
            kind,
            cpp,
            &self.identity,
        )
    }
}

impl CompilerInputs<'_> {
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
        let mut arguments: Vec<String> = self
            .parsed
            .words
            .iter()
            .filter(|word| {
                ["-m32", "-m64", "-mx32"].contains(&word.as_str()) || word.starts_with("-fuse-ld")
            })
            .cloned()
            .collect();
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
    std::path::Path::new(&path).is_file().then_some(path)
}
