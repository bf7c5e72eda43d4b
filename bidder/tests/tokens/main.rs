//! Token access, on real SoftHSM2 tokens of two made-up authorities and through a faulty module in front of them.
//!
//! Each story runs in a process of its own ([`desk::alone`]): a PKCS#11 module is initialised once a process, a
//! PIN is entered once a process, and SoftHSM reads once a process where its tokens lie.

#![expect(clippy::unwrap_used, reason = "what helps a test may unwrap as the test may")]

mod choosing;
mod desk;
mod files;
mod pins;
mod pulled;
mod secrets;
mod wrapping;
