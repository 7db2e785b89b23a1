//! The SpeculativeActions message of one element, as a value.

use std::collections::{BTreeMap, HashMap};

use forerunner_merkle::{Digest, DigestError};
use forerunner_proto::buildstream::SpeculativeActions;
use forerunner_proto::buildstream::speculative_actions::overlay::OverlayType;
use forerunner_proto::buildstream::speculative_actions::{self as message, Overlay};
use forerunner_proto::reapi;
use prost::Message;

use crate::place::{Kind, Place};

/// What was recorded of one element: its actions, and where their inputs came from.
///
/// The overlays of all actions stand once: which of them apply to an action follows from the
/// action's own tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// The elements that places refer to; the first is the element itself.
    pub elements: Vec<Known>,
    /// Its actions, in the order in which its build used them.
    pub actions: Vec<Digest>,
    /// Where content came from.
    pub origins: HashMap<Digest, Vec<Place>>,
    /// Where the files of its own artifact came from.
    pub artifact_overlays: Vec<(Place, Digest)>,
}

/// An element as it was when the actions were recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Its source tree.
    pub sources: Option<Digest>,
    /// What it installed.
    pub artifact: Option<Digest>,
}

/// Why a message says nothing useful.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordedError {
    /// Not a message of this type.
    #[error("not a SpeculativeActions message: {0}")]
    Encoding(String),
    /// Written by a newer version.
    #[error("its overlay table has version {0}, this program knows versions up to 1")]
    Version(u32),
    /// A bad digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// A number that points nowhere.
    #[error("{what} number {index} does not exist")]
    Index {
        /// What was to be found.
        what: &'static str,
        /// Under which number.
        index: u32,
    },
    /// An overlay of a type that we do not know.
    #[error("unknown overlay type {0}")]
    Type(i32),
}

impl Recorded {
    /// The name of the element.
    #[must_use]
    pub fn name(&self) -> &str {
        self.elements.first().map_or("", |known| known.name.as_str())
    }

    /// Its source tree when it was recorded.
    #[must_use]
    pub fn sources(&self) -> Option<Digest> {
        self.elements.first().and_then(|known| known.sources)
    }

    /// The number of `name` among the elements, added if it is new.
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        let found = self.elements.iter().position(|known| known.name == name);
        let index = found.unwrap_or_else(|| {
            self.elements.push(Known { name: name.to_owned(), ..Known::default() });
            self.elements.len() - 1
        });
        index as u32
    }

    /// The message with one table of overlays.
    #[must_use]
    pub fn to_message(&self) -> SpeculativeActions {
        let mut producers: HashMap<Digest, u32> = HashMap::new();
        let mut action_digests = Vec::new();
        let mut origins = Vec::with_capacity(self.origins.len());
        let sorted: BTreeMap<&Digest, &Vec<Place>> = self.origins.iter().collect();
        for (target, places) in sorted {
            let places = places.iter().map(|place| message::Place {
                r#type: overlay_type(place.kind) as i32,
                element: place.element,
                path: place.path.to_string(),
                action: place.action.map_or(0, |digest| {
                    *producers.entry(digest).or_insert_with(|| {
                        action_digests.push(digest.to_proto());
                        action_digests.len() as u32 - 1
                    })
                }),
            });
            let places = places.collect();
            origins.push(message::Origin { target_digest: Some(target.to_proto()), places });
        }
        let tree = |tree: Option<Digest>| tree.map(|tree| tree.to_proto()).unwrap_or_default();
        SpeculativeActions {
            actions: self.bare_actions(),
            artifact_overlays: self.artifact_messages(),
            table_version: 1,
            element: self.name().to_owned(),
            sources: self.sources().map(|digest| digest.to_proto()),
            elements: self.elements.iter().map(|known| known.name.clone()).collect(),
            origins,
            action_digests,
            element_sources: self.elements.iter().map(|known| tree(known.sources)).collect(),
            element_artifacts: self.elements.iter().map(|known| tree(known.artifact)).collect(),
        }
    }

    fn bare_actions(&self) -> Vec<message::SpeculativeAction> {
        let actions = self.actions.iter().map(|digest| message::SpeculativeAction {
            base_action_digest: Some(digest.to_proto()),
            overlays: Vec::new(),
        });
        actions.collect()
    }

    pub(crate) fn artifact_messages(&self) -> Vec<Overlay> {
        self.artifact_overlays.iter().map(|(place, target)| self.overlay(place, target)).collect()
    }

    /// A place as an overlay in its expanded form.
    pub(crate) fn overlay(&self, place: &Place, target: &Digest) -> Overlay {
        let source_element = match place.element {
            0 => String::new(),
            index => self.elements.get(index as usize).map(|e| e.name.clone()).unwrap_or_default(),
        };
        Overlay {
            r#type: overlay_type(place.kind) as i32,
            source_element,
            source_action_digest: place.action.map(|digest| digest.to_proto()),
            source_path: place.path.to_string(),
            target_digest: Some(target.to_proto()),
        }
    }

    /// Reads a message, with a table or in the expanded form of the pull request; `element` is
    /// whose it is, which the latter does not say.
    ///
    /// # Errors
    /// If the bytes are no such message, or if it contradicts itself.
    pub fn decode(bytes: &[u8], element: &str) -> Result<Self, RecordedError> {
        let message = SpeculativeActions::decode(bytes)
            .map_err(|error| RecordedError::Encoding(error.to_string()))?;
        let mut recorded = match message.table_version {
            0 => {
                let own = Known { name: element.to_owned(), ..Known::default() };
                Self { elements: vec![own], ..Self::default() }
            }
            1 => Self::from_table(&message)?,
            newer => return Err(RecordedError::Version(newer)),
        };
        for action in &message.actions {
            recorded.actions.push(Digest::required(action.base_action_digest.as_ref())?);
            for overlay in &action.overlays {
                let (place, target) = recorded.place(overlay)?;
                let places = recorded.origins.entry(target).or_default();
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        for overlay in &message.artifact_overlays {
            let pair = recorded.place(overlay)?;
            recorded.artifact_overlays.push(pair);
        }
        Ok(recorded)
    }

    fn from_table(message: &SpeculativeActions) -> Result<Self, RecordedError> {
        let tree = |list: &[reapi::Digest], index: usize| match list.get(index) {
            Some(digest) if !digest.hash.is_empty() => Digest::from_proto(digest).map(Some),
            _ => Ok(None),
        };
        let mut recorded = Self::default();
        for (index, name) in message.elements.iter().enumerate() {
            recorded.elements.push(Known {
                name: name.clone(),
                sources: tree(&message.element_sources, index)?,
                artifact: tree(&message.element_artifacts, index)?,
            });
        }
        if recorded.elements.is_empty() {
            return Err(RecordedError::Index { what: "element", index: 0 });
        }
        let mut producers = Vec::with_capacity(message.action_digests.len());
        for digest in &message.action_digests {
            producers.push(Digest::from_proto(digest)?);
        }
        for origin in &message.origins {
            let target = Digest::required(origin.target_digest.as_ref())?;
            let mut places = Vec::with_capacity(origin.places.len());
            for place in &origin.places {
                let index = place.element;
                if index as usize >= recorded.elements.len() {
                    return Err(RecordedError::Index { what: "element", index });
                }
                let kind = kind(place.r#type)?;
                let action = match kind {
                    Kind::Action => {
                        let index = place.action;
                        let found = producers.get(index as usize);
                        Some(*found.ok_or(RecordedError::Index { what: "action", index })?)
                    }
                    _ => None,
                };
                let path = place.path.as_str().into();
                places.push(Place { kind, element: place.element, path, action });
            }
            recorded.origins.insert(target, places);
        }
        Ok(recorded)
    }

    fn place(&mut self, overlay: &Overlay) -> Result<(Place, Digest), RecordedError> {
        let target = Digest::required(overlay.target_digest.as_ref())?;
        let kind = kind(overlay.r#type)?;
        let action = match kind {
            Kind::Action => Some(Digest::required(overlay.source_action_digest.as_ref())?),
            _ => None,
        };
        let element = match overlay.source_element.as_str() {
            "" => 0,
            name => self.number(name),
        };
        let path = overlay.source_path.as_str().into();
        Ok((Place { kind, element, path, action }, target))
    }
}

fn overlay_type(kind: Kind) -> OverlayType {
    match kind {
        Kind::Source => OverlayType::Source,
        Kind::Action => OverlayType::Action,
        Kind::Artifact => OverlayType::Artifact,
    }
}

fn kind(number: i32) -> Result<Kind, RecordedError> {
    match OverlayType::try_from(number) {
        Ok(OverlayType::Source) => Ok(Kind::Source),
        Ok(OverlayType::Action) => Ok(Kind::Action),
        Ok(OverlayType::Artifact) => Ok(Kind::Artifact),
        Err(_) => Err(RecordedError::Type(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerunner_merkle::DigestFunction;

    fn digest(text: &str) -> Digest {
        DigestFunction::Sha256.digest(text.as_bytes())
    }

    fn sample() -> Recorded {
        let known = |name: &str| Known {
            name: name.to_owned(),
            sources: Some(digest(name)),
            artifact: None,
        };
        let place =
            |kind, element, path: &str, action| Place { kind, element, path: path.into(), action };
        let origins = HashMap::from([
            (digest("a.h"), vec![place(Kind::Source, 1, "src/a.h", None)]),
            (
                digest("a.o"),
                vec![
                    place(Kind::Action, 0, "a.o", Some(digest("compile"))),
                    place(Kind::Artifact, 1, "usr/lib/a.o", None),
                ],
            ),
        ]);
        Recorded {
            elements: vec![known("app"), known("lib")],
            actions: vec![digest("compile"), digest("link")],
            origins,
            artifact_overlays: vec![(
                place(Kind::Action, 0, "app", Some(digest("link"))),
                digest("app"),
            )],
        }
    }

    #[test]
    fn to_bytes_and_back() {
        let bytes = sample().to_message().encode_to_vec();
        assert_eq!(Recorded::decode(&bytes, "app"), Ok(sample()));
    }

    #[test]
    fn what_points_nowhere_is_an_error() {
        let mut message = sample().to_message();
        message.action_digests.clear();
        let error = Recorded::decode(&message.encode_to_vec(), "app").expect_err("no producer");
        assert!(error.to_string().contains("action number 0"), "{error}");
        message.table_version = 2;
        let error = Recorded::decode(&message.encode_to_vec(), "app").expect_err("too new");
        assert_eq!(error, RecordedError::Version(2));
        assert!(Recorded::decode(b"\xff\xff", "app").is_err());
    }
}
