//! Profile data that the command line does not name: the same objects as the compiler's, and never
//! one for other data.

use std::process::{Command, Output};

use forerunner_tests::{on_path, peer};

use super::{Place, assert_same};

const SOURCE: &str = "int main(int n, char **v) {\n  int sum = 0;\n  for (int i = 0; i < n; i++)\n\
                      \x20   sum += v[i][0] == 'x' ? 3 : v[i][1];\n  return sum & 0;\n}\n";

fn shell(place: &Place, script: &str) {
    let mut command = Command::new("/bin/sh");
    place.dress(&mut command);
    assert!(command.args(["-ec", script]).status().expect("sh").success(), "{script}");
}

/// Ours and the compiler's on the same files.
fn both(place: &Place, words: &str) -> Output {
    let words: Vec<&str> = words.split(' ').collect();
    let object = place.work().join("o/a.o");
    let ours = place.ours("recc").args(&words).output().expect("recc");
    let ours_object = std::fs::read(&object).expect("an object");
    let mut plain = Command::new(words[0]);
    place.dress(&mut plain);
    let plain = plain.args(&words[1..]).output().expect("gcc");
    assert_same(&words.join(" "), &ours, &plain);
    assert!(ours_object == std::fs::read(&object).expect("an object"), "{words:?}");
    ours
}

#[test]
fn profile_data_of_gcc_is_an_input() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    place.write("a.c", SOURCE);
    place.write("o/keep", "");
    place.write("data/keep", "");
    // Recorded by a program of the same source: what is read lies where the object is, or below
    // another directory under a name made from the whole path.
    let record = |arguments: &str, to: &str| {
        shell(
            &place,
            &format!(
                "rm -rf p && mkdir p && gcc -O2 -fprofile-generate -c a.c -o o/a.o && \
                 gcc -fprofile-generate o/a.o -o p/prog && p/prog {arguments} && mv o/a.gcda '{to}'"
            ),
        );
    };
    let mangled = format!("data/{}#o#a.gcda", place.work().to_string_lossy().replace('/', "#"));
    for (words, file) in [
        ("gcc -O2 -fprofile-use -Wmissing-profile -c a.c -o o/a.o", "o/a.gcda.new".to_owned()),
        ("gcc -O2 -fbranch-probabilities -c a.c -o o/a.o", "o/a.gcda.new".to_owned()),
        ("gcc -O2 -fprofile-use=data -Wmissing-profile -c a.c -o o/a.o", mangled),
    ] {
        let place_of = file.trim_end_matches(".new").to_owned();
        let put = || {
            if file != place_of {
                shell(&place, &format!("mv {file} {place_of}"));
            }
        };
        let (hits, misses) = place.figures();
        both(&place, words);
        both(&place, words);
        assert_eq!(place.figures(), (hits + 1, misses + 1), "{words}: there is none");
        record("x x x x", &file);
        put();
        both(&place, words);
        both(&place, words);
        assert_eq!(place.figures(), (hits + 2, misses + 2), "{words}: it is there");
        record("ab cd ef gh ij kl mn op", &file);
        put();
        both(&place, words);
        assert_eq!(place.figures(), (hits + 2, misses + 3), "{words}: it is another");
        std::fs::remove_file(place.work().join(&place_of)).expect("removed");
        both(&place, words);
        assert_eq!(place.figures(), (hits + 3, misses + 3), "{words}: it is gone");
    }
}

/// A link takes the data from its objects; one that compiles on the way is left to the compiler.
#[test]
fn links_with_profile_data() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    place.write("a.c", SOURCE);
    let run = |words: &str| {
        let output = place.ours("recc").args(words.split(' ')).output().expect("recc");
        assert!(output.status.success(), "{output:?}");
    };
    run("gcc -O2 -fprofile-use -c a.c -o a.o");
    for _ in 0..2 {
        run("gcc -O2 -fprofile-use a.o -o prog");
    }
    assert_eq!(place.figures(), (1, 2));
    run("gcc -O2 -fprofile-use a.c -o prog");
    run("gcc -O2 -flto -fprofile-use a.o -o prog");
    assert_eq!(place.figures(), (1, 2));
}
