//! PNG images, as folders of images hold them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rematch_data::png::{decode, encode};

fuzz_target!(|data: &[u8]| {
    let Ok(image) = decode(data) else { return };
    assert_eq!(image.data.len(), image.shape.bytes());
    // Larger ones take their time and show nothing new.
    if image.data.len() < 1 << 16 {
        let again = decode(&encode(image.shape, &image.data)).expect("its own image");
        assert_eq!((again.shape, again.data), (image.shape, image.data));
    }
});
