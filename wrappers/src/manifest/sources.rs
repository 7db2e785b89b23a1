//! What a command's sources were when its results were stored: what they never were was never
//! stored. `configure` writes one test after the other into the same file.

use forerunner_merkle::Digest;

use crate::bytes_io::{Reader, Writer};

use super::Variant;

/// Sources that are remembered, the most recent first.
const MOST_SOURCES: usize = 256;

/// The sources of a command's stored results; a number stands for their content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(Vec<u64>);

impl Sources {
    /// Takes in the sources of a stored result; `named` are their paths.
    pub(super) fn remember(&mut self, variant: &Variant, named: &[String]) {
        let inputs = variant.inputs.iter().filter(|input| named.contains(&input.path));
        let content = content(inputs.map(|input| &input.digest));
        self.0.retain(|known| *known != content);
        self.0.insert(0, content);
        self.0.truncate(MOST_SOURCES);
    }

    /// Whether sources of these digests are not among them.
    #[must_use]
    pub fn are_new<'a>(&self, digests: impl Iterator<Item = &'a Digest>) -> bool {
        !self.0.contains(&content(digests))
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.small(self.0.len());
        self.0.iter().for_each(|content| writer.number(*content));
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        (0..reader.small()?).map(|_| reader.number()).collect::<Option<_>>().map(Self)
    }
}

/// In any order: inputs are not always listed in that of the command line.
fn content<'a>(digests: impl Iterator<Item = &'a Digest>) -> u64 {
    let mut hashes: Vec<&[u8]> = digests.map(Digest::hash).collect();
    hashes.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for hash in hashes {
        hasher.update(hash);
    }
    let mut eight = [0; 8];
    eight.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(eight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{InputFact, Steadiness};
    use forerunner_merkle::DigestFunction;

    fn variant(text: &str) -> Variant {
        let input = |path: &str, text: &str| InputFact {
            path: path.to_owned(),
            digest: DigestFunction::Sha256.digest(text.as_bytes()),
            executable: false,
            stamp: None,
            outline: None,
        };
        Variant {
            action: DigestFunction::Sha256.digest(b"action"),
            inputs: vec![input("a.h", "header"), input("a.c", text)],
            present: Vec::new(),
            absent: Vec::new(),
            steadiness: Steadiness::default(),
        }
    }

    #[test]
    fn what_a_source_was_is_remembered_for_a_while() {
        let named = ["a.c".to_owned()];
        let mut sources = Sources::default();
        let is_new = |sources: &Sources, text: &str| {
            sources.are_new([DigestFunction::Sha256.digest(text.as_bytes())].iter())
        };
        for text in ["one", "two", "one"] {
            sources.remember(&variant(text), &named);
        }
        assert!(!is_new(&sources, "one") && !is_new(&sources, "two"));
        assert!(is_new(&sources, "three") && is_new(&sources, "header"));
        let mut writer = Writer::default();
        sources.encode(&mut writer);
        assert_eq!(Sources::decode(&mut Reader(&writer.0)), Some(sources.clone()));
        assert_eq!(Sources::decode(&mut Reader(&writer.0[..9])), None);
        for number in 0..MOST_SOURCES {
            sources.remember(&variant(&number.to_string()), &named);
        }
        assert!(is_new(&sources, "one") && !is_new(&sources, "0"));
    }
}
