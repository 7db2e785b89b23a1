//! recc
fn main() {}
