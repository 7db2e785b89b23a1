//! What a blob is called.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher as StdHasher};
use std::str::FromStr;

use forerunner_proto::reapi;

/// Longest hash of any supported function (SHA-512), in bytes.
const LONGEST: usize = 64;

/// The hash and the size in bytes of a blob. Written `hash/size`, the hash in lower-case hex.
///
/// Which function made the hash is not part of it: an endpoint and a store have one function each.
#[derive(Clone, Copy)]
pub struct Digest {
    hash: [u8; LONGEST],
    length: u8,
    size: u64,
}

/// Why something is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No `/` between hash and size.
    #[error("`{0}` is not of the form `hash/size`")]
    Form(String),
    /// Not an even number of lower-case hexadecimal digits, 32 to 128 of them.
    #[error("`{0}` is not a hash in lower-case hexadecimal")]
    Hash(String),
    /// Not a size in bytes.
    #[error("`{0}` is not a size in bytes")]
    Size(String),
    /// A message without its digest.
    #[error("a digest is missing")]
    Absent,
}

impl Digest {
    /// A digest from a raw hash, as [`crate::Hasher`] makes it.
    pub(crate) fn from_raw(hash: &[u8], size: u64) -> Self {
        let mut digest = Self { hash: [0; LONGEST], length: hash.len() as u8, size };
        digest.hash[..hash.len()].copy_from_slice(hash);
        digest
    }

    /// A digest from the bytes of its hash, and the size in bytes; `None` if no supported function
    /// makes hashes of this length.
    #[must_use]
    pub fn from_hash(hash: &[u8], size: u64) -> Option<Self> {
        matches!(hash.len(), 16 | 20 | 32 | 48 | 64).then(|| Self::from_raw(hash, size))
    }

    /// A digest from the hexadecimal form of its hash, and the size in bytes.
    ///
    /// # Errors
    /// If `hex` is not 32 to 128 lower-case hexadecimal digits.
    pub fn from_hex(hex: &str, size: u64) -> Result<Self, DigestError> {
        let bad = || DigestError::Hash(hex.to_owned());
        let digits = hex.as_bytes();
        if !digits.len().is_multiple_of(2) || !(32..=2 * LONGEST).contains(&digits.len()) {
            return Err(bad());
        }
        let mut digest = Self { hash: [0; LONGEST], length: (digits.len() / 2) as u8, size };
        let mut seen = 0;
        for (byte, pair) in digest.hash.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
            seen |= high | low;
            *byte = high << 4 | (low & 15);
        }
        if seen & NO_DIGIT == 0 { Ok(digest) } else { Err(bad()) }
    }

    /// Parses the message form.
    ///
    /// # Errors
    /// If the hash is malformed or the size negative.
    pub fn from_proto(message: &reapi::Digest) -> Result<Self, DigestError> {
        let size = u64::try_from(message.size_bytes)
            .map_err(|_| DigestError::Size(message.size_bytes.to_string()))?;
        Self::from_hex(&message.hash, size)
    }

    /// Parses a field that must be there.
    ///
    /// # Errors
    /// [`DigestError::Absent`] if it is not, else as [`Self::from_proto`].
    pub fn required(field: Option<&reapi::Digest>) -> Result<Self, DigestError> {
        Self::from_proto(field.ok_or(DigestError::Absent)?)
    }

    /// The message form.
    #[must_use]
    pub fn to_proto(&self) -> reapi::Digest {
        reapi::Digest { hash: self.hex(), size_bytes: self.size as i64 }
    }

    /// The raw hash.
    #[must_use]
    pub fn hash(&self) -> &[u8] {
        &self.hash[..usize::from(self.length)]
    }

    /// The hash in lower-case hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(2 * self.hash().len());
        for byte in self.hash() {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }

    /// The size of the blob in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// The mark of a byte that is no lower-case hexadecimal digit.
const NO_DIGIT: u8 = 0x80;

/// The value of each digit: most of what is read are digests, and a table needs no branch.
const NIBBLES: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    table
};

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (hash, size) =
            text.split_once('/').ok_or_else(|| DigestError::Form(text.to_owned()))?;
        // `parse` would take a sign.
        let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
        let number = size.parse().ok().filter(|size| digits && *size <= i64::MAX as u64);
        Self::from_hex(hash, number.ok_or_else(|| DigestError::Size(size.to_owned()))?)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.hex(), self.size)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size && self.hash() == other.hash()
    }
}

impl Eq for Digest {}

impl PartialOrd for Digest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Digest {
    fn cmp(&self, other: &Self) -> Ordering {
        self.hash().cmp(other.hash()).then(self.size.cmp(&other.size))
    }
}

impl Hash for Digest {
    fn hash<H: StdHasher>(&self, state: &mut H) {
        // Any eight bytes of a hash are as good as all of them.
        let mut head = [0; 8];
        head.copy_from_slice(&self.hash[..8]);
        state.write_u64(u64::from_ne_bytes(head));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DigestFunction;

    #[test]
    fn text_and_back() {
        let digest = DigestFunction::Sha256.digest(b"");
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/0";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(Digest::from_proto(&digest.to_proto()), Ok(digest));
    }

    #[test]
    fn nonsense_is_named() {
        for bad in ["", "abc", "ab/3", "zz/3", &"A".repeat(64), &format!("{}/1", "A".repeat(64))] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        let hash = "a".repeat(64);
        for size in ["-1", "+1", "", "1x", "18446744073709551615"] {
            let text = format!("{hash}/{size}");
            assert_eq!(text.parse::<Digest>(), Err(DigestError::Size(size.to_owned())));
        }
        let negative = reapi::Digest { hash, size_bytes: -1 };
        assert_eq!(Digest::from_proto(&negative), Err(DigestError::Size("-1".to_owned())));
        assert_eq!(Digest::required(None), Err(DigestError::Absent));
    }
}
