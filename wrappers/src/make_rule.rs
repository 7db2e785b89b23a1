//! Reads the rule that a compiler writes for make.

/// The prerequisites of the first rule of a dependency list, in order, each once.
///
/// A backslash before white space, `#` or another backslash that precedes white space stands for
/// that character; `$$` is `$`; a backslash at the end of a line joins it with the next.
#[must_use]
pub fn prerequisites(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for rule in rules(text) {
        for name in rule {
            if seen.insert(name.clone()) {
                found.push(name);
            }
        }
    }
    found
}

fn rules(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
    joined.lines().filter_map(|line| after_target(line).map(words)).collect()
}

/// What follows the colon that ends the targets: one before white space or the end.
fn after_target(line: &str) -> Option<&str> {
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b':' if bytes.get(at + 1).is_none_or(u8::is_ascii_whitespace) => {
                return line.get(at + 1..);
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek().is_some_and(|c| matches!(c, ' ' | '\t' | '#' | '\\')) => {
                // `\\` stands for one backslash only where white space or `#` follows.
                word.extend(characters.next());
            }
            '$' if characters.peek() == Some(&'$') => word.extend(characters.next()),
            c if c.is_ascii_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_compilers() {
        let text = "a.o: a.c \\\n inc/a.h /usr/include/x.h\\\n\n inc/sp\\ ace.h\n";
        assert_eq!(prerequisites(text), ["a.c", "inc/a.h", "/usr/include/x.h"]);
        let text = "x\\ y.o: a.c b\\ c.h d$$e.h f\\#g.h a.c\nb.o: b.c\n\ninc/a.h:\n";
        assert_eq!(prerequisites(text), ["a.c", "b c.h", "d$e.h", "f#g.h", "b.c"]);
        assert_eq!(prerequisites("c:/x.o: y.c"), ["y.c"]);
        assert!(prerequisites("").is_empty());
    }
}
