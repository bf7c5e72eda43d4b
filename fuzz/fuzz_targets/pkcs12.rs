//! The target `pkcs12` as cargo-fuzz runs it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kaibiao_fuzz::run("pkcs12", data));
