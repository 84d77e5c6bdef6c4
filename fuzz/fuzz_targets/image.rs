//! Any bytes as an image's name and as a scanner's report: refused, or read in one way.
#![no_main]

#[path = "../../tests/fuzz/image.rs"]
mod image;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    image::image(bytes);
});
