//! The functions that make digests.

use std::fmt;
use std::str::FromStr;

use forerunner_proto::reapi::digest_function::Value;
use sha2::Digest as _;

use crate::Digest;

/// A function that makes digests. SHA-256 is what everybody has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DigestFunction {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA-1. For old clusters; not collision-resistant.
    Sha1,
    /// MD5. For old clusters; not collision-resistant.
    Md5,
    /// BLAKE3.
    Blake3,
}

/// A name that is no supported digest function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown digest function `{0}`: use one of SHA256, SHA384, SHA512, SHA1, MD5, BLAKE3")]
pub struct UnknownFunction(pub String);

impl DigestFunction {
    /// Every function, the preferred one first.
    pub const ALL: [Self; 6] =
        [Self::Sha256, Self::Sha384, Self::Sha512, Self::Sha1, Self::Md5, Self::Blake3];

    /// The name that the protocol and command lines use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
            Self::Sha1 => "SHA1",
            Self::Md5 => "MD5",
            Self::Blake3 => "BLAKE3",
        }
    }

    /// The value in protocol messages.
    #[must_use]
    pub fn to_proto(self) -> Value {
        match self {
            Self::Sha256 => Value::Sha256,
            Self::Sha384 => Value::Sha384,
            Self::Sha512 => Value::Sha512,
            Self::Sha1 => Value::Sha1,
            Self::Md5 => Value::Md5,
            Self::Blake3 => Value::Blake3,
        }
    }

    /// The function that a protocol message names; `None` for one we do not have.
    #[must_use]
    pub fn from_proto(value: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.to_proto() as i32 == value)
    }

    /// The digest of `content`.
    #[must_use]
    pub fn digest(self, content: &[u8]) -> Digest {
        let mut hasher = self.hasher();
        hasher.update(content);
        hasher.finish()
    }

    /// Begins a digest over content that comes in pieces.
    #[must_use]
    pub fn hasher(self) -> Hasher {
        let state = match self {
            Self::Sha256 => State::Sha256(sha2::Sha256::new()),
            Self::Sha384 => State::Sha384(sha2::Sha384::new()),
            Self::Sha512 => State::Sha512(sha2::Sha512::new()),
            Self::Sha1 => State::Sha1(sha1::Sha1::new()),
            Self::Md5 => State::Md5(md5::Md5::new()),
            Self::Blake3 => State::Blake3(Box::new(blake3::Hasher::new())),
        };
        Hasher { state, size: 0 }
    }
}

impl FromStr for DigestFunction {
    type Err = UnknownFunction;

    fn from_str(name: &str) -> Result<Self, UnknownFunction> {
        Self::ALL
            .into_iter()
            .find(|function| function.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| UnknownFunction(name.to_owned()))
    }
}

impl fmt::Display for DigestFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A digest in the making.
#[derive(Clone)]
pub struct Hasher {
    state: State,
    size: u64,
}

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
    Sha1(sha1::Sha1),
    Md5(md5::Md5),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.size += piece.len() as u64;
        match &mut self.state {
            State::Sha256(state) => state.update(piece),
            State::Sha384(state) => state.update(piece),
            State::Sha512(state) => state.update(piece),
            State::Sha1(state) => state.update(piece),
            State::Md5(state) => state.update(piece),
            State::Blake3(state) => {
                state.update(piece);
            }
        }
    }

    /// The digest of all pieces.
    #[must_use]
    pub fn finish(self) -> Digest {
        let size = self.size;
        match self.state {
            State::Sha256(state) => Digest::from_raw(&state.finalize(), size),
            State::Sha384(state) => Digest::from_raw(&state.finalize(), size),
            State::Sha512(state) => Digest::from_raw(&state.finalize(), size),
            State::Sha1(state) => Digest::from_raw(&state.finalize(), size),
            State::Md5(state) => Digest::from_raw(&state.finalize(), size),
            State::Blake3(state) => Digest::from_raw(state.finalize().as_bytes(), size),
        }
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        self.update(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digests of `abc` that FIPS 180-4, RFC 1321 and the BLAKE3 test vectors give.
    #[test]
    fn published_vectors() {
        let cases = [
            (DigestFunction::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (DigestFunction::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                DigestFunction::Sha256,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                DigestFunction::Blake3,
                "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
            ),
        ];
        for (function, hex) in cases {
            assert_eq!(function.digest(b"abc").to_string(), format!("{hex}/3"), "{function}");
        }
        assert!(
            DigestFunction::Sha384.digest(b"abc").hex().starts_with("cb00753f45a35e8bb5a03d69")
        );
        assert!(
            DigestFunction::Sha512.digest(b"abc").hex().starts_with("ddaf35a193617abacc417349")
        );
    }

    #[test]
    fn names_lead_back() {
        for function in DigestFunction::ALL {
            assert_eq!(function.name().parse(), Ok(function));
            assert_eq!(DigestFunction::from_proto(function.to_proto() as i32), Some(function));
            let mut pieces = function.hasher();
            pieces.update(b"a");
            pieces.update(b"bc");
            assert_eq!(pieces.finish(), function.digest(b"abc"));
        }
        assert!("SHA3".parse::<DigestFunction>().is_err());
        assert_eq!(DigestFunction::from_proto(0), None);
    }
}
