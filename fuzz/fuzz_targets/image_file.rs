//! PNG, JPEG, BMP and WebP files, and what `import` makes of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rematch_data::image::file::Rules;
use rematch_data::image::intake::Intake;
use rematch_spec::images::{Alpha, Channels, Resize};

fuzz_target!(|data: &[u8]| {
    // The first byte chooses the rules.
    let Some((choice, file)) = data.split_first() else { return };
    let resize = [Resize::Crop, Resize::Fit, Resize::Stretch][usize::from(choice / 8 % 3)];
    let intake = Intake {
        rules: Rules {
            channels: if choice & 1 == 0 { Channels::Rgb } else { Channels::Grey },
            alpha: if choice & 2 == 0 { Alpha::Drop } else { Alpha::White },
            upright: choice & 4 != 0,
        },
        square: (*choice < 192).then_some((8, resize)),
    };
    let Ok(image) = intake.decode(file) else { return };
    assert_eq!(image.data.len(), image.shape.bytes());
    assert_eq!(image.shape.channels, intake.rules.channels.count());
    if intake.square.is_some() {
        assert_eq!((image.shape.height, image.shape.width), (8, 8));
    }
});
