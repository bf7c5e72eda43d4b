//! The target `journal_event` as cargo-fuzz runs it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kaibiao_fuzz::run("journal_event", data));
