//! What a source includes whatever else is true.

use crate::scan::{Mention, scan};

use super::outline::{Directive, directives};

/// The files that a source names in include directives which no condition hides. Without one of
/// them no compiler goes on.
#[must_use]
pub fn unconditional(text: &[u8]) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut depth = 0_usize;
    for directive in directives(text).unwrap_or_default() {
        match directive.word() {
            b"if" | b"ifdef" | b"ifndef" => depth += 1,
            b"endif" => depth = depth.saturating_sub(1),
            b"include" | b"import" | b"include_next" if depth == 0 => {
                found.extend(names(&directive));
            }
            _ => {}
        }
    }
    found
}

fn names(directive: &Directive<'_>) -> Vec<Mention> {
    scan(&[b"#", directive.text].concat(), false).mentions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_condition_hides() {
        let text = "#include <a.h>\n#if 1\n#ifdef X\n#include <b.h>\n#endif\n#include <c.h>\n\
            #endif\n# include \"d.h\" // x\n#include NAME\n/*\n#include <e.h>\n*/\n#import <f.h>\n";
        let found = unconditional(text.as_bytes());
        let names: Vec<&str> = found.iter().map(|mention| mention.name.as_str()).collect();
        assert_eq!(names, ["a.h", "d.h", "f.h"]);
        assert!(found[1].quoted && !found[0].quoted);
        // Where it is not certain what a directive is, nothing is.
        assert!(unconditional(b"x = R\"(\n\";\n#include <a.h>\n").is_empty());
    }
}
