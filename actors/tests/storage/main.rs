//! What holds of the journal, the files and the keys on a real disk: through crashes, full disks, failed
//! syncs and damage.

mod contract;
mod crash;
mod damage;
mod file_crash;
mod files;
mod format;
mod keeping;
mod keys;
mod power;
mod tools;
