//! What an include directive names.

/// A directive that names a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Include {
    /// The file, as it is called.
    pub name: Box<str>,
    /// In quotes: the folder of the including file is looked into first.
    pub quoted: bool,
}

/// What stands after `#include`; `None` if that follows from a macro, or is nonsense.
pub(crate) fn operand(code: &[u8]) -> Option<Include> {
    let (end, quoted) = match code.first()? {
        b'"' => (b'"', true),
        b'<' => (b'>', false),
        _ => return None,
    };
    let rest = &code[1..];
    let length = rest.iter().position(|byte| *byte == end)?;
    let name = std::str::from_utf8(&rest[..length]).ok().filter(|name| !name.is_empty())?;
    Some(Include { name: name.into(), quoted })
}
