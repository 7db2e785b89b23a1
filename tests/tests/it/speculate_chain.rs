//! From a header to the stripped program: objects, an archive, its index, a thin archive of
//! archives, a link, the program stripped. A change of the header primes all of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use forerunner_tests::{bin, bin_dir, on_path, peer, run, temp};
use serde_json::{Value, json};

const MAKEFILE: &str = "\
all: app app.small app.bin
app: main.o lib.a thin.a
\t$(CC) -o $@ main.o -Wl,--whole-archive thin.a -Wl,--no-whole-archive lib.a
\t$(STRIP) -g $@
app.small: app
\t$(STRIP) -o $@ $<
app.bin: app
\t$(OBJCOPY) -O binary $< $@
lib.a: one.o two.o
\t$(AR) rcS $@ $^
\t$(RANLIB) $@
\t$(AR) d $@ two.o
\t$(AR) r $@ two.o
thin.a: sub/three.o
\t$(AR) cDPrST $@ $^
%.o: %.c shared.h
\t$(CC) -I. -c -o $@ $<
";

/// What stands in the end.
const PRODUCTS: [&str; 5] = ["lib.a", "thin.a", "app", "app.small", "app.bin"];
/// 4 objects; `ar` thrice, `ranlib`, the thin archive; link, strip twice, objcopy.
const COMMANDS: u64 = 4 + 5 + 4;

fn write(folder: &Path) {
    std::fs::create_dir_all(folder.join("sub")).expect("made");
    let put = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
    put("Makefile", MAKEFILE);
    for name in ["one", "two", "sub/three"] {
        let function = name.trim_start_matches("sub/");
        let text = format!("#include \"shared.h\"\nint {function}(void) {{ return SHARED; }}\n");
        put(&format!("{name}.c"), &text);
    }
    put(
        "main.c",
        "#include \"shared.h\"\nint one(void); int two(void); int three(void);\n\
         int main(void) { return one() + two() + three() - 3 * SHARED; }\n",
    );
    put("shared.h", "#define SHARED 1\n");
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &str, folder: &str) -> Command {
        let mut command = Command::new(program);
        let inherited = std::env::var("PATH").unwrap_or_default();
        command
            .current_dir(self.path(folder))
            .env("FORERUNNER_STORE", self.path("store"))
            .env("HOME", self.path("home"))
            .env("PATH", format!("{}:{inherited}", bin_dir().display()));
        command
    }

    fn speculate(&self, words: &[&str]) -> String {
        let program = bin("speculate").display().to_string();
        run(self.command(&program, "work").args(words))
    }

    fn record(&self) {
        let mut words = vec!["record", "--element", "chain", "--sources", ".", "--", "make"];
        words.extend(["CC=recc gcc", "AR=rear", "RANLIB=reranlib", "STRIP=restrip"]);
        words.push("OBJCOPY=reobjcopy");
        self.speculate(&words);
    }

    fn figure(&self, name: &str) -> u64 {
        let said = run(self.command("recc", "work").arg("--stats"));
        let since = said.split("since the last --zero-stats").nth(1).unwrap_or_default();
        let line = since.lines().find(|line| line.trim_start().starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    }
}

#[test]
fn a_changed_header_is_hits_to_the_stripped_program() {
    let found = on_path("gcc").zip(on_path("make"));
    let Some(_) = peer("gcc and make", found) else { return };
    let place = Place { folder: temp() };
    for folder in ["work", "plain"] {
        write(&place.path(folder));
    }
    place.record();
    let graph: Value =
        serde_json::from_str(&place.speculate(&["generate", "--element", "chain"])).expect("JSON");
    let subactions = graph["elements"][0]["subactions"].as_array().expect("subactions").len();
    assert_eq!(subactions as u64, COMMANDS, "{graph}");

    for folder in ["work", "plain"] {
        std::fs::write(place.path(folder).join("shared.h"), "#define SHARED 7\n").expect("written");
    }
    let prime = ["prime", "--element", "chain", "--sources", ".", "--json"];
    let primed: Value = serde_json::from_str(&place.speculate(&prime)).expect("JSON");
    assert_eq!(primed["total"]["skipped"], json!({}), "{primed}");
    // The thin archive names its member and has its index; both may stay as they were.
    let executed = primed["total"]["executed"].as_u64().unwrap_or_default();
    assert!((COMMANDS - 1..=COMMANDS).contains(&executed), "{primed}");

    let clean = "rm -f *.o sub/*.o *.a app app.*";
    run(place.command("sh", "work").args(["-c", clean]));
    run(place.command("recc", "work").arg("--zero-stats"));
    place.record();
    assert_eq!((place.figure("hits"), place.figure("misses")), (COMMANDS, 0));
    run(place.command("make", "plain").args(["RANLIB=ranlib", "OBJCOPY=objcopy", "STRIP=strip"]));
    for product in PRODUCTS {
        let read = |folder: &str| std::fs::read(place.path(folder).join(product)).expect("made");
        assert!(read("work") == read("plain"), "{product} differs from a plain build's");
    }
}
