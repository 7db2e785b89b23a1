//! What a source says about other files, read without preprocessing it.
//!
//! Everything is found that could be a directive, also where a comment or a condition hides it:
//! too much only makes a manifest a little larger.

use memchr::memmem;

/// A name in an include directive or in `__has_include`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mention {
    /// Between the quotes or brackets.
    pub name: String,
    /// In quotes: searched beside the including file first.
    pub quoted: bool,
    /// The search does not end at the first file (`#include_next`).
    pub next: bool,
    /// Only asked for (`__has_include`).
    pub asked: bool,
}

/// What a source mentions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Names of files.
    pub mentions: Vec<Mention>,
    /// A directive whose operand is a macro: every input may be meant.
    pub computed: bool,
    /// Something that cannot be foreseen from the text.
    pub unclear: bool,
    /// Embeds files that no dependency list names.
    pub embeds: bool,
    /// Depends on the time of the compilation, unless that is fixed.
    pub time: bool,
    /// Depends on the source's time stamp.
    pub timestamp: bool,
    /// Read once only, however often it is included: also if another file has the same content.
    pub once: bool,
}

/// Reads a source. `assembler`: `.include` is a directive too.
#[must_use]
pub fn scan(text: &[u8], assembler: bool) -> Facts {
    let mut facts = Facts::default();
    for at in memchr::memchr_iter(b'#', text).filter(|at| may_begin(&text[..*at])) {
        directive(&text[at + 1..], &mut facts);
    }
    for at in memmem::find_iter(text, b"%:").filter(|at| may_begin(&text[..*at])) {
        directive(&text[at + 2..], &mut facts);
    }
    for at in memmem::find_iter(text, b"__has_include") {
        asked(&text[at + b"__has_include".len()..], &mut facts);
    }
    let has = |needle: &[u8]| memmem::find(text, needle).is_some();
    facts.unclear |= has(b"GCC dependency") || has(b"??=");
    facts.embeds = has(b".incbin") || embeds(text) || (assembler && has(b".include"));
    facts.time = has(b"__DATE__") || has(b"__TIME__");
    facts.timestamp = has(b"__TIMESTAMP__");
    facts.once = has(b"once") && (has(b"pragma") || has(b"_Pragma")) || has(b"import");
    facts.mentions.sort();
    facts.mentions.dedup();
    facts
}

/// What stands in quotes or brackets in definitions of macros: what a computed directive may mean.
pub fn defined_names(text: &[u8]) -> impl Iterator<Item = String> {
    text.split(|byte| *byte == b'\n').filter_map(definition).flat_map(|body| {
        [(b'"', b'"'), (b'<', b'>')].into_iter().filter_map(move |(open, close)| {
            let from = memchr::memchr(open, body)? + 1;
            let name = &body[from..from + memchr::memchr(close, &body[from..])?];
            let name = std::str::from_utf8(name).ok()?;
            (!name.is_empty() && !name.contains([' ', '\\', '%'])).then(|| name.to_owned())
        })
    })
}

/// What follows `#define` in a line.
fn definition(line: &[u8]) -> Option<&[u8]> {
    line.trim_ascii_start().strip_prefix(b"#")?.trim_ascii_start().strip_prefix(b"define")
}

/// `#embed` and `__has_embed`, not the words that only begin so.
fn embeds(text: &[u8]) -> bool {
    let ends =
        |at: usize| text.get(at).is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    memmem::find_iter(text, b"__has_embed").any(|at| {
        let after = at + b"__has_embed".len();
        ends(after) && text[after..].trim_ascii_start().first() == Some(&b'(')
    }) || memmem::find_iter(text, b"embed").any(|at| {
        ends(at + 5)
            && text[..at].trim_ascii_end().last() == Some(&b'#')
            && matches!(text[at + 5..].trim_ascii_start().first(), Some(b'<' | b'"'))
    })
}

/// Whether a directive may follow: in its line only blanks and comments stand before it.
fn may_begin(before: &[u8]) -> bool {
    let blank = |byte: &&u8| matches!(**byte, b' ' | b'\t' | 0x0b | 0x0c);
    let last = before.iter().rev().find(|byte| !blank(byte));
    last.is_none_or(|byte| matches!(byte, b'\n' | b'\r' | b'/'))
}

/// What follows a `#`.
fn directive(text: &[u8], facts: &mut Facts) {
    let Some(text) = skip_space(text) else {
        facts.unclear = true;
        return;
    };
    let length = text
        .iter()
        .position(|byte| !byte.is_ascii_alphabetic() && *byte != b'_')
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(length);
    let next = match word {
        b"include" | b"import" => false,
        b"include_next" => true,
        // A word that a line end within it may have cut.
        word if b"include_next".starts_with(word)
            && !word.is_empty()
            && rest.starts_with(b"\\\n") =>
        {
            facts.unclear = true;
            return;
        }
        _ => return,
    };
    let Some(rest) = skip_space(rest) else {
        facts.unclear = true;
        return;
    };
    match operand(rest) {
        Some((name, quoted)) => {
            facts.mentions.push(Mention { name, quoted, next, asked: false });
        }
        None => {
            facts.computed |= rest.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
        }
    }
}

/// What follows `__has_include`.
fn asked(text: &[u8], facts: &mut Facts) {
    let (next, text) = match text.strip_prefix(b"_next") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if text.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        return;
    }
    let inside = skip_space(text).and_then(|text| text.strip_prefix(b"(")).and_then(skip_space);
    // Without a parenthesis it is only asked whether there is such an operator.
    let Some(inside) = inside else { return };
    match operand(inside) {
        Some((name, quoted)) => facts.mentions.push(Mention { name, quoted, next, asked: true }),
        None => facts.unclear = true,
    }
}

fn operand(text: &[u8]) -> Option<(String, bool)> {
    let (open, rest) = text.split_first()?;
    let close = match open {
        b'"' => b'"',
        b'<' => b'>',
        _ => return None,
    };
    let line = memchr::memchr(b'\n', rest).map_or(rest, |end| &rest[..end]);
    let end = memchr::memchr(close, line)?;
    let name = std::str::from_utf8(&line[..end]).ok()?;
    Some((name.to_owned(), *open == b'"'))
}

/// Skips blanks, comments and joined lines; `None` if a comment does not end.
fn skip_space(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = match text {
            [b' ' | b'\t' | 0x0b | 0x0c, rest @ ..] => rest,
            [b'\\', b'\n', rest @ ..] | [b'\\', b'\r', b'\n', rest @ ..] => rest,
            [b'/', b'*', rest @ ..] => &rest[memmem::find(rest, b"*/")? + 2..],
            _ => return Some(text),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        scan(text.as_bytes(), false).mentions.into_iter().map(|m| m.name).collect()
    }

    #[test]
    fn directives_in_all_dresses() {
        let text = "#include \"a.h\"\n  # /* x */ include <b.h>\n/**/#include\\\n \"c.h\"\n%:include <d.h>\n#import \"e.h\"\n#include_next <f.h>\n// #include \"g.h\"\n#included \"no\"\n";
        let mut found = names(text);
        found.sort();
        assert_eq!(found, ["a.h", "b.h", "c.h", "d.h", "e.h", "f.h", "g.h"]);
        let facts = scan(text.as_bytes(), false);
        assert!(!facts.computed && !facts.unclear && !facts.embeds);
        assert!(!scan(b" * use \\#include this, not a #include of\n", false).computed);
        assert!(facts.mentions.iter().any(|m| m.next && m.name == "f.h"));
    }

    #[test]
    fn what_cannot_be_foreseen() {
        assert!(scan(b"#include HEADER\n", false).computed);
        assert!(scan(b"#inc\\\nlude \"x\"\n", false).unclear);
        assert!(scan(b"#if __has_include(X)\n", false).unclear);
        let facts = scan(
            b"#ifdef __has_include\n#if defined(__has_include) && __has_include ( <x.h> )\n",
            false,
        );
        assert!(!facts.unclear);
        assert!(facts.mentions.iter().any(|m| m.asked && m.name == "x.h" && !m.quoted));
        assert!(scan(b"__asm__(\".incbin \\\"x\\\"\");", false).embeds);
        assert!(scan(b"# embed <x>\n", false).embeds);
        assert!(!scan(b"// embedded, #embedding \"x\"\nint embed;\n", false).embeds);
        assert!(scan(b" .include \"x\"\n", true).embeds);
        assert!(scan(b"char *t = __TIME__;", false).time);
    }

    #[test]
    fn what_definitions_name() {
        let text =
            b"#define A \"a.h\"\n  # define B(x) <sub/b.h>\nint define; char *c = \"c.h\";\n\
            #define D \"with a blank\"\n#define E \"\" <e.h>";
        let names: Vec<String> = defined_names(text).collect();
        assert_eq!(names, ["a.h", "sub/b.h", "e.h"]);
    }
}
