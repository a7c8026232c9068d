"""Writes pillow_vectors.txt: checksums of what Pillow makes of small generated images.

    pip install pillow==9.5.0
    python make_pillow_vectors.py > pillow_vectors.txt

The originals need a Pillow before 10. Pillow 12.0.0 gives the same file; 13.0.0 differs in 12 lines,
all of resize, since it resizes vertically first where the height shrinks much more than the width.

Each line is a list of operations, then one CRC-32 for colour images and one for grey ones ("-"
where an operation takes no grey image). A checksum runs over the results for every shape and kind of
image, in the order of SHAPES and KINDS. Lines that start with "alpha" work on images with an alpha
channel; their checksum runs over the colours and then, per pixel, 1 where alpha is 0.

pillow.rs, beside this file, reads the lines and repeats the operations.
"""

import math
import zlib

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

SHAPES = [(32, 32), (96, 96), (33, 17), (5, 7), (4, 4), (2, 3), (1, 1)]
KINDS = ["noise", "soft", "few", "flat"]
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Operations that google-research/fixmatch runs on the image without its alpha channel.
OPAQUE = {"autocontrast", "equalize", "invert", "posterize", "solarize"}


def generate(kind, height, width, channels):
    state, data = 1, bytearray()
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
                noise = state >> 24
                data.append(
                    {
                        "noise": noise,
                        "soft": 40 + (5 * y + 3 * x + 37 * c) % 150 + noise % 16,
                        "few": 20 + 60 * (noise >> 6),
                        "flat": 77 + 20 * c,
                    }[kind]
                )
    return Image.frombytes("RGB" if channels == 3 else "L", (width, height), bytes(data))


def affine(image, *matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


def bicubic(image, *matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def rotation(image, degrees):
    """The matrix of Image.rotate; `rotate_bicubic` checks that it is."""
    angle = -math.radians(degrees)
    cos, sin, minus = (round(v, 15) for v in (math.cos(angle), math.sin(angle), -math.sin(angle)))
    x, y = image.width / 2, image.height / 2
    return cos, sin, cos * -x + sin * -y + 0.0 + x, minus, cos, minus * -x + cos * -y + 0.0 + y


def featmatch(image, name, value):
    """FeatMatch's strong operations with a given value (spec/featmatch.md 4)."""
    match name:
        case "Mirror":
            return ImageOps.mirror(image)
        case "Identity":
            return image
        case "AutoContrast" | "Equalize" | "Invert":
            return getattr(ImageOps, name.lower())(image)
        case "Solarize":
            return ImageOps.solarize(image, value)
        case "Posterize":
            return ImageOps.posterize(image, round(value))
        case "Contrast" | "Color" | "Brightness" | "Sharpness":
            return getattr(ImageEnhance, name)(image).enhance(value)
    turned = image.transpose(Image.Transpose.TRANSPOSE)
    width, height = turned.size
    a, b, c, d, e, f = {
        "ShearX": (1, value, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, value, 1, 0),
        "TranslateX": (1, 0, 0, 0, 1, height * value),
        "TranslateY": (1, 0, width * value, 0, 1, 0),
        "Rotate": (
            math.cos(math.radians(value)),
            -math.sin(math.radians(value)),
            0,
            math.sin(math.radians(value)),
            math.cos(math.radians(value)),
            0,
        ),
    }[name]
    x, y = width / 2 + 0.5, height / 2 + 0.5
    turned = bicubic(turned, a, b, a * -x + b * -y + (c + x), d, e, d * -x + e * -y + (f + y))
    return turned.transpose(Image.Transpose.TRANSPOSE)


def apply(image, name, *args):
    match name:
        case "identity":
            return image
        case "autocontrast" | "equalize" | "invert":
            return getattr(ImageOps, name)(image)
        case "posterize" | "solarize":
            return getattr(ImageOps, name)(image, int(args[0]))
        case "solarize_add":
            add, threshold = map(int, args)
            return ImageOps.solarize(image.point(lambda v: min(255, max(0, v + add))), threshold)
        case "brightness" | "contrast" | "color" | "sharpness":
            return getattr(ImageEnhance, name.capitalize())(image).enhance(float(args[0]))
        case "smooth" | "blur":
            return image.filter(getattr(ImageFilter, name.upper()))
        case "blend":
            return Image.blend(image, apply(image, args[1]), float(args[0]))
        case "rotate":
            return image.rotate(int(args[0]))
        case "shear_x":
            return affine(image, 1, float(args[0]), 0, 0, 1, 0)
        case "shear_y":
            return affine(image, 1, 0, 0, float(args[0]), 1, 0)
        case "translate_x":
            return affine(image, 1, 0, float(args[0]), 0, 1, 0)
        case "translate_y":
            return affine(image, 1, 0, 0, 0, 1, float(args[0]))
        case "affine":
            return affine(image, *map(float, args))
        case "mirror":
            return ImageOps.mirror(image)
        case "transpose":
            return image.transpose(Image.Transpose.TRANSPOSE)
        case "bicubic":
            return bicubic(image, *map(float, args))
        case "rotate_bicubic":
            turned = bicubic(image, *rotation(image, float(args[0])))
            assert turned.tobytes() == image.rotate(float(args[0]), Image.Resampling.BICUBIC).tobytes()
            return turned
        case "featmatch":
            return featmatch(image, args[0], float(args[1]))
        case "crop":
            return image.crop(tuple(map(int, args)))
        case "resize":
            height, width = int(args[0]), int(args[1])
            return image.resize((width, height), FILTERS[args[2]])
        case "fill":
            left, top, right, bottom, value = map(int, args)
            image = image.copy()
            colour = (value,) * 3 if image.mode == "RGB" else value
            if right > left and bottom > top:
                # Pillow paints the last row and column as well.
                ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), fill=colour)
            return image
    raise ValueError(name)


def checksum(line, channels):
    alpha = line.startswith("alpha ")
    crc = 0
    for height, width in SHAPES:
        for kind in KINDS:
            image = generate(kind, height, width, channels)
            if alpha:
                image = image.convert("RGBA")
            for op in line.removeprefix("alpha ").split("; "):
                name, *args = op.split()
                if alpha and name in OPAQUE:
                    image = apply(image.convert("RGB"), name, *args).convert("RGBA")
                else:
                    image = apply(image, name, *args)
            holes = b""
            if alpha:
                holes = bytes(int(a == 0) for a in image.getchannel("A").tobytes())
                image = image.convert("RGB")
            crc = zlib.crc32(image.tobytes() + holes, crc)
    return crc


def lines():
    factors = ["0", "0.1", "0.14", "0.28", "0.5", "0.86", "1", "1.36", "1.9", "2.8"]
    yield from ["identity", "autocontrast", "equalize", "invert", "smooth", "blur"]
    yield from (f"posterize {bits}" for bits in (1, 2, 4, 7, 8))
    yield from (f"solarize {t}" for t in (0, 1, 26, 128, 231, 255, 256))
    yield from (f"solarize_add {add} 128" for add in (-99, -11, 0, 55, 110))
    for name in ("brightness", "contrast", "color", "sharpness"):
        yield from (f"{name} {f}" for f in factors)
    for name in ("autocontrast", "equalize", "invert", "smooth", "blur"):
        yield from (f"blend {f} {name}" for f in ("0", "0.27", "0.5", "0.73", "0.999", "1"))
    yield from (f"rotate {d}" for d in (-45, -27, -3, 0, 1, 14, 30, 44, 45, 89, 90, 100, 180, 270, 359))
    for name in ("shear_x", "shear_y"):
        yield from (f"{name} {v}" for v in ("-0.45", "-0.26999999999999996", "-0.03", "0", "0.1", "0.15", "0.3"))
    for name in ("translate_x", "translate_y"):
        yield from (f"{name} {v}" for v in ("-40", "-9", "-1", "-0.51", "-0.3", "0.3", "0.5", "2.7", "8"))
    yield "affine 0.9 0.2 1.5 -0.1 1.2 -0.7"
    yield "affine 1.3 0 -2.2 0 0.6 1.1"
    yield from ("crop 0 0 3 3", "crop 1 2 30 25", "crop -2 -1 4 6")
    for name in FILTERS:
        yield from (f"resize {size} {name}" for size in ("32 32", "24 24", "9 40", "1 1", "64 3"))
    yield "crop 2 2 30 30; resize 32 32 lanczos"
    yield from ("fill 0 0 1 1 127", "fill 3 2 20 300 127", "fill 5 5 5 9 127", "fill 30 0 99 1 9")
    yield from ("mirror", "transpose")
    yield from ("bicubic 1 0 0 0 1 0", "bicubic 1 0 0.25 0 1 -1.75", "bicubic 0.9 0.2 1.5 -0.1 1.2 -0.7")
    yield from (f"rotate_bicubic {d}" for d in ("-27.3", "1", "30", "133.7"))
    for name in ("ShearX", "ShearY"):
        yield from (f"featmatch {name} {v}" for v in ("-0.3", "-0.1234567", "0", "0.2718281"))
    for name in ("TranslateX", "TranslateY"):
        yield from (f"featmatch {name} {v}" for v in ("-0.4531722", "-0.03", "0.0625", "0.3141592"))
    yield from (f"featmatch Rotate {v}" for v in ("-29.99", "-0.4", "0", "12.345", "30"))
    for name in ("Mirror", "Identity", "AutoContrast", "Equalize", "Invert"):
        yield f"featmatch {name} 0"
    yield from (f"featmatch Solarize {v}" for v in ("0.5", "77", "77.01", "255.9"))
    yield from (f"featmatch Posterize {v}" for v in ("4.1", "5.6", "7.9"))
    for name in ("Contrast", "Color", "Brightness", "Sharpness"):
        yield from (f"featmatch {name} {v}" for v in ("0.123456789", "0.77", "1.876543"))
    yield "featmatch ShearY 0.21; featmatch Rotate -17.5"
    yield "equalize; rotate 12; color 1.2; shear_y -0.2; posterize 3"
    yield from (
        "alpha rotate 27; color 0.46",
        "alpha shear_x 0.27; contrast 1.72; translate_y -5",
        "alpha translate_x 9; sharpness 1.9; brightness 0.28",
        "alpha shear_y -0.3; sharpness 0.1; rotate -15; sharpness 1.36",
        "alpha rotate 9; posterize 3; shear_x -0.21",
        "alpha translate_y 7; invert",
        "alpha rotate 90; shear_y 0.12; contrast 0.28; equalize; translate_x -3; color 1.9",
    )


def main():
    for line in lines():
        grey = "-" if line.startswith("alpha ") else f"{checksum(line, 1):08x}"
        print(f"{line} = {checksum(line, 3):08x} {grey}")


if __name__ == "__main__":
    main()
