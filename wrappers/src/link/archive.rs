//! Reads archives as far as needed: which files a thin one stands for.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

const THIN: &[u8; 8] = b"!<thin>\n";
const ORDINARY: &[u8; 8] = b"!<arch>\n";
const HEADER: usize = 60;

/// What a file is, seen as an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Archive {
    /// No archive.
    None,
    /// One that holds its members.
    Ordinary,
    /// One that only names them; paths as they are found from the current directory if the
    /// archive's is.
    Thin(Vec<PathBuf>),
}

/// Looks at a file.
///
/// # Errors
/// If it cannot be read, or is a malformed thin archive.
pub fn look(path: &Path) -> io::Result<Archive> {
    let mut file = File::open(path)?;
    let mut magic = [0; 8];
    let mut length = 0;
    while length < magic.len() {
        match file.read(&mut magic[length..])? {
            0 => return Ok(Archive::None),
            count => length += count,
        }
    }
    match &magic {
        ORDINARY => Ok(Archive::Ordinary),
        THIN => members(&mut file, path.parent().unwrap_or(Path::new(""))).map(Archive::Thin),
        _ => Ok(Archive::None),
    }
}

/// Whether a file, if it is an archive, goes on to the end of its last member. An empty file is no
/// whole archive; any other file is none at all, and whole as far as this can tell.
#[must_use]
pub fn is_whole(path: &Path) -> bool {
    let check = || -> io::Result<bool> {
        let mut file = File::open(path)?;
        let end = file.metadata()?.len();
        if end < 8 {
            return Ok(false);
        }
        let mut magic = [0; 8];
        file.read_exact(&mut magic)?;
        let thin = match &magic {
            ORDINARY => false,
            THIN => true,
            _ => return Ok(true),
        };
        let mut at = 8_u64;
        while at < end {
            if at + HEADER as u64 > end {
                return Ok(false);
            }
            file.seek(SeekFrom::Start(at))?;
            let mut header = [0; HEADER];
            file.read_exact(&mut header)?;
            let field = |range: std::ops::Range<usize>| {
                std::str::from_utf8(&header[range]).map(str::trim_end).unwrap_or_default()
            };
            let own = matches!(field(0..16), "/" | "//" | "/SYM64/");
            let Ok(size) = field(48..58).parse::<u64>() else { return Ok(false) };
            let content = if thin && !own { 0 } else { size };
            at = at.saturating_add(HEADER as u64 + content);
            if at > end {
                return Ok(false);
            }
            // The last member's padding may be missing.
            at = at.saturating_add(content % 2);
        }
        Ok(true)
    };
    check().unwrap_or(false)
}

fn members(file: &mut File, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "malformed thin archive");
    let end = file.metadata()?.len();
    let mut at = 8_u64;
    let mut names: Vec<u8> = Vec::new();
    let mut found = Vec::new();
    while at + HEADER as u64 <= end {
        file.seek(SeekFrom::Start(at))?;
        let mut header = [0; HEADER];
        file.read_exact(&mut header)?;
        let text = |range: std::ops::Range<usize>| {
            std::str::from_utf8(&header[range]).map(str::trim_end).map_err(|_| bad())
        };
        let name = text(0..16)?;
        let size: u64 = text(48..58)?.parse().map_err(|_| bad())?;
        at += HEADER as u64;
        match name {
            // Index of symbols, and the table of long names: these stand in the archive itself.
            "/" | "/SYM64/" => at += size + size % 2,
            "//" => {
                if size > end {
                    return Err(bad());
                }
                names = vec![0; size as usize];
                file.read_exact(&mut names)?;
                at += size + size % 2;
            }
            name => found.push(folder.join(member_name(name, &names).ok_or_else(bad)?)),
        }
    }
    Ok(found)
}

fn member_name(name: &str, names: &[u8]) -> Option<String> {
    match name.strip_prefix('/') {
        // `/123` or `/123:456`: an offset into the table; the second number is for nested ones.
        Some(offset) => {
            let offset: usize = offset.split(':').next()?.parse().ok()?;
            let rest = names.get(offset..)?;
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let text = std::str::from_utf8(&rest[..end]).ok()?;
            Some(text.trim_end_matches('/').to_owned())
        }
        None => Some(name.trim_end_matches('/').to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, size: usize) -> Vec<u8> {
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 644).into_bytes()
    }

    #[test]
    fn thin_members_are_named() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("l.a");
        let mut bytes = THIN.to_vec();
        bytes.extend(header("/", 4));
        bytes.extend([0; 4]);
        let names = b"sub/long-name-of-a-member.o/\nb.o/\n";
        bytes.extend(header("//", names.len()));
        bytes.extend(names);
        bytes.extend(header("/0", 1234));
        bytes.extend(header("/29", 7));
        std::fs::write(&path, &bytes).expect("written");
        let expected =
            vec![folder.path().join("sub/long-name-of-a-member.o"), folder.path().join("b.o")];
        assert_eq!(look(&path).expect("an archive"), Archive::Thin(expected));
        bytes.extend(header("/99999", 7));
        std::fs::write(&path, &bytes).expect("written");
        assert!(look(&path).is_err());
        std::fs::write(&path, "!<arch>\n").expect("written");
        assert_eq!(look(&path).expect("an archive"), Archive::Ordinary);
        std::fs::write(&path, "!<a").expect("written");
        assert_eq!(look(&path).expect("a file"), Archive::None);
    }
}
