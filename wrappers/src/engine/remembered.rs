//! What is known about a command from earlier, and where that is kept.

use std::path::PathBuf;

use crate::cache::Cache;
use crate::manifest::{Key, Manifest, Variant};

use super::shared;

/// A manifest and where it is kept.
#[derive(Default)]
pub(super) struct Remembered {
    pub(super) manifest: Manifest,
    /// The file, if there is a lasting place.
    pub(super) place: Option<PathBuf>,
    /// Its key at the endpoint, if it means the same on other machines.
    pub(super) shared: Option<Key>,
    /// Stands for what the sources are that the command names, once that was looked at.
    pub(super) sources: Option<u64>,
}

impl Remembered {
    /// Asks the endpoint, if nothing is known here.
    pub(super) fn complete(&mut self, cache: &Cache) {
        if let (true, Some(key)) = (self.manifest.variants.is_empty(), &self.shared)
            && let Some(manifest) = shared::fetch(cache, key)
        {
            self.manifest = manifest;
        }
    }

    pub(super) fn save(&self) {
        if let Some(place) = &self.place {
            self.manifest.save(place);
        }
    }

    /// Keeps what was learned, here and, if results are stored there, at the endpoint.
    pub(super) fn remember(mut self, variant: Option<Variant>, cache: Option<&Cache>) {
        let certain = variant.is_some();
        if let Some(content) = self.sources {
            self.manifest.sources.remember(content);
        }
        if let Some(variant) = variant {
            self.manifest.remember(variant);
        }
        self.save();
        if let (true, Some(cache), Some(key)) = (certain, cache, &self.shared) {
            shared::store(cache, key, &self.manifest);
        }
    }

    /// Whether nothing was stored for a command with these sources.
    pub(super) fn is_new(&self) -> bool {
        self.place.is_some()
            && self.sources.is_some_and(|content| !self.manifest.sources.has(content))
    }
}
