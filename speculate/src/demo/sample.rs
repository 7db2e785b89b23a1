//! The sample project (testdata/chain), part of this program.

use forerunner_merkle::{Conflict, Digest, File, Forest, NameError, TreeBuilder, TreePath};

/// One element of the sample.
pub(crate) struct Sample {
    /// Its name.
    pub(crate) name: &'static str,
    /// Direct dependencies, by index in [`SAMPLES`].
    pub(crate) depends: &'static [usize],
    /// What builds it, in its source directory.
    pub(crate) script: &'static str,
    /// Its sources: path and content.
    sources: &'static [(&'static str, &'static str)],
}

macro_rules! source {
    ($element:literal, $path:literal) => {
        ($path, include_str!(concat!("../../../testdata/chain/", $element, "/", $path)))
    };
}

/// The elements, dependencies first.
pub(crate) const SAMPLES: [Sample; 3] = [
    Sample {
        name: "libA.bst",
        depends: &[],
        script: include_str!("../../../testdata/chain/libA/build.sh"),
        sources: &[source!("libA", "src/math_utils.h"), source!("libA", "src/math_utils.cpp")],
    },
    Sample {
        name: "libB.bst",
        depends: &[0],
        script: include_str!("../../../testdata/chain/libB/build.sh"),
        sources: &[source!("libB", "src/vector_math.h"), source!("libB", "src/vector_math.cpp")],
    },
    Sample {
        name: "appC.bst",
        depends: &[0, 1],
        script: include_str!("../../../testdata/chain/appC/build.sh"),
        sources: &[source!("appC", "src/main.cpp")],
    },
];

/// What the developer changes: text in the header of libA, which all three elements compile.
const CHANGE: (&str, &str) = ("constexpr int scale = 2;", "constexpr int scale = 3;");

/// A sample file that cannot stand in a tree; the tests know that there is none.
#[derive(Debug, thiserror::Error)]
#[error("the sample project: {0}")]
pub(crate) struct SampleError(String);

impl From<NameError> for SampleError {
    fn from(error: NameError) -> Self {
        Self(error.to_string())
    }
}

impl From<Conflict> for SampleError {
    fn from(error: Conflict) -> Self {
        Self(error.to_string())
    }
}

impl Sample {
    /// The source tree and the blobs in it, before or after the change.
    pub(crate) fn sources(
        &self,
        changed: bool,
        forest: &mut Forest,
    ) -> Result<(Digest, Vec<(Digest, String)>), SampleError> {
        let mut builder = TreeBuilder::new();
        let mut blobs = Vec::new();
        for (path, content) in self.sources {
            let content = match changed {
                true => content.replace(CHANGE.0, CHANGE.1),
                false => (*content).to_owned(),
            };
            let digest = forest.function().digest(content.as_bytes());
            builder.file(&TreePath::parse(path)?, File::new(digest, false))?;
            blobs.push((digest, content));
        }
        Ok((builder.build(forest), blobs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerunner_merkle::DigestFunction;

    #[test]
    fn the_change_changes_one_element() {
        let mut forest = Forest::new(DigestFunction::Sha256);
        let mut changed = Vec::new();
        for sample in &SAMPLES {
            let before = sample.sources(false, &mut forest).expect("a tree").0;
            let after = sample.sources(true, &mut forest).expect("a tree").0;
            if before != after {
                changed.push(sample.name);
            }
        }
        assert_eq!(changed, ["libA.bst"]);
    }
}
