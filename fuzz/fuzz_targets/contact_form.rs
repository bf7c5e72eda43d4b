#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kaibiao_fuzz::run("contact_form", data));
