//! What stands in the files that are compiled. Few versions of each, so that the past comes back.

use crate::dice::Dice;

/// Folders that a search path may name, and `.` and `src`, where sources are.
pub(crate) const FOLDERS: &[&str] =
    &["inc0", "inc1", "inc2", "quote", "system", "after", "env0", "env1", "src", "."];

pub(crate) const HEADERS: &[&str] = &["h0.h", "h1.h", "h2.h", "deep/h3.h", "h4.h"];

pub(crate) const SOURCES: &[&str] = &["main.c", "src/sub.c", "main.cc", "start.S"];

/// A header: which one of its name it is, and often more.
pub(crate) fn header(dice: &mut Dice, folder: &str, name: &str) -> String {
    let macro_name = name.trim_start_matches("deep/").trim_end_matches(".h").to_uppercase();
    let version = dice.below(3);
    let mut text =
        format!("#ifndef {macro_name}\n#define {macro_name} \"{folder} v{version}\"\n#endif\n");
    let more = match dice.below(28) {
        0 => "#if __has_include_next(<FILE>)\n#include_next <FILE>\n#endif\n",
        1 => "#include \"h2.h\"\n",
        2 => "#include <h4.h>\n",
        3 => "#pragma once\n#if __has_include(<h4.h>)\n#define SEES_H4 1\n#endif\n",
        4 => "#ifndef __ASSEMBLER__\nstatic int unused_here;\n#endif\n",
        5 => "#warning here\n",
        6 => "#ifndef __ASSEMBLER__\nstatic const char *where = __FILE__;\n#endif\n",
        7 => "#error not like this\n",
        8 => "#ifndef __ASSEMBLER__\nasm(\".data\\n.incbin \\\"data.bin\\\"\\n.text\");\n#endif\n",
        9 => "#ifndef __ASSEMBLER__\nstatic const char *when = __TIMESTAMP__;\n#endif\n",
        10 => "#ifndef __ASSEMBLER__\nint undeclared_in_c(void) { return nowhere; }\n#endif\n",
        11 => "#ifdef SOURCE_DATE\n#define DATE __DATE__\n#endif\n",
        12 => "#define INDIRECT <h4.h>\n#include INDIRECT\n",
        13 => "#define SEES_H4 2\n",
        14 => "#ifdef SEES_H4\n#include <h1.h>\n#include \"h2.h\"\n#endif\n",
        15 => "#define LINE __LINE__\n\n#if LINE > 6\n#include <h4.h>\n#endif\n",
        16 => "/* #include <h4.h> */\n#ifndef __ASSEMBLER__\nstatic char it = 'it';\n#endif\n",
        _ => "",
    };
    text.push_str(&more.replace("FILE", name));
    text
}

/// A source that reads most headers, and has what it found in its object.
pub(crate) fn source(dice: &mut Dice, name: &str) -> String {
    let version = dice.below(4);
    let includes = "#if __has_include(<h4.h>)\n#define ASKED 1\n#endif\n#include <h0.h>\n#include \"h1.h\"\n\
        #if __has_include(<h2.h>)\n#include <h2.h>\n#endif\n\
        #if __has_include(\"deep/h3.h\")\n#include \"deep/h3.h\"\n#endif\n";
    let mut defaults = String::new();
    for name in ["H0", "H1", "H2", "H3", "H4", "SEES_H4", "ASKED", "NAME", "DATE"] {
        defaults.push_str(&format!("#ifndef {name}\n#define {name} \"none\"\n#endif\n"));
    }
    if name.ends_with(".S") {
        return format!(
            "{includes}{defaults}.data\n.ascii H0, H1, H2, H3, NAME\n.long {version}\n{}",
            if version == 1 { ".incbin \"data.bin\"\n" } else { "" }
        );
    }
    format!(
        "{includes}{defaults}#define TEXT2(x) #x\n#define TEXT(x) TEXT2(x)\n\
        const char *const found[] = {{H0, H1, H2, H3, H4, TEXT(SEES_H4), TEXT(ASKED), TEXT(NAME), DATE}};\n\
        int version(int argument) {{ int unused; return {version}; }}\n"
    )
}
