//! The dependency manifest: what a command read last time, and what it would have read had it
//! been there.
//!
//! A variant says: if every one of these inputs still has this content, every one of these files
//! still exists, and none of those does, then the command still means this action. That is
//! certain, because a preprocessor that finds the same files with the same content at every step
//! takes the same steps. See `docs/manifest.md`.

mod certain;
mod check;
mod compare;
mod decide;
mod files;
mod learn;
mod outline;
mod shadow;
mod sources;
mod twins;

use std::fs::File;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use forerunner_merkle::Digest;
use nix::libc;

use crate::bytes_io::{Reader, Writer, replace_file};
use crate::stamp::{STAMP_BYTES, Stamp};

pub use certain::unconditional;
pub use check::{Change, Verdict};
pub use compare::Likeness;
pub use learn::{Learned, Learner};
pub use outline::Outline;
pub use sources::Sources;

const MAGIC: &[u8] = b"forerunner manifest 3\n";
/// Bytes of the checksum at the end.
const SUM_BYTES: usize = 16;
/// Variants that are kept, the most recently used first.
const MOST_VARIANTS: usize = 6;

/// An input and what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFact {
    /// As the command names it: absolute or from the current directory.
    pub path: String,
    /// Of its content.
    pub digest: Digest,
    /// Whether it is executable.
    pub executable: bool,
    /// What tells that it is unchanged, if that can be relied on.
    pub stamp: Option<Stamp>,
    /// What it says to the preprocessor, if it may be edited.
    pub outline: Option<Outline>,
}

/// What may be concluded about a command one of whose inputs was edited, if all that must exist
/// does and nothing appeared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steadiness {
    /// With the same names in every input: a command that succeeds with only these inputs does
    /// the same here.
    pub by_names: bool,
    /// With the same directives in every input: these files are read and no others.
    pub by_directives: bool,
    /// An input counts (`__COUNTER__`), which may decide something once directives are others.
    pub counts: bool,
}

/// Ends a name of [`AbsentNames`] that is there as a directory, and must be no file.
const DIRECTORY: &str = "/";
/// Ends a name of [`AbsentNames`] that is there, and must be no directory.
const NO_DIRECTORY: &str = "//";

/// Names that do not exist in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsentNames {
    /// The directory, absolute.
    pub directory: String,
    /// While it is the same, nothing appeared in the directory.
    pub stamp: Option<Stamp>,
    /// The names.
    pub names: Vec<String>,
}

/// One set of conditions, and what the command means under them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The action.
    pub action: Digest,
    /// Every input.
    pub inputs: Vec<InputFact>,
    /// Files that exist without being read.
    pub present: Vec<String>,
    /// Files that do not exist.
    pub absent: Vec<AbsentNames>,
    /// What stays so when an input is edited.
    pub steadiness: Steadiness,
}

/// All that is known about one command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The most recently used first.
    pub variants: Vec<Variant>,
    /// What the sources were, further back than variants reach.
    pub sources: Sources,
}

/// What a manifest is found by: everything that the command line and the environment say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Begins a key.
    #[must_use]
    pub fn builder() -> KeyBuilder {
        let mut builder = KeyBuilder(blake3::Hasher::new());
        builder.add(MAGIC);
        builder
    }

    /// As text, for a file name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the manifest is within its folder.
    #[must_use]
    pub fn path(&self, folder: &Path) -> PathBuf {
        folder.join(&self.0[..2]).join(&self.0[2..])
    }
}

/// A key in the making.
pub struct KeyBuilder(blake3::Hasher);

impl KeyBuilder {
    /// Adds a part.
    pub fn add(&mut self, part: impl AsRef<[u8]>) {
        let part = part.as_ref();
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// Adds a list.
    pub fn add_all<T: AsRef<[u8]>>(&mut self, parts: impl IntoIterator<Item = T>) {
        for part in parts {
            self.add(part);
        }
        self.add(b"\0end");
    }

    /// The key.
    #[must_use]
    pub fn finish(self) -> Key {
        Key(self.0.finalize().to_hex()[..40].to_owned())
    }
}

impl Variant {
    /// Whether another reads the files of the same names.
    #[must_use]
    pub fn has_inputs_of(&self, other: &Self) -> bool {
        self.inputs.len() == other.inputs.len()
            && self.inputs.iter().zip(&other.inputs).all(|(one, two)| one.path == two.path)
    }
}

impl Manifest {
    /// Puts a variant first; one for the same action goes.
    pub fn remember(&mut self, variant: Variant) {
        self.variants.retain(|old| old.action != variant.action);
        self.variants.insert(0, variant);
        self.variants.truncate(MOST_VARIANTS);
    }

    /// Reads it from a file; nothing if there is none, or it is torn.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        std::fs::read(path).ok().and_then(|bytes| Self::decode(&bytes)).unwrap_or_default()
    }

    /// Writes it to a file. One that is there is written over, which costs less than a new one: who
    /// reads a part of it finds that the sum is wrong.
    pub fn save(&self, path: &Path) {
        let bytes = self.encode(true);
        if write_over(path, &bytes).is_ok() {
            return;
        }
        if let Some(folder) = path.parent() {
            let _made = std::fs::create_dir_all(folder);
        }
        replace_file(path, &bytes);
    }

    /// As bytes; without stamps for use on other machines.
    #[must_use]
    pub fn encode(&self, stamps: bool) -> Vec<u8> {
        let mut writer = Writer(MAGIC.to_vec());
        let stamp = |writer: &mut Writer, stamp: Option<Stamp>| match stamp.filter(|_| stamps) {
            Some(stamp) => {
                writer.byte(1);
                writer.0.extend_from_slice(&stamp.to_bytes());
            }
            None => writer.byte(0),
        };
        writer.small(self.variants.len());
        for variant in &self.variants {
            digest(&mut writer, &variant.action);
            let Steadiness { by_names, by_directives, counts } = variant.steadiness;
            for flag in [by_names, by_directives, counts] {
                writer.byte(u8::from(flag));
            }
            writer.small(variant.inputs.len());
            for input in &variant.inputs {
                writer.text(&input.path);
                digest(&mut writer, &input.digest);
                writer.byte(u8::from(input.executable));
                stamp(&mut writer, input.stamp);
                outline(&mut writer, input.outline);
            }
            writer.small(variant.present.len());
            variant.present.iter().for_each(|path| writer.text(path));
            writer.small(variant.absent.len());
            for group in &variant.absent {
                writer.text(&group.directory);
                stamp(&mut writer, group.stamp);
                writer.small(group.names.len());
                group.names.iter().for_each(|name| writer.text(name));
            }
        }
        self.sources.encode(&mut writer);
        let sum = blake3::hash(&writer.0);
        writer.0.extend_from_slice(&sum.as_bytes()[..SUM_BYTES]);
        writer.0
    }

    /// The opposite; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM_BYTES)?)?;
        if sum != &blake3::hash(content).as_bytes()[..SUM_BYTES] {
            return None;
        }
        let mut reader = Reader(content.strip_prefix(MAGIC)?);
        let count = reader.small()?;
        let variants = (0..count).map(|_| variant(&mut reader)).collect::<Option<Vec<_>>>()?;
        Some(Self { variants, sources: Sources::decode(&mut reader)? })
    }
}

fn write_over(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let file = File::options().write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    file.write_all_at(bytes, 0)?;
    file.set_len(bytes.len() as u64)
}

fn variant(reader: &mut Reader<'_>) -> Option<Variant> {
    let stamp = |reader: &mut Reader<'_>| -> Option<Option<Stamp>> {
        match reader.byte()? {
            0 => Some(None),
            _ => Some(Some(Stamp::from_bytes(reader.take(STAMP_BYTES)?.try_into().ok()?))),
        }
    };
    let action = read_digest(reader)?;
    let mut flag = || Some(reader.byte()? != 0);
    let steadiness = Steadiness { by_names: flag()?, by_directives: flag()?, counts: flag()? };
    let mut inputs = Vec::new();
    for _ in 0..reader.small()? {
        inputs.push(InputFact {
            path: reader.text()?.to_owned(),
            digest: read_digest(reader)?,
            executable: reader.byte()? != 0,
            stamp: stamp(reader)?,
            outline: read_outline(reader)?,
        });
    }
    let mut present = Vec::new();
    for _ in 0..reader.small()? {
        present.push(reader.text()?.to_owned());
    }
    let mut absent = Vec::new();
    for _ in 0..reader.small()? {
        let directory = reader.text()?.to_owned();
        let stamp = stamp(reader)?;
        let mut names = Vec::new();
        for _ in 0..reader.small()? {
            names.push(reader.text()?.to_owned());
        }
        absent.push(AbsentNames { directory, stamp, names });
    }
    Some(Variant { action, inputs, present, absent, steadiness })
}

fn digest(writer: &mut Writer, digest: &Digest) {
    writer.bytes(digest.hash());
    writer.number(digest.size());
}

fn outline(writer: &mut Writer, outline: Option<Outline>) {
    match outline {
        None => writer.byte(0),
        Some(Outline { names, directives }) => {
            writer.byte(1 + u8::from(directives.is_some()));
            writer.0.extend_from_slice(&names);
            writer.0.extend_from_slice(&directives.unwrap_or_default());
        }
    }
}

fn read_outline(reader: &mut Reader<'_>) -> Option<Option<Outline>> {
    let kind = reader.byte()?;
    if kind == 0 {
        return Some(None);
    }
    let names = reader.take(outline::SUM_BYTES)?.try_into().ok()?;
    let directives = reader.take(outline::SUM_BYTES)?.try_into().ok()?;
    Some(Some(Outline { names, directives: (kind > 1).then_some(directives) }))
}

fn read_digest(reader: &mut Reader<'_>) -> Option<Digest> {
    let hash = reader.bytes()?;
    let size = reader.number()?;
    Digest::from_hash(hash, size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerunner_merkle::DigestFunction;

    pub(super) fn sample() -> Manifest {
        let function = DigestFunction::Sha256;
        let input = InputFact {
            path: "a.c".to_owned(),
            digest: function.digest(b"a"),
            executable: false,
            stamp: Some(Stamp { size: 1, ..Stamp::default() }),
            outline: Some(Outline { names: [1; 16], directives: Some([2; 16]) }),
        };
        let group = AbsentNames {
            directory: "/p".to_owned(),
            stamp: None,
            names: vec!["x.h".to_owned(), "y.h".to_owned()],
        };
        Manifest {
            variants: vec![Variant {
                action: function.digest(b"action"),
                inputs: vec![input],
                present: vec!["p.h".to_owned()],
                absent: vec![group],
                steadiness: Steadiness { by_names: true, by_directives: false, counts: true },
            }],
            sources: Sources::default(),
        }
    }

    #[test]
    fn bytes_and_back() {
        let manifest = sample();
        let bytes = manifest.encode(true);
        assert_eq!(Manifest::decode(&bytes), Some(manifest.clone()));
        let plain = Manifest::decode(&manifest.encode(false)).expect("a manifest");
        assert_eq!(plain.variants[0].inputs[0].stamp, None);
        for end in 0..bytes.len() {
            assert_eq!(Manifest::decode(&bytes[..end]), None);
        }
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 0x40;
            assert_ne!(Manifest::decode(&torn), Some(manifest.clone()));
        }
    }

    #[test]
    fn only_the_latest_variants_stay() {
        let mut manifest = Manifest::default();
        let sample = sample().variants.remove(0);
        for number in 0..20_u8 {
            let action = DigestFunction::Sha256.digest(&[number % 10]);
            manifest.remember(Variant { action, ..sample.clone() });
        }
        assert_eq!(manifest.variants.len(), MOST_VARIANTS);
        assert_eq!(manifest.variants[0].action, DigestFunction::Sha256.digest(&[9]));
    }
}
