//! A message that is passed on byte for byte.

use std::fmt;
use std::marker::PhantomData;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{DecodeContext, WireType, decode_varint, encode_key, encode_varint};
use prost::{DecodeError, Message};

/// The encoded form of an `M`, with every field it came with, those unknown to `M` included.
///
/// As a gRPC message it is read and written verbatim, so that what we only pass on loses nothing.
pub struct Kept<M> {
    bytes: Bytes,
    message: PhantomData<fn() -> M>,
}

impl<M: Message + Default> Kept<M> {
    /// Encodes `message`.
    pub fn new(message: &M) -> Self {
        Self::from_bytes(message.encode_to_vec().into())
    }

    /// Takes bytes that are believed to be an encoded `M`; [`Self::message`] tells.
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self { bytes, message: PhantomData }
    }

    /// The bytes as they came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The fields that `M` knows.
    ///
    /// # Errors
    /// If the bytes are no `M`.
    pub fn message(&self) -> Result<M, DecodeError> {
        M::decode(self.bytes.clone())
    }

    /// The bytes of the last occurrence of a length-delimited field, as a message kept in turn.
    ///
    /// # Errors
    /// If the bytes are no protobuf message.
    pub fn field<F: Message + Default>(&self, number: u32) -> Result<Option<Kept<F>>, DecodeError> {
        let mut rest = self.bytes.clone();
        let mut found = None;
        while rest.has_remaining() {
            let (tag, wire_type) = prost::encoding::decode_key(&mut rest)?;
            if tag == number && wire_type == WireType::LengthDelimited {
                let length = decode_varint(&mut rest)?;
                let length = bounded(length, &rest)?;
                found = Some(Kept::from_bytes(rest.split_to(length)));
            } else {
                prost::encoding::skip_field(wire_type, tag, &mut rest, DecodeContext::default())?;
            }
        }
        Ok(found)
    }

    /// The same message with `number` (length-delimited) set to each of `values` in addition.
    #[must_use]
    pub fn with_field<F: Message>(&self, number: u32, values: &[F]) -> Self {
        let mut bytes = BytesMut::from(&self.bytes[..]);
        for value in values {
            encode_key(number, WireType::LengthDelimited, &mut bytes);
            encode_varint(value.encoded_len() as u64, &mut bytes);
            value.encode_raw(&mut bytes);
        }
        Self::from_bytes(bytes.freeze())
    }
}

fn bounded(length: u64, rest: &Bytes) -> Result<usize, DecodeError> {
    usize::try_from(length).ok().filter(|length| *length <= rest.remaining()).ok_or_else(truncated)
}

/// The error of prost for input that ends early; it has no public constructor.
fn truncated() -> DecodeError {
    match decode_varint(&mut Bytes::new()) {
        Err(error) => error,
        Ok(_) => unreachable!("no varint stands in an empty buffer"),
    }
}

impl<M> Message for Kept<M> {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.bytes);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        _: DecodeContext,
    ) -> Result<(), DecodeError> {
        // Nobody else holds these bytes while they are read, so nothing is copied here.
        let mut bytes = std::mem::take(&mut self.bytes)
            .try_into_mut()
            .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        encode_key(tag, wire_type, &mut bytes);
        match wire_type {
            WireType::Varint => encode_varint(decode_varint(buf)?, &mut bytes),
            WireType::ThirtyTwoBit => copy(buf, 4, &mut bytes)?,
            WireType::SixtyFourBit => copy(buf, 8, &mut bytes)?,
            WireType::LengthDelimited => {
                let length = decode_varint(buf)?;
                encode_varint(length, &mut bytes);
                let length = usize::try_from(length).map_err(|_| truncated())?;
                copy(buf, length, &mut bytes)?;
            }
            // Groups are of proto2; no message of these protocols has one.
            WireType::StartGroup | WireType::EndGroup => return Err(truncated()),
        }
        self.bytes = bytes.freeze();
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    fn clear(&mut self) {
        self.bytes = Bytes::new();
    }
}

fn copy(buf: &mut impl Buf, length: usize, to: &mut BytesMut) -> Result<(), DecodeError> {
    if buf.remaining() < length {
        return Err(truncated());
    }
    to.put(buf.take(length));
    Ok(())
}

impl<M> Clone for Kept<M> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), message: PhantomData }
    }
}

impl<M> Default for Kept<M> {
    fn default() -> Self {
        Self { bytes: Bytes::new(), message: PhantomData }
    }
}

impl<M> PartialEq for Kept<M> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<M> fmt::Debug for Kept<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("len", &self.bytes.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reapi::{ActionResult, ExecuteResponse};

    /// A result with field 1000, which nobody knows.
    fn extended() -> Vec<u8> {
        let mut bytes = ActionResult { exit_code: 3, ..Default::default() }.encode_to_vec();
        encode_key(1000, WireType::LengthDelimited, &mut bytes);
        encode_varint(3, &mut bytes);
        bytes.extend_from_slice(b"new");
        encode_key(1001, WireType::ThirtyTwoBit, &mut bytes);
        bytes.extend_from_slice(&[1, 2, 3, 4]);
        bytes
    }

    #[test]
    fn unknown_fields_survive() {
        let kept = Kept::<ActionResult>::decode(&extended()[..]).expect("a message");
        assert_eq!(kept.encode_to_vec(), extended());
        assert_eq!(kept.message().expect("a result").exit_code, 3);
    }

    #[test]
    fn a_field_is_kept_in_turn() {
        let mut outer = Vec::new();
        encode_key(1, WireType::LengthDelimited, &mut outer);
        encode_varint(extended().len() as u64, &mut outer);
        outer.extend_from_slice(&extended());
        let outer = Kept::<ExecuteResponse>::from_bytes(outer.into());
        let inner = outer.field::<ActionResult>(1).expect("a message").expect("the field");
        assert_eq!(inner.bytes(), &extended()[..]);
    }

    #[test]
    fn what_ends_early_is_an_error() {
        let bytes = extended();
        assert!(Kept::<ActionResult>::decode(&bytes[..bytes.len() - 1]).is_err());
        let lies = Kept::<ExecuteResponse>::from_bytes(Bytes::from_static(&[0x0a, 0x7f, 0]));
        assert!(lies.field::<ActionResult>(1).is_err());
    }
}
