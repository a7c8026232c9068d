"""Writes image_files/ and image_files.txt: small image files of every kind, and what Pillow reads from them.

    pip install pillow==12.0.0
    python make_image_files.py

Lines of image_files.txt: file, channels, alpha, upright, most difference of a value, height, width, pixels (hexadecimal). Then lines
"square", with the size of a generated image, the size that it is brought to, how, and the CRC-32 of the result.

image_files.rs, beside this file, reads the lines.
"""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "image_files"
HEIGHT, WIDTH = 9, 13


def pattern(x, y, c):
    """Smooth, so that lossy formats keep it."""
    return (20 + 15 * x + (7 + 4 * c) * y + 31 * c) % 256 if c < 3 else (40 * x + 90 * y) % 256


def picture(mode):
    bands = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    at = lambda x, y, c: pattern(x, y, 3 if bands in (2, 4) and c == bands - 1 and mode != "CMYK" else c)
    data = bytes(at(x, y, c) for y in range(HEIGHT) for x in range(WIDTH) for c in range(bands))
    return Image.frombytes(mode, (WIDTH, HEIGHT), data)


def png16():
    """16 bits a channel, which Pillow does not write."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(
        b"\0" + b"".join(struct.pack(">H", pattern(x, y, c) * 256 + 200 - 3 * x) for x in range(WIDTH) for c in range(3))
        for y in range(HEIGHT)
    )
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def files():
    rgb, rgba = picture("RGB"), picture("RGBA")
    yield "rgb.png", rgb, {}
    yield "grey.png", picture("L"), {}
    yield "bits.png", picture("L").convert("1"), {}
    yield "palette.png", rgb.quantize(8), {}
    yield "palette_alpha.png", rgb.quantize(8), {"transparency": bytes([0, 100, 255, 30])}
    yield "alpha.png", rgba, {}
    yield "grey_alpha.png", picture("LA"), {}
    yield "turned.png", rgb, {"exif": turned(6)}
    yield "subsampled.jpg", rgb, {"quality": 90, "subsampling": 2}
    yield "full.jpg", rgb, {"quality": 95, "subsampling": 0}
    yield "progressive.jpg", rgb, {"quality": 90, "progressive": True}
    yield "grey.jpg", picture("L"), {"quality": 90}
    yield "cmyk.jpg", picture("CMYK"), {"quality": 95}
    for orientation in range(2, 9):
        yield f"turned{orientation}.jpg", rgb, {"quality": 90, "exif": turned(orientation)}
    yield "rgb.bmp", rgb, {}
    yield "palette.bmp", rgb.quantize(8), {}
    yield "alpha.bmp", rgba, {}
    yield "lossless.webp", rgb, {"lossless": True}
    yield "alpha.webp", rgba, {"lossless": True, "exact": True}
    yield "lossy.webp", rgb, {"quality": 90}


def lines():
    FOLDER.mkdir(exist_ok=True)
    for name, image, options in files():
        image.save(FOLDER / name, **options)
    (FOLDER / "deep.png").write_bytes(png16())
    for path in sorted(FOLDER.iterdir()):
        tolerance = 0
        if path.suffix == ".jpg" or path.name == "lossy.webp":
            tolerance = 3
        opened = Image.open(path)
        transparent = "A" in opened.getbands() or "transparency" in opened.info
        for channels in (1, 3):
            for alpha in ("drop", "white", "black") if transparent else ("drop",):
                for upright in (0, 1) if opened.getexif().get(0x0112) else (0,):
                    image = ImageOps.exif_transpose(opened) if upright else opened
                    if alpha != "drop":
                        ground = Image.new("RGB", image.size, alpha)
                        image = image.convert("RGBA")
                        ground.paste(image.convert("RGB"), mask=image.getchannel("A"))
                        image = ground
                    elif transparent:
                        image = image.convert("RGBA")
                    image = image.convert("RGB")
                    if channels == 1:
                        image = image.convert("L")
                    yield f"{path.name} {channels} {alpha} {upright} {tolerance} {image.height} {image.width} {image.tobytes().hex()}"
    for height, width in [(375, 500), (500, 333), (84, 84), (40, 300), (1, 7), (9, 2)]:
        for size in (84, 32, 128):
            for how in ("crop", "fit", "stretch"):
                result = square(generated(height, width), size, how)
                yield f"square {height} {width} {size} {how} {zlib.crc32(result.tobytes()):08x}"


def generated(height, width):
    state, data = 1, bytearray()
    for y in range(height):
        for x in range(width):
            for c in range(3):
                state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
                data.append((5 * y + 3 * x + 37 * c) % 200 + (state >> 24) % 56)
    return Image.frombytes("RGB", (width, height), bytes(data))


def square(image, size, how):
    width, height = image.size
    if how == "stretch":
        return image.resize((size, size), Image.LANCZOS)
    if how == "fit":
        scale = size / max(width, height)
        new = [max(1, int(side * scale + 0.5)) for side in (width, height)]
        canvas = Image.new("RGB", (size, size))
        canvas.paste(image.resize(new, Image.LANCZOS), ((size - new[0]) // 2, (size - new[1]) // 2))
        return canvas
    # torchvision.transforms.Resize(size) and CenterCrop(size)
    short, long = sorted((width, height))
    new = int(size * long / short)
    image = image.resize((size, new) if width <= height else (new, size), Image.LANCZOS)
    left, top = int(round((image.width - size) / 2.0)), int(round((image.height - size) / 2.0))
    return image.crop((left, top, left + size, top + size))


(HERE / "image_files.txt").write_text("\n".join(lines()) + "\n")
