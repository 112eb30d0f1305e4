#![no_main]

libfuzzer_sys::fuzz_target!(|case: &[u8]| moulin_read::fuzzing::infer(case));
