//! One casd, two programs: what the reference stored is a hit for us, and the other way round.

use forerunner_tests::Casd;

use super::Chroot;

/// Commands, and what they make.
const COMMANDS: &[(&str, &str)] = &[
    ("gcc -O2 -Iinc -c a.c -o a.o", "a.o"),
    ("gcc -g -Iinc -c a.c -MMD -MF a.d -o b.o", "b.o a.d"),
    ("g++ -std=c++17 -O1 -Iinc -c c.cc -o c.o", "c.o"),
    ("clang -O1 -Iinc -c a.c -o d.o", "d.o"),
    ("gcc a.o main.o -o prog", "prog"),
    ("g++ c.o main.o a.o -o prog2", "prog2"),
    ("gcc -shared -Wl,-soname,libx.so.1 a.o -o libx.so", "libx.so"),
];

const HIT: &str = "Action Cache hit for [";

#[test]
fn each_hits_what_the_other_stored() {
    let Some(chroot) = Chroot::new() else { return };
    let Some(casd) = Casd::start() else { return };
    let (folder, inside) = (&chroot.folder, &chroot.inside);
    // The socket, at a place that the chroot can reach.
    let socket = folder.path().join("casd.sock");
    std::fs::hard_link(casd.socket(), &socket)
        .or_else(|_| relay(&casd.socket(), &socket))
        .expect("a socket");
    let work = folder.path().join("w");
    let write = |name: &str, text: &str| {
        let path = work.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    let run = |program: &str, line: &str| {
        let script = format!("cd {inside}/w && exec {program} {line}");
        let mut command = chroot.shell(&script);
        command.env_clear();
        command.env("PATH", "/usr/bin:/bin").env("RECC_SERVER", format!("unix:{inside}/casd.sock"));
        for name in ["RECC_CACHE_ONLY", "RECC_CACHE_UPLOAD_LOCAL_BUILD", "RECC_LINK"] {
            command.env(name, "1");
        }
        command.env("RECC_LOG_LEVEL", "info").env("RECC_DEPS_GLOBAL_PATHS", "1");
        command.env("RECC_NO_PATH_REWRITE", "1").env("RECC_REMOTE_PLATFORM_OSFamily", "linux");
        let output = command.output().expect("chroot");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program} {line}: {said}");
        said
    };
    let ours = format!("{inside}/ours");
    for (number, [first, second]) in
        [["recc", ours.as_str()], [ours.as_str(), "recc"]].into_iter().enumerate()
    {
        write("a.c", &format!("#include \"x.h\"\nint a{number}(void) {{ return X; }}\n"));
        write("c.cc", &format!("#include \"x.h\"\nint c{number}() {{ return X; }}\n"));
        write("main.c", "int main(void) { return 0; }\n");
        write("inc/x.h", &format!("#define X {number}\n"));
        run("", "gcc -c main.c -o main.o");
        for (line, made) in COMMANDS {
            let said = run(first, line);
            assert!(!said.contains(HIT), "{first} {line}: {said}");
            let read = |name: &str| std::fs::read(work.join(name)).expect("an output");
            let before: Vec<_> = made.split(' ').map(read).collect();
            made.split(' ').for_each(|name| {
                std::fs::remove_file(work.join(name)).expect("an output");
            });
            let said = run(second, line);
            assert!(said.contains(HIT), "{second} {line}: {said}");
            let after: Vec<_> = made.split(' ').map(read).collect();
            assert!(before == after, "{line}");
        }
    }
}

/// Passes connections on, for as long as the test runs.
fn relay(from: &std::path::Path, at: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::net::{UnixListener, UnixStream};
    let listener = UnixListener::bind(at)?;
    let from = from.to_owned();
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = UnixStream::connect(&from) else { continue };
            let copies = [(near.try_clone(), far.try_clone()), (far.try_clone(), near.try_clone())];
            for copy in copies {
                let (Ok(mut read), Ok(mut write)) = copy else { continue };
                std::thread::spawn(move || {
                    let _copied = std::io::copy(&mut read, &mut write);
                    let _closed = write.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    Ok(())
}
