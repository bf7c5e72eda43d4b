//! The load of many suppliers: `kaibiao-sim`.
fn main() {}
