//! Links with a sysroot: the same program as the compiler's, and another where a library in the sysroot
//! is another.

use std::process::Command;

use forerunner_tests::{on_path, peer};

use super::{Place, assert_same};

/// Copies what a link of C reads of the system to below a root, at the same places.
const MAKE_ROOT: &str = r#"
gcc -c a.c -o a.o
mkdir root
gcc -Wl,-t a.o -lm -o prog | tr -d '()' | grep '^/' | sort -u > traced
for name in crt1.o Scrt1.o crti.o crtn.o libc.so libm.so libc_nonshared.a libmvec.so.1 libc.so.6 libm.so.6; do
    gcc -print-file-name=$name
done | grep '^/' >> traced
sort -u traced | while read -r path; do
    real=$(realpath -s "$path")
    case "$real" in */gcc/*) continue ;; esac
    test -f "$real" || continue
    mkdir -p "root$(dirname "$real")"
    cp -L "$real" "root$real"
done
mkdir -p root/lib64
cp -L /lib64/ld-linux-x86-64.so.2 root/lib64/ 2>/dev/null || true
for link in lib; do test -e root/$link || ln -s usr/lib root/$link; done
"#;

#[test]
fn a_link_with_a_sysroot_is_cached() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    place.write(
        "a.c",
        "#include <math.h>\nint main(int n, char **v) { return (int)sin(n) + !v; }\n",
    );
    let shell = |script: &str| {
        let mut command = Command::new("/bin/sh");
        place.dress(&mut command);
        let output = command.args(["-ec", script]).output().expect("sh");
        assert!(output.status.success(), "{script}: {output:?}");
    };
    shell(MAKE_ROOT);
    let both = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let program = place.work().join("prog");
        let _ = std::fs::remove_file(&program);
        let ours = place.ours("recc").args(&words).output().expect("recc");
        let made = std::fs::read(&program).ok();
        let _ = std::fs::remove_file(&program);
        let mut plain = Command::new(words[0]);
        place.dress(&mut plain);
        let plain = plain.args(&words[1..]).output().expect("gcc");
        assert_same(&words.join(" "), &ours, &plain);
        assert!(made == std::fs::read(&program).ok(), "{words:?}");
        assert!(made.is_some(), "{words:?}: {plain:?}");
    };
    for words in [
        "gcc --sysroot=root a.o -lm -o prog",
        "gcc --sysroot root a.o -o prog -lm -static-libgcc",
        "gcc --sysroot=/ a.o -lm -o prog",
        "gcc -Wl,--sysroot=root a.o -lm -o prog",
    ] {
        let (hits, misses) = place.figures();
        both(words);
        both(words);
        assert_eq!(place.figures(), (hits + 1, misses + 1), "{words}");
    }
    // A library that only the sysroot has, found through a script there.
    place.write("x.c", "int x(void) { return 1; }\n");
    place.write("main.c", "int x(void);\nint main(void) { return x(); }\n");
    shell(
        "gcc -c x.c main.c && ar rcs root/usr/lib/libxx.a x.o && \
         echo 'INPUT ( /usr/lib/libxx.a )' > root/usr/lib/libx.so",
    );
    let words = "gcc --sysroot=root main.o -L=/usr/lib -lx -o prog";
    let (hits, misses) = place.figures();
    both(words);
    both(words);
    assert_eq!(place.figures(), (hits + 1, misses + 1));
    place.write("x.c", "int x(void) { return 2; }\n");
    shell("gcc -c x.c && rm root/usr/lib/libxx.a && ar rcs root/usr/lib/libxx.a x.o");
    both(words);
    assert_eq!(place.figures(), (hits + 1, misses + 2), "another library");
}
