//! Text between directives that decides what is included.
//!
//! Two things do: `__COUNTER__` in a condition, which counts the expansions before it, and
//! `_Pragma` operators that put a macro away or bring it back. A compiler that only lists
//! dependencies does not look at that text.

use std::collections::BTreeSet;

use memchr::memmem;

const COUNTER: &[u8] = b"__COUNTER__";

/// Whether a text counts at all, which is rare.
pub(super) fn counts(text: &[u8]) -> bool {
    memmem::find(text, COUNTER).is_some()
}

/// The definitions and conditions of all inputs, to find counters in.
#[derive(Default)]
pub(super) struct Conditions {
    /// Those that mention no other name left out.
    definitions: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
    conditions: BTreeSet<Vec<u8>>,
}

impl Conditions {
    /// Reads one input.
    pub(super) fn take(&mut self, text: &[u8]) {
        for directive in lines(text) {
            let mut words = words(directive);
            match words.next() {
                Some(b"define") => {
                    let Some(name) = words.next() else { continue };
                    let body: Vec<Vec<u8>> = words.map(<[u8]>::to_vec).collect();
                    if !body.is_empty() {
                        self.definitions.push((name.to_vec(), body));
                    }
                }
                Some(b"if" | b"elif" | b"include" | b"include_next" | b"import") => {
                    self.conditions.extend(words.map(<[u8]>::to_vec));
                }
                _ => {}
            }
        }
    }

    /// Whether any depends on a counter.
    pub(super) fn count(&self) -> bool {
        let mut counting = BTreeSet::from([COUNTER.to_vec()]);
        loop {
            let before = counting.len();
            for (name, body) in &self.definitions {
                if body.iter().any(|word| counting.contains(word)) {
                    counting.insert(name.clone());
                }
            }
            if counting.len() == before {
                return !self.conditions.is_disjoint(&counting);
            }
        }
    }
}

/// Whether a `_Pragma` operator may change a macro.
pub(super) fn by_pragma(text: &[u8]) -> bool {
    [&b"push_macro"[..], b"pop_macro", b"include_alias"].iter().any(|word| {
        let operators = |text: &[u8]| {
            let calls = memmem::find_iter(text, word)
                .filter(|at| matches!(text[at + word.len()..].trim_ascii_start(), [b'(', ..]));
            calls.count()
        };
        let all = operators(text);
        let pragmas = lines(text).filter(|line| words(line).next() == Some(b"pragma"));
        all > 0 && all > pragmas.map(operators).sum()
    })
}

/// What may be directives: what follows every `#`, to the end of the line and of those joined.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    memchr::memchr_iter(b'#', text).map(|at| {
        let rest = &text[at + 1..];
        let end = memchr::memchr_iter(b'\n', rest)
            .find(|end| !rest[..*end].trim_ascii_end().ends_with(b"\\"));
        &rest[..end.unwrap_or(rest.len())]
    })
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        .filter(|word| word.first().is_some_and(|first| !first.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> bool {
        let mut conditions = Conditions::default();
        conditions.take(text.as_bytes());
        counts(text.as_bytes()) && conditions.count()
    }

    #[test]
    fn counters_in_conditions() {
        assert!(!count("#define UNIQUE(x) x ## __COUNTER__\nint a = __COUNTER__;\n#if A > 3\n"));
        assert!(count("int a;\n# if __COUNTER__ > 3\n"));
        assert!(count("#define NEXT \\\n  (1 + __COUNTER__)\n#define N NEXT\n#if A && N\n"));
    }

    #[test]
    fn pragmas_that_are_operators() {
        assert!(!by_pragma(b"# pragma push_macro(\"x\")\n// push_macro and pop_macro\n"));
        assert!(by_pragma(b"_Pragma(\"push_macro(\\\"x\\\")\")\n"));
        assert!(by_pragma(b"#define PUSH _Pragma(\"pop_macro (\\\"x\\\")\")\n"));
    }
}
