//! What a compiler's command does.

/// What the command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Objects or precompiled headers from sources.
    Compile,
    /// A program, a library or an object from objects, and perhaps sources.
    Link,
}

/// Whether the command writes a dependency file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deps {
    /// No.
    None,
    /// `-MD`: with system headers.
    All,
    /// `-MMD`: without.
    User,
}
