//! The files both sides must agree on byte by byte, and their cryptography.
//!
//! A supplier packs a bid package (`.bfbs`), seals it (`.jmbs`) and hands it in; the platform takes it in,
//! signs a receipt, and after the deadline opens it with keys that suppliers release under a signed opening
//! order. Every byte of these files is specified in `docs/formats/`, this crate is one implementation.
//!
//! What is absent: a clock (a moment is always an argument), a socket, an asynchronous call, and any private
//! RSA operation outside [`practice`]. Random numbers come from aws-lc-rs only, in functions that say so.

pub mod digest;
#[cfg(feature = "practice")]
pub mod practice;
pub mod wrap;
