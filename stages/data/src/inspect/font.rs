//! A small bitmap font: glyphs of 5×9 pixels, drawn in `font.txt` beside this file.

use std::collections::HashMap;
use std::sync::OnceLock;

/// Columns of a glyph.
pub const WIDTH: usize = 5;
/// Rows of a glyph: seven above the base line, two below.
pub const HEIGHT: usize = 9;
/// Columns from a glyph to the next.
pub const ADVANCE: usize = WIDTH + 1;

type Glyph = [[bool; WIDTH]; HEIGHT];

/// The glyph of a character; a box for those that the font lacks.
pub fn glyph(character: char) -> &'static Glyph {
    static FONT: OnceLock<HashMap<char, Glyph>> = OnceLock::new();
    static BOX: Glyph = [
        [true; WIDTH],
        [true, false, false, false, true],
        [true, false, false, false, true],
        [true, false, false, false, true],
        [true, false, false, false, true],
        [true, false, false, false, true],
        [true; WIDTH],
        [false; WIDTH],
        [false; WIDTH],
    ];
    let font = FONT.get_or_init(|| read(include_str!("font.txt")));
    font.get(&character).unwrap_or(&BOX)
}

/// Bands of glyphs: a line with their characters, then nine of pixels.
fn read(text: &str) -> HashMap<char, Glyph> {
    let lines: Vec<&str> = text.lines().collect();
    let mut font = HashMap::from([(' ', [[false; WIDTH]; HEIGHT])]);
    for band in lines.chunks(1 + HEIGHT) {
        for (n, character) in band[0].split_whitespace().enumerate() {
            let mut glyph = [[false; WIDTH]; HEIGHT];
            for (row, line) in glyph.iter_mut().zip(&band[1..]) {
                for (x, pixel) in row.iter_mut().enumerate() {
                    *pixel = line.as_bytes().get(n * ADVANCE + x) == Some(&b'#');
                }
            }
            font.extend(character.chars().next().map(|c| (c, glyph)));
        }
    }
    font
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_digits_and_signs_have_glyphs_and_no_two_look_alike() {
        let font = read(include_str!("font.txt"));
        let needed = ('a'..='z').chain('A'..='Z').chain('0'..='9');
        for character in needed.chain("-_.,:/()&'+ ".chars()) {
            assert!(font.contains_key(&character), "{character}");
        }
        let mut seen: HashMap<Glyph, char> = HashMap::new();
        for (character, glyph) in font {
            if let Some(other) = seen.insert(glyph, character) {
                panic!("{character} looks like {other}");
            }
        }
    }
}
