"""Makes `images/`, `images_384x128.npz` and `captions.json` again.

    python3 generate.py --checkout ../UP-Person [--out FOLDER | --check]

The images are drawn people (`people/`, see provenance.toml) in awkward sizes and file formats, and their pixels what Pillow
gives for them. The texts of captions.json are its own; their ids come from the published tokenizer: --checkout is a folder
with utils/simple_tokenizer.py and data/bpe_simple_vocab_16e6.txt.gz as IRRA, DM-Adapter and UP-Person have them. Without
it the captions are left alone.

Without --out the files here are overwritten. --check writes nothing, and fails unless they are the same: the image files
and captions to the byte, the pixels (which then come from the files that are here) to the bit. Another version of Pillow
or of its libraries writes other files; the check then says so, and still compares the pixels.

Made with Pillow 13.0.0, numpy 2.4.6, ftfy 6.3.1 and regex 2026.11.19.
"""
import argparse
import io
import json
import pathlib
import sys

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent
PEOPLE = ("p1399_c3_0", "p1490_c5_1", "p1432_c1_1", "p1334_c0_3", "p1433_c2_1", "p1500_c1_2", "p1444_c2_2", "p1353_c5_1")
HEIGHT, WIDTH = 384, 128
CONTEXT_LENGTH = 77
ROTATED_BY_EXIF = {0x0112: 6}


def person(index, width, height):
    """A drawn person, 128x384 in the file, resized without keeping the aspect ratio."""
    return Image.open(HERE / "people" / f"{PEOPLE[index]}.jpg").convert("RGB").resize((width, height))


def encoded(image, format, **settings):
    file = io.BytesIO()
    image.save(file, format, **settings)
    return file.getvalue()


def make_images():
    """The image files' content by name: `q` is JPEG's quality, `s` its chroma subsampling."""
    exif = Image.Exif()
    exif.update(ROTATED_BY_EXIF)
    translucent = person(0, 64, 256).convert("RGBA")
    # From transparent at the top to opaque: the alpha channel must be dropped, not applied.
    translucent.putalpha(Image.linear_gradient("L").resize(translucent.size))
    return {
        "00_q75_s2.jpg": encoded(person(0, 97, 96), "JPEG", quality=75, subsampling=2),
        "01_q95_s0.jpg": encoded(person(1, 97, 250), "JPEG", quality=95, subsampling=0),
        "02_q30_s1.jpg": encoded(person(2, 128, 777), "JPEG", quality=30, subsampling=1),
        "03_q88_s2.jpg": encoded(person(3, 48, 777), "JPEG", quality=88, subsampling=2),
        "04_progressive.jpg": encoded(person(4, 97, 300), "JPEG", quality=85, progressive=True),
        "05_gray.jpg": encoded(person(5, 97, 210).convert("L"), "JPEG", quality=85),
        "06_cmyk.jpg": encoded(person(6, 311, 256).convert("CMYK"), "JPEG", quality=90),
        "07_exif6.jpg": encoded(person(7, 256, 128), "JPEG", quality=90, exif=exif),
        "08_rgba.png": encoded(translucent, "PNG"),
        "09_palette.png": encoded(person(1, 97, 180).quantize(), "PNG"),
        "10_gray.png": encoded(person(2, 64, 222).convert("L"), "PNG"),
        "11_rgb.png": encoded(person(3, 33, 240), "PNG"),
        "12_lossless.webp": encoded(person(4, 128, 240), "WEBP", lossless=True),
        "13_rgb.bmp": encoded(person(5, 128, 240), "BMP"),
        "14_1x1.png": encoded(person(6, 1, 1), "PNG"),
        "15_wide.png": encoded(person(7, 700, 40), "PNG"),
    }


def make_pixels(files):
    """What the papers' data loaders give a tower before normalisation. Orientation in EXIF is not applied there."""
    images = [Image.open(io.BytesIO(content)).convert("RGB") for _, content in sorted(files.items())]
    return {
        "names": np.array(sorted(files)),
        "pixels": np.stack([np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)) for image in images]),
    }


def make_captions(checkout):
    """The content of captions.json, with ids padded with zeros, or cut before the end of the text."""
    sys.path.insert(0, str(pathlib.Path(checkout).resolve()))
    from utils.simple_tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    captions = json.loads((HERE / "captions.json").read_text())
    for caption in captions:
        start, end = tokenizer.encoder["<|startoftext|>"], tokenizer.encoder["<|endoftext|>"]
        ids = [start, *tokenizer.encode(caption["text"])][:CONTEXT_LENGTH - 1] + [end]
        caption["ids"] = ids + [0] * (CONTEXT_LENGTH - len(ids))
    return json.dumps(captions, ensure_ascii=False).encode()


def check(images, captions):
    """Compares with the files here; what is wrong, in words."""
    committed = {path.name: path.read_bytes() for path in (HERE / "images").iterdir()}
    if sorted(committed) != sorted(images):
        yield f"images/ has other files: {sorted(committed.keys() ^ images.keys())}"
    others = [name for name in images if images[name] != committed.get(name)]
    yield from (f"images/{name} is not what this Pillow writes" for name in others)
    expected = np.load(HERE / "images_384x128.npz")
    for key, values in make_pixels(committed).items():
        if not np.array_equal(values, expected[key]):
            yield f"images_384x128.npz: {key} differ"
    if captions is not None and captions != (HERE / "captions.json").read_bytes():
        yield "captions.json: other ids"
    compared = "without captions" if captions is None else "with captions"
    print(f"{len(images) - len(others)} of {len(images)} image files are the same; pixels compared, {compared}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", help="folder of IRRA, DM-Adapter or UP-Person, for captions.json")
    parser.add_argument("--out", type=pathlib.Path, default=HERE, help="where the files go")
    parser.add_argument("--check", action="store_true", help="compare with the files here instead of writing")
    arguments = parser.parse_args()

    images = make_images()
    captions = None if arguments.checkout is None else make_captions(arguments.checkout)
    if arguments.check:
        sys.exit("\n".join(check(images, captions)) or 0)
    (arguments.out / "images").mkdir(parents=True, exist_ok=True)
    for name, content in images.items():
        (arguments.out / "images" / name).write_bytes(content)
    np.savez_compressed(arguments.out / "images_384x128.npz", **make_pixels(images))
    if captions is not None:
        (arguments.out / "captions.json").write_bytes(captions)


if __name__ == "__main__":
    main()
