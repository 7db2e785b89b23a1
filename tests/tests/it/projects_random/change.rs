//! Changes to the files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use super::headers::{FOLDERS, HEADERS, SOURCES, header, source};
use crate::dice::Dice;

/// Makes the first state: every folder, some headers, every source.
pub(crate) fn first_state(root: &Path, dice: &mut Dice) {
    for folder in FOLDERS {
        fs::create_dir_all(root.join(folder).join("deep")).expect("made");
    }
    for folder in ["bin", "tools", "out"] {
        fs::create_dir_all(root.join(folder)).expect("made");
    }
    for name in HEADERS {
        write(&root.join("inc1").join(name), &header(dice, "inc1", name));
    }
    for name in SOURCES {
        write(&root.join(name), &source(dice, name));
    }
    write(&root.join("data.bin"), "data");
    write(&root.join("flags.rsp"), "-DNAME=response");
    symlink("/usr/bin/gcc", root.join("bin/gcc")).expect("linked");
    symlink("/usr/bin/clang", root.join("bin/clang")).expect("linked");
}

/// Makes most commands possible again: headers that fail go, in `inc1` one of each name is there.
pub(crate) fn heal(root: &Path, dice: &mut Dice) {
    for folder in FOLDERS {
        for name in HEADERS {
            let path = root.join(folder).join(name);
            let text = fs::read_to_string(&path);
            if path.is_symlink()
                || path.is_dir()
                || text.is_ok_and(|text| text.contains("#error") || text.contains("nowhere"))
            {
                clear(&path);
            }
        }
    }
    for name in HEADERS {
        let path = root.join("inc1").join(name);
        while !fs::read_to_string(&path).is_ok_and(|text| text.lines().count() == 3) {
            write(&path, &header(dice, "inc1", name));
        }
    }
}

/// Replaces whatever is there by a file.
fn write(path: &Path, text: &str) {
    clear(path);
    if let Some(folder) = path.parent() {
        // A folder on the way may be a link to nothing just now, or a link to itself.
        for above in folder.ancestors().take(2) {
            if above.is_symlink() && !above.is_dir() {
                clear(above);
            }
        }
        fs::create_dir_all(folder).expect("made");
    }
    fs::write(path, text).expect("written");
}

/// Removes whatever is there.
fn clear(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).expect("removed"),
        Ok(_) => fs::remove_file(path).expect("removed"),
        Err(_) => {}
    }
}

fn set_time(path: &Path, time: SystemTime) {
    if let Ok(file) = fs::File::open(path) {
        file.set_modified(time).expect("a time");
    }
}

/// Changes one thing, and says what.
pub(crate) fn change(root: &Path, dice: &mut Dice) -> String {
    // The last one is where the sources are: never removed or linked.
    let folder = *dice.of(FOLDERS);
    let name = *dice.of(HEADERS);
    let path = root.join(folder).join(name);
    let shown = format!("{folder}/{name}");
    match dice.below(21) {
        0..=5 => {
            let text = header(dice, folder, name);
            write(&path, &text);
            format!("write {shown}: {text:?}")
        }
        6..=8 => {
            clear(&path);
            format!("remove {shown}")
        }
        9 => {
            let other = format!("{}/{name}", dice.of(FOLDERS));
            clear(&path);
            let target = root.join(&other);
            if target != path && path.parent().is_some_and(Path::exists) {
                symlink(target, &path).expect("linked");
            }
            format!("link {shown} -> {other}")
        }
        10 => {
            clear(&path);
            if path.parent().is_some_and(Path::exists) {
                fs::create_dir(&path).expect("made");
            }
            format!("folder {shown}")
        }
        11 => same_size_same_time(&path, &shown),
        12 => {
            let path = root.join(dice.of(SOURCES));
            touch(dice, &path)
        }
        13 => touch(dice, &path),
        14 => folder_changes(root, dice),
        15 => {
            let name = *dice.of(SOURCES);
            write(&root.join(name), &source(dice, name));
            format!("write {name}")
        }
        16 => {
            let text = *dice.of(&["data", "DATA", "more data"]);
            // Also where gcc looks for profile data; it says that this is none.
            let above = root.to_string_lossy().replace('/', "#");
            let profile = format!("prof/{above}#out#object.gcda");
            let name = dice.of(&["data.bin".to_owned(), profile]).clone();
            write(&root.join(&name), text);
            format!("{name} {text}")
        }
        17 => {
            let text = *dice.of(&["-DNAME=response", "-Iinc2 -DNAME=other", "-O1\n-Iinc0"]);
            write(&root.join("flags.rsp"), text);
            format!("flags.rsp {text:?}")
        }
        18 => compiler_changes(root, dice),
        19 => twins(root, dice),
        _ => precompiled(root, dice),
    }
}

/// The most deceitful edit: other content of the same length, under the time stamp of before.
fn same_size_same_time(path: &Path, shown: &str) -> String {
    let (Ok(text), Ok(metadata)) = (fs::read_to_string(path), fs::metadata(path)) else {
        return format!("no edit in place of {shown}");
    };
    let changed = if text.contains(" v1") {
        text.replace(" v1", " v2")
    } else {
        text.replace(" v0", " v1").replace(" v2", " v0")
    };
    fs::write(path, changed).expect("written");
    set_time(path, metadata.modified().expect("a time"));
    format!("edit in place with the old time {shown}")
}

/// Two headers that compilers take for one, as long as size, time and content are the same.
fn twins(root: &Path, dice: &mut Dice) -> String {
    let folder = *dice.of(FOLDERS);
    let text = format!("#pragma once\n{}", header(dice, folder, "h0.h"));
    let names = [0, 1].map(|_| format!("{}/{}", dice.of(FOLDERS), dice.of(HEADERS)));
    for name in &names {
        write(&root.join(name), &text);
        set_time(&root.join(name), SystemTime::UNIX_EPOCH);
    }
    format!("twins {}: {text:?}", names.join(" "))
}

fn touch(dice: &mut Dice, path: &Path) -> String {
    let hour = Duration::from_secs(3600);
    let now = SystemTime::now();
    let (time, word) = *dice.of(&[
        (now, "now"),
        (now - 24 * hour, "yesterday"),
        (now + 24 * hour, "tomorrow"),
        (SystemTime::UNIX_EPOCH, "1970"),
    ]);
    set_time(path, time);
    format!("touch {} {word}", path.display())
}

fn folder_changes(root: &Path, dice: &mut Dice) -> String {
    let folder = *dice.of(&["inc0", "inc1", "inc2", "quote", "system", "env0"]);
    let other = *dice.of(&["inc0", "inc1", "inc2", "after", "env1"]);
    let path = root.join(folder);
    match dice.below(3) {
        0 => {
            clear(&path);
            if folder != other {
                symlink(other, &path).expect("linked");
            }
            format!("link folder {folder} -> {other}")
        }
        1 => {
            clear(&path);
            format!("remove folder {folder}")
        }
        _ => {
            let (one, two, aside) = (path, root.join(other), root.join("aside"));
            if folder != other && one.exists() && two.exists() {
                fs::rename(&one, &aside).expect("renamed");
                fs::rename(&two, &one).expect("renamed");
                fs::rename(&aside, &two).expect("renamed");
            }
            format!("swap folders {folder} and {other}")
        }
    }
}

/// Our own compilers and assembler: links that lead elsewhere, scripts that add a flag.
fn compiler_changes(root: &Path, dice: &mut Dice) -> String {
    use std::os::unix::fs::PermissionsExt;
    let name = *dice.of(&["bin/gcc", "bin/clang", "tools/as"]);
    let path = root.join(name);
    clear(&path);
    let real = match name {
        "tools/as" => *dice.of(&["/usr/bin/as", "/usr/bin/as"]),
        _ => *dice.of(&["/usr/bin/gcc", "/usr/bin/clang"]),
    };
    match dice.below(3) {
        0 if name == "tools/as" => format!("remove {name}"),
        0 | 1 => {
            symlink(real, &path).expect("linked");
            format!("link {name} -> {real}")
        }
        _ => {
            let more = match name {
                "tools/as" => *dice.of(&["--noexecstack", "-Z"]),
                _ => *dice.of(&["-DNAME=script", "-DNAME=another"]),
            };
            fs::write(&path, format!("#!/bin/sh\nexec {real} {more} \"$@\"\n")).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
            format!("script {name}: {real} {more}")
        }
    }
}

/// A precompiled header that stands beside a header and is taken instead of it, even if stale.
fn precompiled(root: &Path, dice: &mut Dice) -> String {
    let name = *dice.of(&["inc0/h0.h", "inc1/h0.h", "inc0/h4.h"]);
    let made = root.join(format!("{name}.gch"));
    if made.exists() || dice.once_in(3) {
        clear(&made);
        return format!("remove {name}.gch");
    }
    let mut command = Command::new("gcc");
    command.current_dir(root).args(["-x", "c-header", "-Iinc0", "-Iinc1", "-Iinc2", name, "-o"]);
    command.arg(&made).stderr(Stdio::null());
    let done = command.status().is_ok_and(|status| status.success());
    format!("precompile {name}: {done}")
}
