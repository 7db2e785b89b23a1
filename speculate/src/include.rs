//! What a text says that it includes.

/// A directive that names a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Include {
    /// The file, as it is called.
    pub name: Box<str>,
    /// In quotes: the folder of the including file is looked into first.
    pub quoted: bool,
}

/// The words that a directive may begin with.
const WORDS: [&[u8]; 3] = [b"include_next", b"include", b"import"];

/// Every include directive of a C or C++ text, whatever it depends on; sorted, each once.
///
/// One whose file follows from a macro names none. A text that is none of these has no directives.
#[must_use]
pub fn includes(text: &[u8]) -> Vec<Include> {
    let mut found = Vec::new();
    let mut comment = false;
    for line in text.split(|byte| *byte == b'\n') {
        let code = uncommented(line, &mut comment);
        found.extend(directive(&code));
    }
    found.sort_unstable();
    found.dedup();
    found
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

fn directive(code: &[u8]) -> Option<Include> {
    let rest = code.trim_ascii_start().strip_prefix(b"#")?.trim_ascii_start();
    let rest = WORDS.iter().find_map(|word| rest.strip_prefix(*word))?.trim_ascii_start();
    let (end, quoted) = match rest.first()? {
        b'"' => (b'"', true),
        b'<' => (b'>', false),
        _ => return None,
    };
    let rest = &rest[1..];
    let length = rest.iter().position(|byte| *byte == end)?;
    let name = std::str::from_utf8(&rest[..length]).ok().filter(|name| !name.is_empty())?;
    Some(Include { name: name.into(), quoted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let name = |include: Include| match include.quoted {
            true => format!("\"{}\"", include.name),
            false => format!("<{}>", include.name),
        };
        includes(text.as_bytes()).into_iter().map(name).collect()
    }

    #[test]
    fn directives_are_found() {
        let text = "#include \"b/c.h\"\n  #  include <a.h> // why\n#if 0\n#include\"a.h\"\n#endif\n\
            #include_next <n.h>\r\n#import \"o.h\"\n/* x */ #include \"p.h\" /* y */\n#include \"a.h\"\n";
        assert_eq!(names(text), ["<a.h>", "\"a.h\"", "\"b/c.h\"", "<n.h>", "\"o.h\"", "\"p.h\""]);
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        let text = "/* #include \"a.h\"\n#include \"b.h\"\n*/ // #include \"c.h\"\n#include NAME\n\
            #define X \"/*\"\n#include \"d.h\"\n#define Y '\"' /* \" */\n#include \"e.h\"\n\
            #included \"f.h\"\nint x; #include \"g.h\"\n#include \"\"\n#include \"open\n";
        assert_eq!(names(text), ["\"d.h\"", "\"e.h\""]);
        assert!(includes(b"\xff\x00#include \"\xff\"\n#").is_empty());
    }
}
