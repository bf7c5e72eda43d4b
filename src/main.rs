//! kaibiao
fn main() {}
