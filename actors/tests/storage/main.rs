//! What holds of the journal, the files and the keys on a real disk: through crashes, full disks, failed
//! syncs and damage.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod contract;
mod crash;
mod damage;
mod file_crash;
mod files;
mod format;
mod keeping;
mod keys;
mod power;
mod segments;
mod segments_torn;
mod simulated;
mod tools;
