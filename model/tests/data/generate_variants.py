"""Makes `image_variants.npz` again: unusual and damaged image files, and what Pillow makes of each.

    python3 generate_variants.py [--check]

For each file the archive holds `file/NAME`, its bytes; `pixels/NAME`, Image.open(f).convert('RGB'), where Pillow reads it
by default (LOAD_TRUNCATED_IMAGES off); and `upright/NAME`, the same after ImageOps.exif_transpose, where that is not
the same. JPEGs of unusual sampling and arithmetic coding are written by libjpeg-turbo's `cjpeg`, everything else by Pillow
and by the lines below; all pictures are drawn here.

Made with Pillow 13.0.0, numpy 2.4.6 and cjpeg of libjpeg-turbo 2.1.5. With --check nothing is written: the pixels are
compared with what the installed Pillow gives for the files in the archive.
"""
import argparse
import io
import pathlib
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
from PIL import Image, ImageFilter, ImageOps

ARCHIVE = pathlib.Path(__file__).parent / "image_variants.npz"
SAMPLINGS = ("1x2", "1x3", "1x4", "2x1", "2x2", "2x3", "2x4", "3x1", "3x2", "4x1", "4x2")
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


def picture(width, height):
    """Smooth colours with a few edges."""
    noise = np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2))
    image.paste((200, 30, 60), (width // 3, height // 4, width // 2, height // 2))
    return image


def cjpeg(image, *arguments):
    content = io.BytesIO()
    image.save(content, "PPM")
    return subprocess.run(["cjpeg", *arguments], input=content.getvalue(), capture_output=True, check=True).stdout


def jpegs():
    small = picture(45, 37)
    for sampling in SAMPLINGS:
        yield f"sampling_{sampling}.jpg", cjpeg(small, "-quality", "80", "-sample", sampling)
    yield "sampling_mixed.jpg", cjpeg(small, "-sample", "3x1,1x1,3x1")
    yield "sampling_of_chroma.jpg", cjpeg(small, "-sample", "1x1,2x2,2x2")
    yield "arithmetic.jpg", cjpeg(small, "-arithmetic")
    yield "arithmetic_progressive.jpg", cjpeg(small, "-arithmetic", "-progressive")
    yield "arithmetic_3x1.jpg", cjpeg(small, "-arithmetic", "-sample", "3x1", "-restart", "1")
    yield "rgb.jpg", cjpeg(small, "-rgb")
    yield "grey_2x2.jpg", cjpeg(small, "-grayscale", "-sample", "2x2")
    baseline = cjpeg(small, "-quality", "80")
    start = baseline.index(b"\xff\xc0")
    yield "twelve_bits.jpg", baseline[:start + 4] + b"\x0c" + baseline[start + 5:]
    yield "lossless.jpg", baseline[:start] + b"\xff\xc3" + baseline[start + 2:]
    yield "no_end.jpg", baseline[:-2]
    yield "half_an_end.jpg", baseline[:-1]
    yield "cut_by_3.jpg", baseline[:-3]
    yield "cut_by_12.jpg", baseline[:-12]
    yield "no_end_progressive.jpg", cjpeg(small, "-progressive")[:-2]
    yield "no_end_arithmetic.jpg", cjpeg(small, "-arithmetic")[:-2]
    yield "no_end_restarts.jpg", cjpeg(small, "-restart", "1")[:-2]
    yield "no_end_grey.jpg", cjpeg(small, "-grayscale")[:-2]
    yield "half.jpg", baseline[:len(baseline) // 2]


def chunk(name, content, checksum=None):
    if checksum is None:
        checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def header(width, height, bits=8, color=2, interlaced=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlaced))


def pngs():
    image = picture(9, 20)
    rows = b"".join(b"\0" + row.tobytes() for row in np.asarray(image))
    data, start = zlib.compress(rows), b"\x89PNG\r\n\x1a\n" + header(*image.size)
    pixels, end, text = chunk(b"IDAT", data), chunk(b"IEND", b""), chunk(b"tEXt", b"a\0b")
    wrong_text = chunk(b"tEXt", b"a\0b", 1)
    half = len(data) // 2
    damaged = bytearray(data)
    damaged[half] ^= 255
    yield "plain.png", start + pixels + end
    yield "no_end.png", start + pixels
    yield "no_checksum_and_end.png", start + pixels[:-4]
    yield "no_checksums_and_end.png", start + pixels[:-8]
    yield "cut_by_20.png", start + pixels[:-24]
    yield "half.png", start + pixels[:8 + half]
    yield "no_pixels.png", start
    yield "end_before_pixels.png", start + end + pixels
    yield "data_without_checksum.png", start + chunk(b"IDAT", data[:-4]) + end
    yield "data_cut_by_20.png", start + chunk(b"IDAT", data[:-20]) + end
    yield "data_of_wrong_checksum.png", start + chunk(b"IDAT", data[:-4] + b"\0\0\0\0") + end
    yield "data_damaged.png", start + chunk(b"IDAT", bytes(damaged)) + end
    yield "data_too_long.png", start + chunk(b"IDAT", zlib.compress(rows + bytes(999))) + end
    yield "bytes_behind_data.png", start + chunk(b"IDAT", data + b"more") + end
    yield "wrong_checksum_of_header.png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start[16:-4], 1) + pixels + end
    yield "wrong_checksum_of_pixels.png", start + chunk(b"IDAT", data, 1) + end
    yield "wrong_checksum_of_end.png", start + pixels + chunk(b"IEND", b"", 1)
    yield "wrong_checksum_of_text_before.png", start + wrong_text + pixels + end
    yield "wrong_checksum_of_text_behind.png", start + pixels + wrong_text + end
    yield "bytes_behind_pixels.png", start + pixels + b"\1\2\3\4\5\6\7\10\11\12"
    yield "bytes_behind_end.png", start + pixels + end + b"more"
    yield "pixels_in_two.png", start + chunk(b"IDAT", data[:half], 7) + chunk(b"IDAT", b"") + chunk(b"IDAT", data[half:], 8)
    yield "pixels_apart.png", start + chunk(b"IDAT", data[:half]) + text + chunk(b"IDAT", data[half:]) + end
    yield "unknown_chunk.png", start + chunk(b"ABCD", b"a") + pixels + end
    yield "odd_chunk_name.png", start + chunk(b"\1\2ab", b"") + pixels + end
    deep = np.random.default_rng(8).integers(0, 65536, (5, 4, 3), dtype=np.uint16)
    deep_rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    yield "sixteen_bits.png", start[:8] + header(4, 5, 16) + chunk(b"IDAT", zlib.compress(deep_rows)) + end
    palette = io.BytesIO()
    image.quantize(11).save(palette, "PNG", transparency=3)
    yield "transparent_palette.png", palette.getvalue()
    # The seven passes of an interlaced image; at this size some have no pixels.
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    for width, height in ((9, 20), (3, 2), (1, 1)):
        values = np.asarray(image.crop((0, 0, width, height)))
        parts = (values[y::dy, x::dx] for x, y, dx, dy in passes if x < width and y < height)
        content = zlib.compress(b"".join(b"\0" + row.tobytes() for part in parts for row in part))
        begin = start[:8] + header(width, height, interlaced=1)
        yield f"interlaced_{width}x{height}.png", begin + chunk(b"IDAT", content) + end
        yield f"interlaced_{width}x{height}_cut.png", begin + chunk(b"IDAT", content[:-4])
    # A decoder has taken in the end of such data long before it gives out the pixels.
    for width, height in ((64, 128), (128, 256), (128, 384), (256, 256)):
        content = io.BytesIO()
        Image.new("RGB", (width, height), (90, 90, 90)).save(content, "PNG")
        yield f"flat_{width}x{height}.png", content.getvalue()
    padded = picture(64, 128)
    padded.paste((0, 0, 0), (0, 32, 64, 128))
    content = io.BytesIO()
    padded.save(content, "PNG")
    yield "padded.png", content.getvalue()
    yield "padded_cut.png", content.getvalue()[:-40]
    yield "data_too_short.png", start + chunk(b"IDAT", zlib.compress(rows[:200])) + end
    yield "data_of_7_rows.png", start + chunk(b"IDAT", zlib.compress(rows[:196])) + end
    indices = chunk(b"IDAT", zlib.compress(bytes([0, 0, 1, 2, 200] * 2)))
    entries = bytes(range(9, 255)) * 8
    for name, palettes in {"none": [], "empty": [0], "4_bytes": [4], "5_bytes": [5], "767_bytes": [767], "769_bytes": [769],
                           "771_bytes": [771], "in_two": [3, 6]}.items():
        chunks = b"".join(chunk(b"PLTE", entries[count:2 * count]) for count in palettes)
        yield f"palette_{name}.png", start[:8] + header(4, 2, color=3) + chunks + indices + end
    yield "palette_of_colours.png", start + chunk(b"PLTE", entries[:31]) + pixels + end
    yield "palette_before_header.png", start[:8] + chunk(b"PLTE", entries[:31]) + start[8:] + pixels + end
    yield "compression_method_1.png", start[:8] + chunk(b"IHDR", start[16:26] + b"\1" + start[27:29]) + pixels + end
    long_text = zlib.compress(bytes(2 << 20))
    yield "long_text.png", start + chunk(b"zTXt", b"a\0\0" + long_text) + pixels + end
    yield "long_profile.png", start + chunk(b"iCCP", b"a\0\0" + long_text) + pixels + end
    yield "cut_in_text_behind.png", start + pixels + text[:-5]


def directory(value=6, kind=3, count=1, order="<", tag=0x0112, before=(), head=None, outside=b""):
    """EXIF data of one entry for the orientation, or more `before` it; values over four bytes go `outside`."""
    formats = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f"}
    entries = [*before, (tag, kind, count, value)]
    head = head or {"<": b"II\x2a\0", ">": b"MM\0\x2a"}[order]
    content = head + struct.pack(order + "IH", 8, len(entries))
    for tag, kind, count, value in entries:
        place = value if isinstance(value, bytes) else struct.pack(order + formats[kind], value)
        if outside:
            place = struct.pack(order + "I", 10 + 12 * len(entries) + 4)
        content += struct.pack(order + "HHI", tag, kind, count) + place.ljust(4, b"\0")
    return content + bytes(4) + outside


def exif_variants():
    for value in range(11):
        yield f"orientation_{value}", directory(value)
    yield "big_endian", directory(8, order=">")
    yield "swapped_mark_little", directory(8, head=b"II\0\x2a")
    yield "swapped_mark_big", directory(8, head=b"MM\x2a\0", order=">")
    yield "large_tiff_big", directory(8, head=b"MM\0\x2b", order=">")
    for kind in (1, 2, 4, 6, 7, 8, 9, 11):
        yield f"kind_{kind}", directory(8, kind)
    yield "unknown_kind", directory(b"\x08\0\0\0", 99)
    yield "half_a_turn_too_much", directory(6.5, 11)
    yield "rational", directory(b"", 5, outside=struct.pack("<II", 12, 2))
    yield "rational_of_zero", directory(b"", 5, outside=struct.pack("<II", 6, 0))
    yield "two_values", directory(struct.pack("<HH", 6, 3), count=2)
    yield "three_values", directory(b"", count=3, outside=struct.pack("<HHH", 8, 3, 1))
    yield "no_values", directory(6, count=0)
    yield "values_outside_of_the_data", directory(struct.pack("<I", 9999), count=4)
    yield "many_values", directory(struct.pack("<I", 8), count=0xFFFFFFFF)
    yield "given_twice", directory(3, before=[(0x0112, 3, 1, 6)])
    yield "behind_others", directory(6, before=[(0x010E, 2, 4, b"abc\0"), (0x011A, 99, 1, b"")])
    yield "behind_a_broken_one", directory(6, before=[(0x010E, 2, 40, struct.pack("<I", 9999))])
    yield "without_it", directory(1, tag=0x0128)
    yield "cut_in_the_entry", directory(6)[:18]
    yield "no_room_for_entries", directory(6)[:8]
    yield "cut_in_the_head", directory(6)[:6]
    yield "more_entries_than_there_are", directory(6).replace(b"\x08\0\0\0\x01\0", b"\x08\0\0\0\xff\xff", 1)
    yield "no_tiff", b"nothing of the kind"
    yield "begins_twice", EXIF + directory(6)


def xmp_variants():
    yield "attribute", b'<x tiff:Orientation="6"/>'
    yield "element", b"<tiff:Orientation>8</tiff:Orientation>"
    yield "second_counts", b'tiff:Orientation=6 <x tiff:Orientation="3"/>'
    yield "no_digit", b'<x tiff:Orientation="a"/>'
    yield "without_it", b"<x/>"


def segment(content):
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def turned():
    """The same small picture in three formats, with every kind of note."""
    image = picture(6, 4)
    jpeg = cjpeg(image, "-quality", "90")
    rows = b"".join(b"\0" + row.tobytes() for row in np.asarray(image))
    start, end = b"\x89PNG\r\n\x1a\n" + header(*image.size), chunk(b"IEND", b"")
    pixels = chunk(b"IDAT", zlib.compress(rows))
    jpeg_with = lambda *notes: jpeg[:2] + b"".join(map(segment, notes)) + jpeg[2:]
    png_with = lambda *chunks: start + b"".join(chunks) + pixels + end

    def webp_with(**notes):
        content = io.BytesIO()
        image.save(content, "WEBP", lossless=True, **notes)
        return content.getvalue()

    for name, exif in exif_variants():
        yield f"exif_{name}.jpg", jpeg_with(EXIF + exif)
        yield f"exif_{name}.png", png_with(chunk(b"eXIf", exif))
    for value in range(1, 9):
        yield f"exif_orientation_{value}.webp", webp_with(exif=directory(value))
    for name, xmp in xmp_variants():
        yield f"xmp_{name}.jpg", jpeg_with(XMP + xmp)
        yield f"xmp_{name}.png", png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
        yield f"xmp_{name}.webp", webp_with(xmp=xmp)
    six, three = EXIF + directory(6), XMP + b'tiff:Orientation="3"'
    yield "exif_before_xmp.jpg", jpeg_with(three, six)
    yield "exif_without_it_before_xmp.jpg", jpeg_with(EXIF + directory(1, tag=0x0128), three)
    yield "exif_of_an_odd_kind_before_xmp.jpg", jpeg_with(EXIF + directory(6, 1), three)
    yield "exif_of_no_tiff_before_xmp.jpg", jpeg_with(EXIF + b"nothing", three)
    yield "exif_in_two.jpg", jpeg_with(six[:20], EXIF + six[20:])
    yield "xmp_twice.jpg", jpeg_with(XMP + b'tiff:Orientation="6"', three)
    yield "exif_behind_the_pixels.jpg", jpeg[:-2] + segment(six) + jpeg[-2:]
    yield "exif_behind_the_pixels.png", start + pixels + chunk(b"eXIf", directory(6)) + end
    yield "exif_behind_the_end.png", start + pixels + end + chunk(b"eXIf", directory(6))
    yield "exif_twice.png", png_with(chunk(b"eXIf", directory(6)), chunk(b"eXIf", directory(3)))
    raw = f"\nexif\n{len(six):8}\n{six.hex()[:40]}\n{six.hex()[40:]}\n".encode()
    for name, content in (("tEXt", b"\0" + raw), ("zTXt", b"\0\0" + zlib.compress(raw))):
        yield f"raw_exif_{name}.png", png_with(chunk(name.encode(), b"Raw profile type exif" + content))
    packed = zlib.compress(b'tiff:Orientation="6"')
    yield "xmp_packed.png", png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed))
    yield "xmp_as_plain_text.png", png_with(chunk(b"tEXt", b'XML:com.adobe.xmp\0tiff:Orientation="6"'))


def outcome(content):
    """What Pillow makes of a file: its pixels, and its pixels upright; None for what it refuses."""
    try:
        image = Image.open(io.BytesIO(content))
        pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError):
        return None, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        return pixels, np.asarray(upright.convert("RGB"))
    except (OSError, SyntaxError, ValueError, struct.error):
        # Damaged notes: exif_transpose fails, and nothing is turned.
        return pixels, pixels


def expectations(files):
    arrays = {}
    for name, content in sorted(files.items()):
        arrays[f"file/{name}"] = np.frombuffer(content, dtype=np.uint8)
        pixels, upright = outcome(content)
        if pixels is not None:
            arrays[f"pixels/{name}"] = pixels
            if not np.array_equal(pixels, upright):
                arrays[f"upright/{name}"] = upright
    return arrays


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the archive here instead of writing")
    if parser.parse_args().check:
        committed = dict(np.load(ARCHIVE))
        files = {name.removeprefix("file/"): content.tobytes() for name, content in committed.items() if name.startswith("file/")}
        expected = expectations(files)
        differ = {name for name in expected.keys() | committed.keys()
                  if name not in expected or name not in committed or not np.array_equal(expected[name], committed[name])}
        print(f"{len(files)} files, {len(expected)} arrays compared")
        sys.exit(f"these differ: {sorted(differ)}" if differ else 0)
    np.savez_compressed(ARCHIVE, **expectations(dict([*jpegs(), *pngs(), *turned()])))


if __name__ == "__main__":
    main()
