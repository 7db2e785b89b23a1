//! What a file says to the preprocessor, apart from what it says to the compiler.
//!
//! Most edits change what is compiled and not what is included. Two sums tell which kind an edit
//! was: one of the names that the file mentions, one of its directives.

use crate::scan::Facts;

/// Bytes of a sum.
pub(super) const SUM_BYTES: usize = 16;
/// A part of a BLAKE3 hash.
type Sum = [u8; SUM_BYTES];

/// The sums of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Of every name that it mentions in an include directive or in `__has_include`, and of what
    /// else [`Facts`] has.
    pub names: Sum,
    /// Of every directive, in order; of those that may depend on where they stand also the line.
    /// `None` if the text is such that compilers may differ about what a directive is.
    pub directives: Option<Sum>,
}

impl Outline {
    /// The outline of a text whose facts are known.
    #[must_use]
    pub fn of(text: &[u8], facts: &Facts) -> Self {
        Self::with(facts, directives(text).as_deref())
    }

    pub(super) fn with(facts: &Facts, directives: Option<&[Directive<'_>]>) -> Self {
        let directives = directives.map(|directives| {
            let mut hasher = blake3::Hasher::new();
            for directive in directives {
                let line = if directive.knows_its_line() { directive.line } else { 0 };
                hasher.update(&(line as u64).to_le_bytes());
                hasher.update(&(directive.text.len() as u64).to_le_bytes());
                hasher.update(directive.text);
            }
            sum(&hasher)
        });
        let mut hasher = blake3::Hasher::new();
        for mention in &facts.mentions {
            hasher.update(&(mention.name.len() as u64).to_le_bytes());
            hasher.update(mention.name.as_bytes());
            hasher.update(&[mention.quoted.into(), mention.next.into(), mention.asked.into()]);
        }
        let Facts { mentions: _, computed, unclear, embeds, time, timestamp, once } = *facts;
        hasher.update(&[computed, unclear, embeds, time, timestamp, once].map(u8::from));
        Self { names: sum(&hasher), directives }
    }
}

fn sum(hasher: &blake3::Hasher) -> Sum {
    let mut sum = [0; SUM_BYTES];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..SUM_BYTES]);
    sum
}

/// A directive as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directive<'a> {
    /// In which line it begins, from 0.
    pub(super) line: usize,
    /// What follows the `#`.
    pub(super) text: &'a [u8],
}

impl<'a> Directive<'a> {
    /// Its name, if nothing stands between it and the `#` but blanks.
    pub(super) fn word(&self) -> &'a [u8] {
        let text = self.text.trim_ascii_start();
        &text[..word_length(text)]
    }

    /// Whether a macro in it could stand for the number of the line.
    fn knows_its_line(&self) -> bool {
        let word = self.word();
        let rest = &self.text.trim_ascii_start()[word.len()..];
        match word {
            b"ifdef" | b"ifndef" | b"elifdef" | b"elifndef" | b"else" | b"endif" | b"define"
            | b"undef" | b"pragma" | b"error" | b"warning" | b"line" | b"ident" => false,
            b"if" | b"elif" => has_macros(rest),
            b"include" | b"include_next" | b"import" => {
                !matches!(rest.trim_ascii_start().first(), Some(b'"' | b'<'))
            }
            _ => true,
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn word_length(text: &[u8]) -> usize {
    text.iter().position(|byte| !is_word(*byte)).unwrap_or(text.len())
}

/// Whether an expression names anything but operands of `defined`.
fn has_macros(mut text: &[u8]) -> bool {
    let mut defined = false;
    while let Some(first) = text.first() {
        if !is_word(*first) {
            text = &text[1..];
            continue;
        }
        let (word, rest) = text.split_at(word_length(text));
        text = rest;
        if word == b"defined" {
            defined = true;
        } else if !first.is_ascii_digit() && !std::mem::take(&mut defined) {
            return true;
        }
    }
    false
}

/// The directives of a text, or `None` where it cannot be said with certainty.
///
/// Comments, strings and characters are passed over as compilers do it, in parts that a condition
/// hides too. A literal that does not end ends with its line, as with gcc and clang.
pub(super) fn directives(text: &[u8]) -> Option<Vec<Directive<'_>>> {
    for trigraph in [&b"??/"[..], b"??=", b"??'"] {
        if memchr::memmem::find(text, trigraph).is_some() {
            return None;
        }
    }
    let mut reader = Reader { text, at: 0, line: 0 };
    let mut found = Vec::new();
    while reader.at < text.len() {
        reader.blanks()?;
        let rest = &text[reader.at..];
        let mark = match rest {
            [b'#', ..] => 1,
            [b'%', b':', ..] => 2,
            _ => 0,
        };
        let line = reader.line;
        reader.at += mark;
        let begin = reader.at;
        reader.rest_of_line()?;
        if mark > 0 {
            let directive = Directive { line, text: &text[begin..reader.at] };
            if is_odd(directive.text) {
                return None;
            }
            found.push(directive);
        }
        // The line's end.
        if reader.at < text.len() {
            reader.at += 1;
            reader.line += 1;
        }
    }
    Some(found)
}

/// Names of headers with what looks like a comment or a string.
fn is_odd(text: &[u8]) -> bool {
    let names = |word: &[u8]| memchr::memmem::find(text, word).is_some();
    if !names(b"include") && !names(b"import") && !names(b"embed") {
        return false;
    }
    memchr::memchr_iter(b'<', text).any(|open| {
        let end = memchr::memchr(b'>', &text[open..]).map_or(text.len(), |end| open + end);
        let name = &text[open..end];
        let comment = name.windows(2).any(|two| two == b"/*" || two == b"//");
        comment || name.iter().any(|byte| matches!(byte, b'"' | b'\'' | b'\\'))
    })
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl Reader<'_> {
    /// Passes over blanks and comments at the start of a line.
    fn blanks(&mut self) -> Option<()> {
        loop {
            match self.text[self.at..] {
                [b' ' | b'\t' | b'\r' | 0x0b | 0x0c, ..] => self.at += 1,
                [b'\\', ..] if self.joined() => {}
                [b'/', b'*', ..] => self.comment()?,
                _ => return Some(()),
            }
        }
    }

    /// Passes over a backslash and the end of the line that follows it, blanks between them
    /// included.
    fn joined(&mut self) -> bool {
        let rest = &self.text[self.at + 1..];
        let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | 0x0b | 0x0c));
        let count = blanks.count();
        if rest.get(count) != Some(&b'\n') {
            return false;
        }
        self.at += count + 2;
        self.line += 1;
        true
    }

    fn comment(&mut self) -> Option<()> {
        let body = &self.text[self.at + 2..];
        let length = memchr::memmem::find(body, b"*/")?;
        let body = &body[..length];
        // An end that is cut by the end of a line.
        let cut = |at: usize| matches!(body[at + 1..].trim_ascii_start(), [b'/', ..]);
        if memchr::memmem::find_iter(body, b"*\\").any(|at| cut(at + 1)) {
            return None;
        }
        self.line += memchr::memchr_iter(b'\n', body).count();
        self.at += length + 4;
        Some(())
    }

    /// Goes to the end of the logical line.
    fn rest_of_line(&mut self) -> Option<()> {
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'\n' => return Some(()),
                b'\\' => {
                    let before = self.at.checked_sub(1).map(|at| self.text[at]);
                    if self.joined() {
                        // What is cut there may be the start of a comment or of a raw string.
                        let next = self.text.get(self.at);
                        let cut = match before {
                            Some(b'/') => matches!(next, Some(b'/' | b'*' | b'\\')),
                            Some(b'%') => matches!(next, Some(b':' | b'\\')),
                            Some(byte) if is_word(byte) => {
                                matches!(next, Some(b'"' | b'\'' | b'\\'))
                            }
                            _ => false,
                        };
                        if cut {
                            return None;
                        }
                    } else {
                        self.at += 1;
                    }
                }
                b'/' => match self.text.get(self.at + 1) {
                    Some(b'*') => self.comment()?,
                    Some(b'/') => self.line_comment(),
                    _ => self.at += 1,
                },
                b'"' | b'\'' => self.literal(*byte)?,
                _ => self.at += 1,
            }
        }
        Some(())
    }

    fn line_comment(&mut self) {
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'\n' => return,
                b'\\' if self.joined() => {}
                _ => self.at += 1,
            }
        }
    }

    fn literal(&mut self, quote: u8) -> Option<()> {
        let before = &self.text[..self.at];
        let begin = before.iter().rposition(|b| !is_word(*b) && *b != b'\'').map_or(0, |at| at + 1);
        let prefix = &before[begin..];
        if quote == b'\'' && prefix.first().is_some_and(u8::is_ascii_digit) {
            return self.separator();
        }
        // Whether it is raw depends on the language.
        if quote == b'"' && prefix.last() == Some(&b'R') {
            return None;
        }
        self.at += 1;
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'\n' => return Some(()),
                b'\\' => {
                    if !self.joined() {
                        self.at += 1;
                        if self.text.get(self.at).is_some_and(|byte| *byte != b'\n') {
                            self.at += 1;
                        }
                    }
                }
                _ => {
                    self.at += 1;
                    if *byte == quote {
                        return Some(());
                    }
                }
            }
        }
        Some(())
    }

    /// A `'` within a number, which in older languages begins a character: certain only where
    /// that makes no difference.
    fn separator(&mut self) -> Option<()> {
        let rest = &self.text[self.at + 1..];
        let line = &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())];
        let odd = line.contains(&b'"')
            || line.contains(&b'\\')
            || memchr::memmem::find(line, b"/*").is_some()
            || memchr::memmem::find(line, b"//").is_some();
        self.at += 1 + line.len();
        (!odd).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::scan;

    fn shown(text: &str) -> Option<Vec<(usize, String)>> {
        let found = directives(text.as_bytes())?;
        let text = |d: &Directive<'_>| String::from_utf8_lossy(d.text).into_owned();
        Some(found.iter().map(|d| (d.line, text(d))).collect())
    }

    #[test]
    fn directives_stand_at_the_start_of_lines() {
        let text = "#if A\n x # no\n \"\\\n#no\"\n/* \n#no\n*/ # define B /* c\n d */ 1\n// \\\n#no\n'#' don't /*\n#endif\na \\\n#no\n%:undef B\n";
        let expected =
            [(0, "if A"), (6, " define B /* c\n d */ 1"), (11, "endif"), (14, "undef B")];
        let expected = expected.map(|(line, text)| (line, text.to_owned()));
        assert_eq!(shown(text).expect("certain"), expected);
        assert_eq!(shown("#define A \"x\\\"\" \\\n  'b' \\\n c\nint x;").expect("one").len(), 1);
        assert_eq!(shown("int x = 1'000'000;\n#if A\n#endif\n").expect("two").len(), 2);
    }

    #[test]
    fn where_compilers_may_differ_nothing_is_said() {
        for text in [
            "x = R\"(\n#if\n)\";",
            "/\\\n* x */",
            "a ??/\n#if",
            "/* x",
            "#include <a/*b>\n",
            "/* *\\\n/ x */",
            "x = 1'0 /* \n#if\n */;",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn what_an_edit_changes() {
        let of = |text: &str| Outline::of(text.as_bytes(), &scan(text.as_bytes(), false));
        let before = of("#include <a.h>\n#ifdef A\n#endif\n#if defined(B) || 1\n#endif\nint a;\n");
        let body = of("#include <a.h>\n\n#ifdef A\n#endif\n#if defined(B) || 1\n#endif\nint b;\n");
        assert_eq!(before, body);
        let hidden =
            of("#include <a.h>\n/*#ifdef A\n#endif*/\n#if defined(B) || 1\n#endif\nint a;\n");
        assert_eq!(before.names, hidden.names);
        assert_ne!(before.directives, hidden.directives);
        assert_ne!(before.names, of("#include \"a.h\"\n").names);
        // A macro may stand for the number of the line.
        assert_ne!(of("#if A > 3\n#endif\n"), of("\n#if A > 3\n#endif\n"));
        assert_ne!(of("#include A\n"), of("\n#include A\n"));
    }
}
