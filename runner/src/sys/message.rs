//! What the sandbox and the runner say to each other.

/// One message, one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The root is ready; its descriptor comes along.
    Ready,
    /// From the runner: go on.
    Go,
    /// A step of the plan failed.
    Failed {
        /// Its index.
        step: usize,
        /// From `errno.h`.
        errno: i32,
    },
    /// The command could not be confined or started.
    NotConfined {
        /// From `errno.h`.
        errno: i32,
    },
    /// The command ended.
    Exited {
        /// As from `wait`.
        status: i32,
    },
}

/// The size of a packet in bytes.
pub(crate) const SIZE: usize = 12;

impl Message {
    /// Its packet.
    pub(crate) fn encode(self) -> [u8; SIZE] {
        let (kind, first, second) = match self {
            Self::Ready => (1, 0, 0),
            Self::Go => (2, 0, 0),
            Self::Failed { step, errno } => (3, step as u32, errno),
            Self::NotConfined { errno } => (4, 0, errno),
            Self::Exited { status } => (5, 0, status),
        };
        let mut packet = [0; SIZE];
        let words = [u32::to_ne_bytes(kind), first.to_ne_bytes(), second.to_ne_bytes()];
        for (place, word) in packet.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word);
        }
        packet
    }

    /// Reads a packet; `None` if it is none of ours.
    pub(crate) fn decode(packet: &[u8]) -> Option<Self> {
        let mut words = packet.chunks_exact(4).filter_map(|word| word.try_into().ok());
        let mut next = || words.next().map(u32::from_ne_bytes);
        let (kind, first, second) = (next()?, next()?, next()? as i32);
        match kind {
            1 => Some(Self::Ready),
            2 => Some(Self::Go),
            3 => Some(Self::Failed { step: first as usize, errno: second }),
            4 => Some(Self::NotConfined { errno: second }),
            5 => Some(Self::Exited { status: second }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for message in [
            Message::Ready,
            Message::Go,
            Message::Failed { step: 77, errno: 13 },
            Message::NotConfined { errno: 1 },
            Message::Exited { status: -1 },
        ] {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
        assert_eq!(Message::decode(&[]), None);
        assert_eq!(Message::decode(&[9; SIZE]), None);
    }
}
