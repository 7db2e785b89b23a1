//! Response files: `@file` stands for the words in it.

use std::path::Path;

/// Words of a response file, as the GNU tools read it: separated by white space, with single
/// and double quotes, a backslash before any character.
#[must_use]
pub fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (_, '\\') => word.get_or_insert_default().extend(characters.next()),
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// A word as it must stand in a response file to be read as itself.
#[must_use]
pub fn quote(word: &str) -> String {
    if word.is_empty() {
        return "''".to_owned();
    }
    let mut quoted = String::with_capacity(word.len());
    for character in word.chars() {
        if character.is_ascii_whitespace() || matches!(character, '\\' | '\'' | '"') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}

/// A command line with its response files opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// All words.
    pub words: Vec<String>,
    /// Per word: the index in `files` of the outermost response file it comes from.
    pub origin: Vec<Option<usize>>,
    /// Outermost response files, as named.
    pub files: Vec<String>,
    /// Response files within response files, as named.
    pub nested: Vec<String>,
}

/// Deepest nesting; a file that names itself ends here.
const DEEPEST: usize = 20;

/// Opens every `@file`. One that does not exist is an ordinary word, as for gcc.
///
/// # Errors
/// The name of a file that is not UTF-8, or nested without end.
pub fn expand(arguments: &[String], directory: &Path) -> Result<Expanded, String> {
    let mut out = Expanded::default();
    for argument in arguments {
        match open(argument, directory)? {
            None => {
                out.words.push(argument.clone());
                out.origin.push(None);
            }
            Some(words) => {
                let index = out.files.len();
                out.files.push(argument[1..].to_owned());
                for word in words {
                    push(&mut out, word, index, directory, 1)?;
                }
            }
        }
    }
    Ok(out)
}

fn push(
    out: &mut Expanded,
    word: String,
    index: usize,
    directory: &Path,
    depth: usize,
) -> Result<(), String> {
    match open(&word, directory)? {
        Some(_) if depth >= DEEPEST => Err(word),
        Some(words) => {
            out.nested.push(word[1..].to_owned());
            words.into_iter().try_for_each(|word| push(out, word, index, directory, depth + 1))
        }
        None => {
            out.words.push(word);
            out.origin.push(Some(index));
            Ok(())
        }
    }
}

fn open(word: &str, directory: &Path) -> Result<Option<Vec<String>>, String> {
    let Some(name) = word.strip_prefix('@') else { return Ok(None) };
    match std::fs::read(directory.join(name)) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(|_| name.to_owned())?;
            Ok(Some(split(&text)))
        }
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(split("a  b\n'c d' \"e\\\"f\" g\\ h ''"), ["a", "b", "c d", "e\"f", "g h", ""]);
        assert!(split(" \n").is_empty());
        for word in ["a", "", "a b", "a\nb", "'\"\\", "@f", "\u{20ac}"] {
            assert_eq!(split(&quote(word)), [word]);
        }
    }

    #[test]
    fn files_within_files() {
        let folder = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        put("one", "-a @two -d").and_then(|()| put("two", "-b -c")).expect("written");
        put("loop", "@loop").expect("written");
        let arguments = ["x".to_owned(), "@one".to_owned(), "@gone".to_owned()];
        let expanded = expand(&arguments, folder.path()).expect("expanded");
        assert_eq!(expanded.words, ["x", "-a", "-b", "-c", "-d", "@gone"]);
        assert_eq!(expanded.files, ["one"]);
        assert_eq!(expanded.nested, ["two"]);
        assert_eq!(expanded.origin[1], Some(0));
        assert!(expand(&["@loop".to_owned()], folder.path()).is_err());
    }
}
