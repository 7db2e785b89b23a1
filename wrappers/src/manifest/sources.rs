//! What a command's sources were when its results were stored: what they never were was never
//! stored. `configure` writes one test after the other into the same file.

use forerunner_merkle::Digest;

use crate::bytes_io::{Reader, Writer};

/// Sources that are remembered, the most recent first.
const MOST_SOURCES: usize = 256;

/// The sources of a command's stored results; a number stands for their content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(Vec<u64>);

impl Sources {
    /// Stands for sources of these digests.
    #[must_use]
    pub fn content(digests: &[Digest]) -> u64 {
        let mut hasher = blake3::Hasher::new();
        for digest in digests {
            hasher.update(digest.hash());
        }
        let mut eight = [0; 8];
        eight.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_le_bytes(eight)
    }

    /// Takes in the sources of a stored result.
    pub fn remember(&mut self, content: u64) {
        self.0.retain(|known| *known != content);
        self.0.insert(0, content);
        self.0.truncate(MOST_SOURCES);
    }

    /// Whether a result was stored for these.
    #[must_use]
    pub fn has(&self, content: u64) -> bool {
        self.0.contains(&content)
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.small(self.0.len());
        self.0.iter().for_each(|content| writer.number(*content));
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        (0..reader.small()?).map(|_| reader.number()).collect::<Option<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerunner_merkle::DigestFunction;

    #[test]
    fn what_a_source_was_is_remembered_for_a_while() {
        let content =
            |text: &str| Sources::content(&[DigestFunction::Sha256.digest(text.as_bytes())]);
        let mut sources = Sources::default();
        for text in ["one", "two", "one"] {
            sources.remember(content(text));
        }
        assert!(sources.has(content("one")) && sources.has(content("two")));
        assert!(!sources.has(content("three")));
        let mut writer = Writer::default();
        sources.encode(&mut writer);
        assert_eq!(Sources::decode(&mut Reader(&writer.0)), Some(sources.clone()));
        assert_eq!(Sources::decode(&mut Reader(&writer.0[..9])), None);
        for number in 0..MOST_SOURCES {
            sources.remember(content(&number.to_string()));
        }
        assert!(!sources.has(content("one")) && sources.has(content("0")));
    }
}
