#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| descry_readers::filter::read(bytes));
