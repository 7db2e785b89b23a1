//! The help text and the page of the manual, from the table.

use std::fmt::Write as _;

use super::table::{Kind, SECTIONS, Setting};

/// What `recc --help` prints.
#[must_use]
pub fn text(usage: &str) -> String {
    let mut out = format!(
        "{usage}\n\nA flag is on if its value is not empty: `RECC_LINK=0` switches it on, `RECC_LINK=` off.\n\
         The same settings stand in `recc.conf` as `key=value`, the key without RECC_, in (strongest first)\n\
         ./recc, $RECC_CONFIG_DIRECTORY, ~/.recc and ../etc/recc beside the program. The environment is stronger.\n"
    );
    for (heading, rows) in SECTIONS {
        let _ = write!(out, "\n{heading}:\n");
        for row in *rows {
            let _ = write!(
                out,
                "  {} ({}{})\n      {}\n",
                name(row),
                row.kind.word(),
                default(row),
                row.help
            );
        }
    }
    out
}

/// The table of the manual, in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::new();
    for (heading, rows) in SECTIONS {
        let _ = write!(
            out,
            "\n### {heading}\n\n| name | kind | default | meaning |\n|---|---|---|---|\n"
        );
        for row in *rows {
            let default = if row.default.is_empty() { "–" } else { row.default };
            let _ = writeln!(
                out,
                "| `{}` | {} | {default} | {} |",
                name(row),
                row.kind.word(),
                row.help
            );
        }
    }
    out
}

fn name(row: &Setting) -> String {
    if row.kind == Kind::Map { format!("{}<KEY>", row.name) } else { row.name.to_owned() }
}

fn default(row: &Setting) -> String {
    if row.default.is_empty() { String::new() } else { format!("; {}", row.default) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_manual_has_the_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recc.md");
        let manual = std::fs::read_to_string(path).expect("the manual");
        assert!(
            manual.contains(&super::markdown()),
            "docs/recc.md is not up to date: replace its tables by what `recc --help=markdown` prints"
        );
    }

    #[test]
    fn every_reason_is_in_the_manual() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recc.md");
        let manual = std::fs::read_to_string(path).expect("the manual");
        for reason in crate::reason::Reason::ALL {
            let row = format!("| `{}` | {} |", reason.name(), reason.help());
            assert!(manual.contains(&row), "docs/recc.md lacks {row}");
        }
    }
}
