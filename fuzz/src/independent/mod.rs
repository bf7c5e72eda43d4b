//! Readers that share no line with those of the house, and read only what they must to contradict them.

pub mod json;
pub mod zip;
