//! The target `sealed_bid_arrival` as cargo-fuzz runs it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kaibiao_fuzz::run("sealed_bid_arrival", data));
