//! Reads the command line of a compiler.

use crate::paths::PathRules;
use crate::reason::Reason;

use super::draft::Draft;
use super::flags;
use super::kind::{Deps, Kind};
use super::profile::{Names, Profile};
use super::response::Expanded;
use super::sources::InputKind;
use super::{Compiler, Family, Product};

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
    /// The dependency files that it writes: one, or one for each source.
    pub deps_files: Vec<String>,
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
    let mut draft =
        Draft::new(context.rules, context.local_defaults, context.compiler.family == Family::Clang);
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
    finish(draft, context, expanded)
}

/// All that the words say together.
fn finish(
    mut draft: Draft<'_>,
    context: &Context<'_>,
    expanded: &Expanded,
) -> Result<Parsed, Reason> {
    draft.preprocessor_words()?;
    if draft.inputs.is_empty() {
        return Err(Reason::NoInput);
    }
    let kind = if draft.compile {
        Kind::Compile
    } else if draft.inputs.iter().all(|(_, kind)| *kind == InputKind::Header) {
        // A precompiled header needs no `-c`.
        Kind::Compile
    } else {
        Kind::Link
    };
    if kind == Kind::Compile && draft.inputs.iter().any(|(_, kind)| *kind == InputKind::Object) {
        draft.inputs.retain(|(_, kind)| *kind != InputKind::Object);
        if draft.inputs.is_empty() {
            return Err(Reason::NoOutput);
        }
    }
    // A precompiled header of clang has the times of the headers in it, and is refused with others.
    let timeless = || expanded.words.iter().any(|word| word == "-fno-pch-timestamp");
    let header = |(_, kind): &(String, InputKind)| *kind == InputKind::Header;
    if draft.is_clang && draft.inputs.iter().any(header) && !timeless() {
        return Err(Reason::Precompiled);
    }
    if kind == Kind::Link && draft.anywhere {
        draft.maps = draft.map_files(&expanded.words)?;
    }
    let writes_map = !draft.maps.is_empty();
    let compiled = draft.inputs.iter().filter(|(_, kind)| *kind != InputKind::Object);
    let names = Names {
        kind,
        output: draft.outputs.last().map(String::as_str),
        compiled: &compiled.map(|(path, _)| path.as_str()).collect::<Vec<_>>(),
        links_code: expanded.words.iter().any(|word| word.starts_with("-flto")),
    };
    let profile = std::mem::take(&mut draft.profile).settle(draft.anywhere, &names)?;
    let products = match context.outputs_named {
        true => Vec::new(),
        false => draft.products(kind)?,
    };
    let deps_files = match (draft.deps, &draft.deps_file) {
        (Deps::None, _) => Vec::new(),
        (_, Some(file)) => vec![file.clone()],
        (_, None) => {
            let written = products.iter().filter(|product| product.local.ends_with(".d"));
            written.map(|product| product.local.clone()).collect()
        }
    };
    let rewritten = if context.local_defaults {
        Vec::new()
    } else {
        draft
            .rewritten
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
        arguments: draft.arguments,
        deps_arguments: draft.deps_arguments,
        words: expanded.words.clone(),
        inputs: draft.inputs,
        named_inputs: draft.named_inputs,
        forced: draft.forced,
        products,
        deps: draft.deps,
        deps_files,
        passages: draft.passages,
        directories: if draft.empty_directories { draft.directories } else { Vec::new() },
        rewritten,
        response_files,
        recorded: draft.recorded,
        native: draft.native,
        writes_map,
        profile,
    })
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
            ("clang -x c-header a.h -o a.pch", Reason::Precompiled),
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
