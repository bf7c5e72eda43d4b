//! The commands of a supplier: `kaibiao-bid`.
fn main() {}
