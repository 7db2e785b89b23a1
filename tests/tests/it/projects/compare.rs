//! What a build leaves behind, and whether two builds left the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::harness::Messages;

/// The files that were built, or made by configuring and read by what was built.
pub(crate) type Products = BTreeMap<PathBuf, Vec<u8>>;

/// Objects, archives, libraries and programs by their first bytes; dependency files, libtool's
/// descriptions and headers by their names.
pub(crate) fn products(folder: &Path) -> Products {
    let mut products = Products::new();
    for entry in WalkDir::new(folder).follow_links(false) {
        let path = entry.expect("readable").into_path();
        if !path.is_file() {
            continue;
        }
        let content = std::fs::read(&path).expect("readable");
        let built = [&b"\x7fELF"[..], b"!<arch>\n", b"!<thin>\n"];
        let named = ["d", "Po", "Plo", "lo", "la", "lai", "h"];
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        if built.iter().any(|start| content.starts_with(start))
            || named.contains(&extension.as_ref())
        {
            products.insert(path.strip_prefix(folder).expect("inside").to_owned(), content);
        }
    }
    products
}

/// Fails unless both are the same files with the same bytes.
pub(crate) fn same_products(what: &str, plain: &Products, ours: &Products) {
    let mut wrong = Vec::new();
    for (path, content) in plain {
        match ours.get(path) {
            None => wrong.push(format!("{} is missing", path.display())),
            Some(other) if other != content => {
                let at = content.iter().zip(other).take_while(|(a, b)| a == b).count();
                let sizes = (content.len(), other.len());
                wrong.push(format!("{} differs at byte {at} (sizes {sizes:?})", path.display()));
            }
            Some(_) => {}
        }
    }
    let more = ours.keys().filter(|path| !plain.contains_key(*path));
    wrong.extend(more.map(|path| format!("{} is too much", path.display())));
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

/// Takes the names of our wrappers out of what a build says.
pub(crate) fn without_wrappers(text: &str, programs: &Path) -> String {
    text.replace(&format!("{}/", programs.display()), "")
        .replace("recc ", "")
        .replace("reranlib", "ranlib")
        .replace("restrip", "strip")
        .replace("rear ", "ar ")
}

/// Fails unless both builds said the same.
pub(crate) fn same_text(what: &str, plain: &str, ours: &str, messages: Messages) {
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if messages == Messages::AnyOrder {
            lines.sort_unstable();
        }
        lines
    };
    let (plain, ours) = (lines(plain), lines(ours));
    if plain != ours {
        let at = plain.iter().zip(&ours).take_while(|(a, b)| a == b).count();
        let shown = |lines: &[String]| lines[at..lines.len().min(at + 5)].join("\n");
        panic!("{what}: line {at}\n--- plain\n{}\n--- ours\n{}", shown(&plain), shown(&ours));
    }
}
