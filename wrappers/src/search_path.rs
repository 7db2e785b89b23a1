//! Where a compiler looks for headers, as it says itself.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::bytes_io::{Reader, Writer, replace_file};
use crate::command::flags::{self, Effect};
use crate::command::sources::InputKind;
use crate::command::{Family, Parsed};
use crate::environment;
use crate::paths;
use crate::run;
use crate::session::Session;

const MAGIC: &[u8] = b"forerunner search path 2\n";
/// The variable with directories that count as if `-I` named them.
const USER_PATH: &str = "CPATH";

/// Directories in the order in which they are searched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPath {
    /// Only for names in quotes.
    pub quote: Vec<String>,
    /// For all names.
    pub angle: Vec<String>,
    /// Left out because they do not exist: they would count if they appeared.
    pub ignored: Vec<String>,
    /// Left out because each is another of these.
    pub duplicates: Vec<String>,
}

/// What is asked.
pub struct Question<'a> {
    /// The compiler.
    pub program: &'a str,
    /// Whose options it has.
    pub family: Family,
    /// The command.
    pub parsed: &'a Parsed,
    /// What is compiled.
    pub kind: InputKind,
    /// Whether it is C++.
    pub cpp: bool,
    /// Stands for the toolchain; without it nothing is remembered.
    pub identity: &'a str,
    /// Only the directories of the system: without `-I` and `CPATH`.
    pub of_system: bool,
}

/// Asks the compiler, or remembers what it said.
#[must_use]
pub fn of(session: &Session, question: &Question<'_>) -> Option<SearchPath> {
    let &Question { program, identity, of_system, .. } = question;
    let arguments = arguments(question);
    let hidden = |name: &str| of_system && name == USER_PATH;
    let mut hasher = blake3::Hasher::new();
    for text in [program, identity, &session.directory]
        .into_iter()
        .chain(arguments.iter().map(String::as_str))
    {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    for name in environment::SEARCH {
        let value = session.variable(name).filter(|_| !hidden(name));
        hasher.update(value.unwrap_or("\0").as_bytes());
        hasher.update(b"\0");
    }
    let place =
        session.aside("search").map(|folder| folder.join(&hasher.finalize().to_hex()[..32]));
    // Without the toolchain's identity nothing says that the answer still holds.
    let place = place.filter(|_| !identity.is_empty());
    if let Some(found) = place.as_deref().and_then(recall)
        && found.still_holds(&session.directory)
    {
        return Some(found);
    }
    let cleared: &[(&str, &str)] = if of_system { &[(USER_PATH, "")] } else { &[] };
    let shown = run::ask_with(program, &arguments, cleared).ok();
    let shown = shown.filter(|shown| shown.code() == 0)?;
    let found = parse(&String::from_utf8_lossy(&shown.stderr))?;
    if let Some(place) = place {
        let mut writer = Writer(MAGIC.to_vec());
        for list in [&found.quote, &found.angle, &found.ignored, &found.duplicates] {
            writer.small(list.len());
            list.iter().for_each(|text| writer.text(text));
        }
        replace_file(&place, &writer.0);
    }
    Some(found)
}

impl SearchPath {
    fn still_holds(&self, directory: &str) -> bool {
        let look = |path: &String| {
            let metadata = std::fs::metadata(Path::new(directory).join(path)).ok()?;
            metadata.is_dir().then(|| (metadata.dev(), metadata.ino()))
        };
        // One directory under two names is searched under one of them.
        let mut seen = HashSet::new();
        let differ = |path| look(path).is_some_and(|identity| seen.insert(identity));
        self.quote.iter().all(|path| look(path).is_some())
            && self.angle.iter().all(differ)
            && !self.ignored.iter().any(|path| look(path).is_some())
            && !self.depends_on_links(directory)
    }

    /// Whether a directory is left out because a link in its path leads to another: it may lead
    /// elsewhere some day.
    #[must_use]
    pub fn depends_on_links(&self, directory: &str) -> bool {
        let plain = |path: &String| paths::normalise(&paths::absolute(path, directory));
        let searched: HashSet<_> = self.quote.iter().chain(&self.angle).map(plain).collect();
        self.duplicates.iter().map(plain).any(|path| !searched.contains(&path))
    }
}

/// The options of the command, without inputs and outputs, for a source that is empty.
fn arguments(question: &Question<'_>) -> Vec<String> {
    let is_clang = question.family == Family::Clang;
    let mut out = Vec::new();
    let mut words = question.parsed.deps_arguments.iter().skip(1);
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            continue;
        }
        let Some((flag, inline)) = flags::find(word, is_clang) else {
            out.push(word.clone());
            continue;
        };
        let separate =
            matches!(flag.shape, flags::Shape::Separate | flags::Shape::Either) && inline.is_none();
        let value = if separate { words.next() } else { None };
        let drop = matches!(
            flag.effect,
            Effect::Compile
                | Effect::IncludeFile
                | Effect::Language
                | Effect::Linker
                | Effect::Input
        ) || (question.of_system && flag.name == "-I");
        if !drop {
            out.push(word.clone());
            out.extend(value.cloned());
        }
    }
    let language = match question.kind {
        InputKind::AssemblerCpp => "assembler-with-cpp",
        _ if question.cpp => "c++",
        _ => "c",
    };
    out.extend(
        ["-E", "-v", "-w", "-x", language, "/dev/null", "-o", "/dev/null"].map(str::to_owned),
    );
    out
}

fn parse(text: &str) -> Option<SearchPath> {
    let mut found = SearchPath::default();
    let mut list: Option<bool> = None;
    let mut complete = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("ignoring nonexistent directory \"") {
            found.ignored.push(rest.trim_end_matches('"').to_owned());
        } else if let Some(rest) = line.strip_prefix("ignoring duplicate directory \"") {
            found.duplicates.push(rest.trim_end_matches('"').to_owned());
        } else if line.starts_with("#include \"...\"") {
            list = Some(true);
        } else if line.starts_with("#include <...>") {
            list = Some(false);
        } else if line.starts_with("End of search list") {
            complete = true;
            list = None;
        } else if let (Some(quote), Some(path)) = (list, line.strip_prefix(' ')) {
            let path = path.trim_end_matches(" (framework directory)").to_owned();
            if quote { found.quote.push(path) } else { found.angle.push(path) }
        }
    }
    complete.then_some(found)
}

fn recall(place: &Path) -> Option<SearchPath> {
    let bytes = std::fs::read(place).ok()?;
    let mut reader = Reader(bytes.strip_prefix(MAGIC)?);
    let mut list = || -> Option<Vec<String>> {
        (0..reader.small()?).map(|_| reader.text().map(str::to_owned)).collect()
    };
    Some(SearchPath { quote: list()?, angle: list()?, ignored: list()?, duplicates: list()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gcc_says_it_so() {
        let text = "ignoring nonexistent directory \"/usr/local/x\"\nignoring duplicate directory \"./inc\"\n#include \"...\" search starts here:\n q\n#include <...> search starts here:\n inc\n /usr/include\nEnd of search list.\n";
        let found = parse(text).expect("complete");
        assert_eq!((found.quote.len(), found.angle.len()), (1, 2));
        assert_eq!(found.ignored, ["/usr/local/x"]);
        assert_eq!(found.duplicates, ["./inc"]);
        assert!(!found.depends_on_links("/w"));
        let linked = SearchPath { duplicates: vec!["link".to_owned()], ..found };
        assert!(linked.depends_on_links("/w"));
        assert!(parse("#include <...> search starts here:\n inc\n").is_none());
    }
}
