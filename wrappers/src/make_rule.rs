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

/// Whose way to break lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// gcc: at most 72 columns, of names as they are quoted.
    Gcc,
    /// clang: at most 75 columns and the backslash, of names as they are.
    Clang,
}

/// A rule as a compiler lays it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    layout: Layout,
    /// As they stand there, quoted.
    targets: Vec<String>,
    /// As they stand there, quoted.
    prerequisites: Vec<String>,
    /// What stands before the empty rule that each prerequisite but the first has (`-MP`), if
    /// they have one: older clangs leave a line empty.
    phony: Option<&'static str>,
}

impl Rule {
    /// Reads a rule; `None` if that compiler would have laid it out otherwise.
    #[must_use]
    pub fn read(text: &str, layout: Layout) -> Option<Self> {
        let joined = text.replace("\\\n", " ");
        let (line, rest) = joined.split_once('\n')?;
        let prerequisites = after_target(line)?;
        let targets = line[..line.len() - prerequisites.len()].strip_suffix(':')?;
        let rule = Self {
            layout,
            targets: quoted(targets),
            prerequisites: quoted(prerequisites),
            phony: match rest.as_bytes() {
                [] => None,
                [b'\n', ..] => Some("\n"),
                _ => Some(""),
            },
        };
        (rule.text() == text).then_some(rule)
    }

    /// The prerequisites by their names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.prerequisites.iter().flat_map(|quoted| words(quoted)).collect()
    }

    /// Leaves out prerequisites.
    pub fn keep(&mut self, wanted: impl Fn(&str) -> bool) {
        self.prerequisites.retain(|quoted| words(quoted).iter().any(|name| wanted(name)));
    }

    /// As the compiler writes it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        match self.layout {
            Layout::Gcc => self.as_gcc(&mut text),
            Layout::Clang => self.as_clang(&mut text),
        }
        text.push('\n');
        if let Some(before) = self.phony {
            for name in self.prerequisites.iter().skip(1) {
                text.extend([before, name, ":\n"]);
            }
        }
        text
    }

    fn as_gcc(&self, text: &mut String) {
        const COLUMNS: usize = 72;
        let add = |text: &mut String, names: &[String], mut column: usize| {
            for name in names {
                if column > 0 {
                    if column + name.len() > COLUMNS {
                        text.push_str(" \\\n");
                        column = 0;
                    }
                    text.push(' ');
                    column += 1;
                }
                text.push_str(name);
                column += name.len();
            }
            column
        };
        let column = add(text, &self.targets, 0);
        text.push(':');
        add(text, &self.prerequisites, column + 1);
    }

    fn as_clang(&self, text: &mut String) {
        const COLUMNS: usize = 75;
        let mut column = 0;
        for target in &self.targets {
            if column == 0 {
                column = target.len();
            } else if column + target.len() + 2 > COLUMNS {
                column = target.len() + 2;
                text.push_str(" \\\n  ");
            } else {
                column += target.len() + 1;
                text.push(' ');
            }
            text.push_str(target);
        }
        text.push(':');
        column += 1;
        for name in &self.prerequisites {
            let length: usize = words(name).iter().map(String::len).sum();
            if column + length + 3 > COLUMNS {
                text.push_str(" \\\n ");
                column = 2;
            }
            text.push(' ');
            text.push_str(name);
            column += length + 1;
        }
    }
}

/// The words of a list as they stand there, quoted.
fn quoted(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word = String::new();
    let mut backslashes = 0;
    for character in text.chars() {
        if matches!(character, ' ' | '\t') && backslashes % 2 == 0 {
            if !word.is_empty() {
                found.push(std::mem::take(&mut word));
            }
            continue;
        }
        backslashes = if character == '\\' { backslashes + 1 } else { 0 };
        word.push(character);
    }
    if !word.is_empty() {
        found.push(word);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_gcc_are_laid_out_as_gcc_does() {
        let text = "a.o: a.c /usr/include/stdc-predef.h inc/sp\\ ace.h /usr/include/stdio.h \\\n /usr/include/x86_64-linux-gnu/bits/libc-header-start.h b.h\ninc/x.h:\n";
        assert_eq!(Rule::read(text, Layout::Gcc), None, "the phony rules are others");
        let text = text.replace("inc/x.h:\n", "/usr/include/stdc-predef.h:\ninc/sp\\ ace.h:\n/usr/include/stdio.h:\n/usr/include/x86_64-linux-gnu/bits/libc-header-start.h:\nb.h:\n");
        let mut rule = Rule::read(&text, Layout::Gcc).expect("a rule");
        assert_eq!(rule.names()[2], "inc/sp ace.h");
        rule.keep(|name| !name.starts_with("/usr/"));
        assert_eq!(rule.text(), "a.o: a.c inc/sp\\ ace.h b.h\ninc/sp\\ ace.h:\nb.h:\n");
        assert_eq!(Rule::read("a.o:  a.c\n", Layout::Gcc), None);
        assert_eq!(Rule::read("a.o: a.c", Layout::Gcc), None);
    }

    #[test]
    fn rules_of_clang_are_laid_out_as_clang_does() {
        let text = "out.o: a.c inc/first.h \\\n  inc/a_header_with_a_rather_long_name_so_that_lines_are_broken.h \\\n  inc/sp\\ ace.h /usr/lib/llvm-14/lib/clang/14.0.6/include/stddef.h\n";
        let mut rule = Rule::read(text, Layout::Clang).expect("a rule");
        assert_eq!(Rule::read(text, Layout::Gcc), None);
        rule.keep(|name| name == "a.c" || name == "inc/sp ace.h");
        assert_eq!(rule.text(), "out.o: a.c inc/sp\\ ace.h\n");
        for before in ["", "\n"] {
            let text = format!("a.o: a.c b.h c.h\n{before}b.h:\n{before}c.h:\n");
            let mut rule = Rule::read(&text, Layout::Clang).expect("a rule");
            rule.keep(|name| name != "b.h");
            assert_eq!(rule.text(), format!("a.o: a.c c.h\n{before}c.h:\n"));
        }
    }

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
