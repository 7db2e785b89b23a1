//! How far the origins of inputs are followed.

use std::fmt;
use std::str::FromStr;

use crate::place::Kind;

/// What is recorded and primed. The names are those of BuildStream pull request 2109.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    None,
    /// Nothing new is generated; what was generated earlier is primed.
    PrimeOnly,
    /// SOURCE and ARTIFACT overlays; the results of actions are not read.
    SourceArtifact,
    /// ACTION overlays too, within one element.
    IntraElement,
    /// ACTION overlays also across elements.
    #[default]
    Full,
}

/// A word that is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown mode `{0}`: use one of none, prime-only, source-artifact, intra-element, full")]
pub struct UnknownMode(String);

impl Mode {
    /// Every mode, the least first.
    pub const ALL: [Self; 5] =
        [Self::None, Self::PrimeOnly, Self::SourceArtifact, Self::IntraElement, Self::Full];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::PrimeOnly => "prime-only",
            Self::SourceArtifact => "source-artifact",
            Self::IntraElement => "intra-element",
            Self::Full => "full",
        }
    }

    /// Whether overlays are generated at all.
    #[must_use]
    pub fn generates(self) -> bool {
        !matches!(self, Self::None | Self::PrimeOnly)
    }

    /// Whether anything is primed.
    #[must_use]
    pub fn primes(self) -> bool {
        self != Self::None
    }

    /// Whether the results of actions are of interest.
    #[must_use]
    pub fn reads_results(self) -> bool {
        !matches!(self, Self::None | Self::SourceArtifact)
    }

    /// Whether an origin of this kind counts; `own`: in the element whose action it is.
    #[must_use]
    pub fn takes(self, kind: Kind, own: bool) -> bool {
        match self {
            Self::None => false,
            Self::SourceArtifact => kind != Kind::Action,
            Self::IntraElement => kind != Kind::Action || own,
            Self::PrimeOnly | Self::Full => true,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| UnknownMode(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for mode in Mode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
        }
        assert!("all".parse::<Mode>().is_err());
    }

    #[test]
    fn what_each_mode_takes() {
        assert!(Mode::Full.takes(Kind::Action, false));
        assert!(!Mode::IntraElement.takes(Kind::Action, false));
        assert!(Mode::IntraElement.takes(Kind::Action, true));
        assert!(!Mode::SourceArtifact.takes(Kind::Action, true));
        assert!(!Mode::None.takes(Kind::Source, true));
        assert!(!Mode::PrimeOnly.generates() && Mode::PrimeOnly.primes());
    }
}
