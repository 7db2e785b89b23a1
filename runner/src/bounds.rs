//! What a command may use at most.

/// Limits that a control group enforces; `None` where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Memory of all processes together, with what they have in the page cache and in `/tmp`.
    pub(crate) memory_bytes: Option<u64>,
    /// Processes and threads at a time.
    pub(crate) processes: Option<u64>,
    /// Processor time, in thousandths of a processor.
    pub(crate) milli_cpus: Option<u64>,
}

impl Bounds {
    /// The stricter of both, limit by limit.
    pub(crate) fn and(self, other: Self) -> Self {
        let least = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self {
            memory_bytes: least(self.memory_bytes, other.memory_bytes),
            processes: least(self.processes, other.processes),
            milli_cpus: least(self.milli_cpus, other.milli_cpus),
        }
    }

    /// Whether there is any.
    pub(crate) fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// Parses bytes, with a suffix K, M, G or T for powers of 1024.
pub(crate) fn memory_bytes(text: &str) -> Result<u64, String> {
    let shift = match text.bytes().last() {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        Some(b'T') => 40,
        _ => 0,
    };
    let digits = if shift > 0 { text.get(..text.len() - 1).unwrap_or_default() } else { text };
    let number = number(digits).and_then(|number| number.checked_mul(1 << shift));
    number.ok_or_else(|| "expected bytes, or a number with K, M, G or T".to_owned())
}

/// Parses a number of processes.
pub(crate) fn processes(text: &str) -> Result<u64, String> {
    number(text)
        // The kernel's own limit.
        .filter(|number| *number < 4_194_304)
        .ok_or_else(|| "expected a number from 1 to 4194303".to_owned())
}

/// Parses processors, as `4` or `0.5`, into thousandths.
pub(crate) fn milli_cpus(text: &str) -> Result<u64, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let milli = (digits(whole) && digits(part) && part.len() <= 3)
        .then(|| {
            let whole: u64 = whole.parse().ok().filter(|whole| *whole <= 100_000)?;
            let part: u64 = format!("{part:0<3}").parse().ok()?;
            Some(whole * 1000 + part)
        })
        .flatten();
    // Less than a hundredth is less than the kernel takes.
    milli
        .filter(|milli| *milli >= 10)
        .ok_or_else(|| "expected processors as `4` or `0.5`, at least 0.01".to_owned())
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert_eq!(memory_bytes("512M"), Ok(512 << 20));
        assert_eq!(memory_bytes("1"), Ok(1));
        assert_eq!(memory_bytes("3T"), Ok(3 << 40));
        for bad in ["", "M", "0", "-1", "1.5G", "1m", "1 M", "99999999999T", "+1", "é"] {
            assert!(memory_bytes(bad).is_err(), "{bad}");
        }
        assert_eq!(processes("100"), Ok(100));
        for bad in ["0", "", "x", "4194304"] {
            assert!(processes(bad).is_err(), "{bad}");
        }
        assert_eq!(milli_cpus("4"), Ok(4000));
        assert_eq!(milli_cpus("0.5"), Ok(500));
        assert_eq!(milli_cpus("1.25"), Ok(1250));
        for bad in ["", ".", "1.", ".5", "0", "0.001", "1.2345", "-1", "1e3", "99999999"] {
            assert!(milli_cpus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_stricter_counts() {
        let ours = Bounds { memory_bytes: Some(10), processes: None, milli_cpus: Some(5) };
        let theirs = Bounds { memory_bytes: Some(20), processes: Some(3), milli_cpus: None };
        let both = Bounds { memory_bytes: Some(10), processes: Some(3), milli_cpus: Some(5) };
        assert_eq!(ours.and(theirs), both);
        assert_eq!(theirs.and(ours), both);
        assert!(both.any() && !Bounds::default().any());
    }
}
