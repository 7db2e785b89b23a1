//! What the preprocessor's directives in a text say, without knowing which of them count.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::include::{Include, operand};

/// The directives of a C or C++ text. One that is none of these has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Every include directive, whatever it depends on; sorted, each once. One whose file follows from a
    /// macro is none of them.
    pub includes: Vec<Include>,
    /// Stands for everything that includes something, with the conditions around it.
    pub(crate) shape: u64,
    /// The macros in those conditions, and those that name a file; sorted, each once.
    pub(crate) switches: Vec<Word>,
    /// What is defined and undefined, sorted by name.
    pub(crate) macros: Vec<Macro>,
}

/// How a name stands in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    /// A condition asks whether it is defined.
    Tested,
    /// A condition depends on what it is.
    Valued,
    /// A definition is made of it.
    Body,
}

/// A name and how it stands there.
pub(crate) type Word = (Box<str>, Role);

/// A macro that a text defines or undefines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Macro {
    pub(crate) name: Box<str>,
    /// Stands for where it is defined and undefined, with the conditions around that.
    pub(crate) existence: u64,
    /// Stands for that, and for what it is defined to be.
    pub(crate) whole: u64,
    /// What both depend on; sorted, each once.
    pub(crate) words: Vec<Word>,
}

impl Text {
    /// Looks through a text.
    #[must_use]
    pub fn scan(text: &[u8]) -> Self {
        let mut scan = Scan::default();
        let mut comment = false;
        for line in lines(text) {
            // Most lines are no directive, and begin no comment.
            let is_directive = line.trim_ascii_start().first() == Some(&b'#');
            if !comment && !is_directive && !line.windows(2).any(|two| two == b"/*") {
                continue;
            }
            let code = uncommented(&line, &mut comment);
            if let Some(rest) = code.trim_ascii_start().strip_prefix(b"#") {
                scan.directive(rest.trim_ascii());
            }
        }
        scan.finish()
    }
}

/// The lines, joined where one goes on in the next.
fn lines(text: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let mut rest = text;
    let mut next = move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after.strip_prefix(b"\n").unwrap_or(after);
        Some(line)
    };
    let goes_on = |line: &'_ [u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.strip_suffix(b"\\").map(<[u8]>::len)
    };
    std::iter::from_fn(move || {
        let line = next()?;
        let Some(length) = goes_on(line) else { return Some(Cow::Borrowed(line)) };
        let mut joined = line[..length].to_vec();
        while let Some(line) = next() {
            let length = goes_on(line);
            joined.extend_from_slice(&line[..length.unwrap_or(line.len())]);
            if length.is_none() {
                break;
            }
        }
        Some(Cow::Owned(joined))
    })
}

/// A line without its comments; `comment` says whether it begins, and then whether it ends in one.
fn uncommented(line: &[u8], comment: &mut bool) -> Vec<u8> {
    let mut code = Vec::with_capacity(line.len());
    let mut literal = None;
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        let next = line.get(at + 1).copied();
        match (literal, byte, next) {
            _ if *comment => {
                if (byte, next) == (b'*', Some(b'/')) {
                    *comment = false;
                    at += 1;
                }
            }
            (None, b'/', Some(b'*')) => {
                // As good as a space.
                code.push(b' ');
                *comment = true;
                at += 1;
            }
            (None, b'/', Some(b'/')) => break,
            (Some(_), b'\\', Some(_)) => at += 1,
            (Some(end), _, _) => {
                code.push(byte);
                literal = (byte != end).then_some(end);
            }
            (None, _, _) => {
                code.push(byte);
                literal = matches!(byte, b'"' | b'\'').then_some(byte);
            }
        }
        at += 1;
    }
    code
}

/// One `#if` and what belongs to it.
struct Frame {
    /// Stands for all conditions so far.
    hash: u64,
    words: Vec<Word>,
}

#[derive(Default)]
struct Scan {
    frames: Vec<Frame>,
    /// With the conditions around it.
    includes: Vec<(Option<Include>, u64)>,
    switches: Vec<Word>,
    macros: BTreeMap<Box<str>, Macro>,
}

impl Scan {
    /// `code` is what stands after the `#`.
    fn directive(&mut self, code: &[u8]) {
        let end = code.iter().position(|byte| !is_letter(*byte)).unwrap_or(code.len());
        let (word, rest) = code.split_at(end);
        let rest = rest.trim_ascii();
        match word {
            b"if" | b"ifdef" | b"ifndef" => {
                let mut frame = Frame { hash: 0, words: Vec::new() };
                frame.add(word, rest);
                self.frames.push(frame);
            }
            b"elif" | b"elifdef" | b"elifndef" | b"else" => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.add(word, rest);
                }
            }
            b"endif" => drop(self.frames.pop()),
            b"include" | b"include_next" | b"import" => self.include(word, rest),
            b"define" | b"undef" => self.define(word, rest),
            _ => {}
        }
    }

    fn include(&mut self, word: &[u8], rest: &[u8]) {
        let include = operand(rest);
        if include.is_none() {
            names(rest, |name| self.switches.push((name.into(), Role::Valued)));
        }
        let hash = hashed(self.conditions(), &[word, rest]);
        self.includes.push((include, hash));
        let words = self.frames.iter().flat_map(|frame| &frame.words);
        self.switches.extend(words.cloned());
    }

    fn define(&mut self, word: &[u8], rest: &[u8]) {
        let end = rest.iter().position(|byte| !is_letter(*byte)).unwrap_or(rest.len());
        let Some(name) = std::str::from_utf8(&rest[..end]).ok().filter(|name| !name.is_empty())
        else {
            return;
        };
        let conditions = self.conditions();
        let known = self.macros.entry(name.into()).or_insert_with(|| Macro {
            name: name.into(),
            existence: 0,
            whole: 0,
            words: Vec::new(),
        });
        known.existence = hashed(known.existence ^ conditions, &[word]);
        known.whole = hashed(known.whole ^ conditions, &[word, &rest[end..]]);
        names(&rest[end..], |name| known.words.push((name.into(), Role::Body)));
        known.words.extend(self.frames.iter().flat_map(|frame| frame.words.iter().cloned()));
        known.words.sort_unstable();
        known.words.dedup();
    }

    fn conditions(&self) -> u64 {
        self.frames.iter().fold(0, |hash, frame| hashed(hash ^ frame.hash, &[]))
    }

    fn finish(mut self) -> Text {
        self.includes.sort_unstable();
        let mut hasher = DefaultHasher::new();
        self.includes.hash(&mut hasher);
        let mut includes: Vec<Include> =
            self.includes.into_iter().filter_map(|(include, _)| include).collect();
        includes.dedup();
        self.switches.sort_unstable();
        self.switches.dedup();
        Text {
            includes,
            shape: hasher.finish(),
            switches: self.switches,
            macros: self.macros.into_values().collect(),
        }
    }
}

impl Frame {
    fn add(&mut self, word: &[u8], condition: &[u8]) {
        self.hash = hashed(self.hash, &[word, condition]);
        // `elifdef` and the like end as these do.
        let mut tested = word.ends_with(b"def");
        names(condition, |name| match name {
            "defined" => tested = true,
            _ => {
                let role = if tested { Role::Tested } else { Role::Valued };
                self.words.push((name.into(), role));
                tested = false;
            }
        });
    }
}

/// The number that stands for these words, whatever space is between them.
fn hashed(before: u64, parts: &[&[u8]]) -> u64 {
    let mut hasher = DefaultHasher::new();
    before.hash(&mut hasher);
    for part in parts {
        for word in part.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
            word.hash(&mut hasher);
        }
        0xff_u8.hash(&mut hasher);
    }
    hasher.finish()
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')
}

/// The names in an expression; not those in literals or numbers.
fn names(code: &[u8], mut found: impl FnMut(&str)) {
    let mut rest = code;
    while let Some(first) = rest.first() {
        if matches!(first, b'"' | b'\'') {
            let end = rest[1..].iter().position(|byte| byte == first);
            rest = &rest[end.map_or(rest.len(), |end| end + 2)..];
            continue;
        }
        let length = rest.iter().position(|byte| !is_letter(*byte)).unwrap_or(rest.len());
        if length > 0
            && !first.is_ascii_digit()
            && let Ok(name) = std::str::from_utf8(&rest[..length])
        {
            found(name);
        }
        rest = &rest[length.max(1)..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn includes(text: &str) -> Vec<String> {
        let name = |include: Include| match include.quoted {
            true => format!("\"{}\"", include.name),
            false => format!("<{}>", include.name),
        };
        Text::scan(text.as_bytes()).includes.into_iter().map(name).collect()
    }

    #[test]
    fn directives_are_found() {
        let text = "#include \"b/c.h\"\n  #  include <a.h> // why\n#if 0\n#include\"a.h\"\n#endif\n\
            #include_next <n.h>\r\n#import \"o.h\"\n/* x */ #include \"p.h\" /* y */\n#include \"a.h\"\n\
            #incl\\\nude \\\r\n  \"q.h\"\n";
        assert_eq!(
            includes(text),
            ["<a.h>", "\"a.h\"", "\"b/c.h\"", "<n.h>", "\"o.h\"", "\"p.h\"", "\"q.h\""]
        );
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        let text = "/* #include \"a.h\"\n#include \"b.h\"\n*/ // #include \"c.h\"\n#include NAME\n\
            #define X \"/*\"\n#include \"d.h\"\n#define Y '\"' /* \" */\n#include \"e.h\"\n\
            #included \"f.h\"\nint x; #include \"g.h\"\n#include \"\"\n#include \"open\n\
            #define Z \\\n#include \"h.h\"\n";
        assert_eq!(includes(text), ["\"d.h\"", "\"e.h\""]);
        assert!(Text::scan(b"\xff\x00#include \"\xff\"\n#").includes.is_empty());
        assert_eq!(
            Text::scan(b"#endif\n#else\n#define\n#define (\n#if\n\\"),
            Text { shape: Text::scan(b"").shape, ..Text::default() }
        );
    }

    fn switches(text: &str) -> Vec<(String, Role)> {
        let text = Text::scan(text.as_bytes());
        text.switches.into_iter().map(|(name, role)| (name.into(), role)).collect()
    }

    #[test]
    fn conditions_around_includes_are_known() {
        let text = "#ifndef GUARD\n#if defined(A) && B > 10L && defined C // D\n#elif E == 'F'\n#else\n\
            #include NAME\n#endif\n#ifdef NONE\n#endif\n#endif\n#if LATE\nint x;\n#endif\n";
        use Role::{Tested, Valued};
        let expected = [
            ("A", Tested),
            ("B", Valued),
            ("C", Tested),
            ("E", Valued),
            ("GUARD", Tested),
            ("NAME", Valued),
        ];
        assert_eq!(switches(text), expected.map(|(name, role)| (name.to_owned(), role)));
    }

    #[test]
    fn macros_are_known() {
        let text = Text::scan(b"#if A\n#define X(y) y + Z \"W\"\n#endif\n#undef X\n#define B 1u\n");
        let names: Vec<&str> = text.macros.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["B", "X"]);
        let words: Vec<&str> = text.macros[1].words.iter().map(|(name, _)| &**name).collect();
        assert_eq!(words, ["A", "Z", "y"]);
        assert_eq!(text.macros[0].words, []);
    }

    #[test]
    fn what_a_change_changes() {
        let text = |condition: &str, value: &str| {
            let text = format!("#if {condition}\n#include <a.h>\n#define X {value}\n#endif\n");
            Text::scan(text.as_bytes())
        };
        let (one, other) = (text("A", "1"), text("A", "2"));
        assert_eq!((one.shape, &one.switches), (other.shape, &other.switches));
        assert_eq!(one.macros[0].existence, other.macros[0].existence);
        assert_ne!(one.macros[0].whole, other.macros[0].whole);
        // Space is of no account.
        assert_eq!(one, text(" A ", " 1 "));
        let other = text("B", "1");
        assert_ne!(one.shape, other.shape);
        assert_ne!(one.macros[0].existence, other.macros[0].existence);
        assert_eq!(one.includes, other.includes);
    }
}
