//! Whole projects, built plainly, cold and warm through the wrappers: every object, dependency
//! file, archive and program is the same byte for byte, and so are the messages and the exit
//! status. The warm build starts no compiler, assembler, linker or archiver at all.
//!
//! What is measured is the build step. Probes of a `configure` or of CMake and Meson run through
//! the wrappers too and must come to the same configuration, but some of them are not cacheable
//! by nature (`-E`, `--version`, commands that fail) and may start the compiler again.

mod compare;
mod harness;
pub(crate) mod spy;

use std::path::Path;
use std::process::Command;

use forerunner_tests::{checkout, long, on_path, peer, peers, run, source};

use harness::{Messages, Project, check};

fn tarball(package: &str) -> Option<impl Fn(&Path)> {
    let archive = peer(&format!("the upstream source of {package}"), source(package))?;
    Some(move |folder: &Path| {
        run(Command::new("tar")
            .arg("-C")
            .arg(folder)
            .args(["--strip-components=1", "-xf"])
            .arg(&archive));
    })
}

/// A project of ours, with fresh time stamps each time.
fn ours(name: &'static str) -> impl Fn(&Path) {
    move |folder: &Path| {
        let from = checkout().join("testdata/projects").join(name);
        run(Command::new("cp").arg("-r").arg(from.join(".")).arg(folder));
    }
}

/// The sources that a crate carries, and a Makefile of ours for them.
fn crate_sources(
    name: &'static str,
    inside: &'static str,
    makefile: &'static str,
) -> Option<impl Fn(&Path)> {
    let root = peers().join("crates").join(name).join(inside);
    let root = peer(
        &format!("the crate {name} (`cargo xtask peers`; all but SQLite: `--long`)"),
        Some(root).filter(|path| path.exists()),
    )?;
    Some(move |folder: &Path| {
        run(Command::new("cp").arg("-r").arg(root.join(".")).arg(folder));
        std::fs::write(folder.join("forerunner.mk"), makefile).expect("a Makefile");
    })
}

#[test]
fn lua_by_its_own_makefile() {
    let Some(unpack) = tarball("lua5.4") else { return };
    check(&Project {
        name: "lua",
        unpack: &unpack,
        configure: "",
        build: r#"make -j2 -Otarget linux CC="$CC -std=gnu99" AR="$AR rcu" RANLIB="$RANLIB""#,
        messages: Messages::AnyOrder,
        probes: &[],
        // 32 objects of the library, 2 of the programs, the library, both programs.
        least_products: 36,
    });
}

#[test]
fn zlib_by_its_own_configure() {
    let Some(unpack) = tarball("zlib") else { return };
    check(&Project {
        name: "zlib",
        unpack: &unpack,
        configure: "./configure",
        build: "make -j2 -Otarget",
        messages: Messages::AnyOrder,
        probes: &[],
        // Objects with and without -fPIC, both libraries, the example programs.
        least_products: 36,
    });
}

#[test]
fn libffi_by_autotools_and_libtool() {
    let Some(unpack) = tarball("libffi") else { return };
    check(&Project {
        name: "libffi",
        unpack: &unpack,
        // Its documentation wants makeinfo.
        configure: "./configure --disable-docs --disable-multi-os-directory MAKEINFO=true",
        build: "make -j2 -Otarget V=1",
        messages: Messages::AnyOrder,
        // Symbol versions by the preprocessor alone, and `config.guess`.
        probes: &["\"-E\""],
        least_products: 30,
    });
}

#[test]
fn cmake_with_c_and_cpp() {
    let Some(_) = peer("cmake", on_path("cmake")) else { return };
    check(&Project {
        name: "cmake",
        unpack: &ours("cmake"),
        configure: r#"cmake -S . -B out -G "Unix Makefiles" -DCMAKE_BUILD_TYPE=Debug \
            -DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++ -DCMAKE_RANLIB="$(command -v $RANLIB)" \
            -DCMAKE_AR="$(command -v $AR)" -DCMAKE_C_COMPILER_LAUNCHER="$LAUNCHER" \
            -DCMAKE_CXX_COMPILER_LAUNCHER="$LAUNCHER" -DCMAKE_CXX_LINKER_LAUNCHER="$LAUNCHER" \
            -DCMAKE_C_LINKER_LAUNCHER="$LAUNCHER""#,
        build: "make -C out && ./out/measure && ./out/plain",
        messages: Messages::Ordered,
        probes: &[],
        least_products: 13,
    });
}

#[test]
fn meson_with_c_and_cpp() {
    let tools = on_path("meson").zip(on_path("ninja"));
    let Some(_) = peer("meson and ninja", tools) else { return };
    check(&Project {
        name: "meson",
        unpack: &ours("meson"),
        configure: "meson setup out",
        build: "ninja -j1 -v -C out && ./out/words && ./out/cwords",
        messages: Messages::Ordered,
        probes: &[],
        least_products: 10,
    });
}

#[test]
fn kbuild_with_thin_archives() {
    check(&Project {
        name: "kbuild",
        unpack: &ours("kbuild"),
        configure: "gcc -print-file-name=include >include.path",
        build: r#"make CC="$CC" AR="$AR" STRIP="$STRIP" && ./kernel"#,
        messages: Messages::Ordered,
        probes: &[],
        least_products: 13,
    });
}

/// What fails is not stored: the warm build runs the compiler again for it, and says the same.
#[test]
fn what_cannot_be_built_fails_alike() {
    let mut project = Project {
        name: "broken",
        unpack: &ours("kbuild"),
        configure: "gcc -print-file-name=include >include.path",
        build: r#"make -k CC="$CC" AR="$AR" broken"#,
        messages: Messages::Ordered,
        probes: &[],
        least_products: 1,
    };
    let built = harness::build_thrice(&project);
    assert_eq!(built.plain.build.status, Some(2), "{}", built.plain.build.stderr);
    harness::compare(&project, &built);
    // With its cause gone, an error goes away too.
    project.build = r#"echo '#define undeclared 1' >>include/config.h; mkdir include/not
        echo '#pragma once' >include/not/there.h
        make -k CC="$CC" AR="$AR" broken"#;
    project.least_products = 4;
    check(&project);
}

#[test]
fn sqlite_amalgamation() {
    let Some(unpack) = crate_sources("libsqlite3-sys", "sqlite3", SQLITE) else { return };
    check(&Project {
        name: "sqlite",
        unpack: &unpack,
        configure: "",
        // Without optimising it takes a third of the time.
        build: match long() {
            true => r#"make -f forerunner.mk CC="$CC" AR="$AR" RANLIB="$RANLIB" O=-O1"#,
            false => r#"make -f forerunner.mk CC="$CC" AR="$AR" RANLIB="$RANLIB" O=-O0"#,
        },
        messages: Messages::Ordered,
        probes: &[],
        least_products: 7,
    });
}

#[test]
fn zstd_with_assembler() {
    if !long() {
        return;
    }
    let Some(unpack) = crate_sources("zstd-sys", "zstd/lib", ZSTD) else { return };
    check(&Project {
        name: "zstd",
        unpack: &unpack,
        configure: "",
        build: r#"make -j2 -Otarget -f forerunner.mk CC="$CC" AR="$AR" RANLIB="$RANLIB""#,
        messages: Messages::AnyOrder,
        probes: &[],
        least_products: 60,
    });
}

#[test]
fn rocksdb_subset() {
    if !long() {
        return;
    }
    let Some(unpack) = crate_sources("librocksdb-sys", "", ROCKSDB) else { return };
    check(&Project {
        name: "rocksdb",
        unpack: &unpack,
        configure: "",
        build: r#"make -j2 -Otarget -f forerunner.mk CXX="$CXX" AR="$AR" RANLIB="$RANLIB""#,
        messages: Messages::AnyOrder,
        probes: &[],
        least_products: 130,
    });
}

#[test]
fn xz_by_autotools() {
    if !long() {
        return;
    }
    let Some(unpack) = tarball("xz-utils") else { return };
    check(&Project {
        name: "xz",
        unpack: &unpack,
        configure: "./configure --disable-doc --disable-nls",
        build: "make -j2 -Otarget V=1",
        messages: Messages::AnyOrder,
        probes: &[],
        least_products: 150,
    });
}

const SQLITE: &str = "\
all: libsqlite3.a libsqlite3.so probe
libsqlite3.a: sqlite3.o
\t$(AR) cr $@ $^
\t$(RANLIB) $@
libsqlite3.so: sqlite3.pic.o
\t$(CC) -shared -o $@ $^ -lm
probe: probe.o libsqlite3.a
\t$(CC) -o $@ $^ -lm
probe.o:
\techo '#include \"sqlite3.h\"\\nint main(void) { return !sqlite3_libversion_number(); }' >probe.c
\t$(CC) -O2 -MD -c probe.c -o $@
sqlite3.o: sqlite3.c
\t$(CC) $(O) -g -MD -DSQLITE_ENABLE_FTS5 -DSQLITE_THREADSAFE=1 -c $< -o $@
sqlite3.pic.o: sqlite3.c
\t$(CC) $(O) -fPIC -MD -DSQLITE_ENABLE_FTS5 -DSQLITE_THREADSAFE=1 -c $< -o $@
";

const ZSTD: &str = "\
C := $(sort $(wildcard common/*.c compress/*.c decompress/*.c dictBuilder/*.c legacy/*.c))
S := $(sort $(wildcard decompress/*.S))
O := $(C:.c=.o) $(S:.S=.o)
libzstd.a: $(O)
\t$(AR) rc $@ $^
\t$(RANLIB) $@
%.o: %.c
\t$(CC) -O2 -Wall -Wextra -DZSTD_LEGACY_SUPPORT=4 -I. -Icommon -MMD -MP -MF $@.d -c $< -o $@
%.o: %.S
\t$(CC) -O2 -I. -Icommon -c $< -o $@
";

const ROCKSDB: &str = "\
FLAGS := -std=c++17 -O1 -Irocksdb/include -Irocksdb -Isnappy -I. -DNDEBUG -DOS_LINUX -Wall \\
  -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SUPPORT_THREAD_LOCAL -Wsign-compare
C := $(addprefix rocksdb/,$(shell grep -E '^(cache|env|file|memory|memtable|monitoring|options|util)/' \\
  rocksdb_lib_sources.txt | grep -v build_version | head -64))
O := $(C:.cc=.o)
librocks.a: $(O)
\t$(AR) rcs $@ $^
%.o: %.cc
\t$(CXX) $(FLAGS) -MMD -MF $@.d -c $< -o $@
";
