#![no_main]

libfuzzer_sys::fuzz_target!(init: gristmill_fuzz::begin(), |data: &[u8]| gristmill_fuzz::read::table(data, "parquet"));
