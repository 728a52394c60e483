"""Makes `demo/` again: what PyTorch computes for the demo's gallery from the checkpoints in `demo/` of the repository.

    python3 generate_demo.py [--demo FOLDER] [--out FOLDER | --check]

NAME.npz holds the L2-normalised embeddings of the first 50 images and captions, NAME.json what the whole gallery reaches.
Without --out the files here are overwritten: to do after `demo/adopt-models.sh` took other models over. --check writes
nothing, and fails unless embeddings are within 1e-5 and percentages within 1e-6 of the files here.

The towers are those of pytorch_towers.py, which repeats the published code. Made with torch 2.15.0, Pillow 13.0.0,
tokenizers 0.23.3 and numpy 2.4.6, on one thread.
"""
import argparse
import io
import json
import pathlib
import sys

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer

import pytorch_towers

HERE = pathlib.Path(__file__).parent
NAMES = ("dm_adapter", "up_person")
KEPT = 50
# CLIP's normalisation.
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STANDARD_DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
EMBEDDING_TOLERANCE, PERCENTAGE_TOLERANCE = 1e-5, 1e-6


def read_pixels(paths, height, width):
    """Normalised float32 pixels, [images, 3, height, width]."""
    images = [Image.open(path).convert("RGB").resize((width, height), Image.Resampling.BILINEAR) for path in paths]
    samples = np.stack([np.asarray(image) for image in images]).astype(np.float32) / 255
    return torch.from_numpy(((samples - MEAN) / STANDARD_DEVIATION).transpose(0, 3, 1, 2).copy())


def read_token_ids(tokenizer, captions, context_length):
    """Token ids, [captions, context length] int64: padded with zeros, or cut before the end of the text."""
    token_ids = torch.zeros(len(captions), context_length, dtype=torch.int64)
    for row, caption in zip(token_ids, captions):
        ids = tokenizer.encode(caption).ids
        if len(ids) > context_length:
            ids = ids[:context_length - 1] + ids[-1:]
        row[:len(ids)] = torch.tensor(ids)
    return token_ids


def measure(images, texts, image_people, text_people):
    """Rank-k, mAP and mINP in percent, of texts that search images."""
    order = np.argsort(-(texts @ images.T), axis=1, kind="stable")
    hits = image_people[order] == text_people[:, None]
    found = hits.cumsum(1)
    places = [np.nonzero(row)[0] for row in hits]
    precision = [(np.arange(1, len(place) + 1) / (place + 1)).mean() for place in places]
    hardest = [len(place) / (place[-1] + 1) for place in places]
    percentages = {f"rank{k}": (found[:, k - 1] > 0).mean() for k in (1, 5, 10)}
    percentages |= {"map": np.mean(precision), "minp": np.mean(hardest)}
    return {key: 100 * float(value) for key, value in percentages.items()} | {"queries": len(texts), "gallery": len(images)}


def make(demo, name):
    """The embeddings to keep, and the percentages, of one model."""
    weights = pytorch_towers.load(demo / f"{name}.safetensors")
    settings = pytorch_towers.load_settings(demo / f"{name}.yaml")
    entries = json.loads((demo / "gallery" / "reid_raw.json").read_text())
    captions = [(caption, entry["id"]) for entry in entries for caption in entry["captions"]]
    paths = [demo / "gallery" / "imgs" / entry["file_path"] for entry in entries]
    tokenizer = Tokenizer.from_file(str(demo / "tokenizer.json"))
    token_ids = read_token_ids(tokenizer, [text for text, _ in captions], len(weights["positional_embedding"]))
    top_k = settings.get("topk", 2)
    with torch.no_grad():
        pixels = read_pixels(paths, *settings["img_size"])
        images = pytorch_towers.encode_images(pixels, weights, settings["stride_size"], top_k)
        texts = pytorch_towers.encode_texts(token_ids, weights, top_k)
        images, texts = (torch.nn.functional.normalize(features, dim=1).numpy() for features in (images, texts))
    people = np.array([entry["id"] for entry in entries]), np.array([person for _, person in captions])
    return {"images": images[:KEPT], "texts": texts[:KEPT]}, measure(images, texts, *people)


def differences(name, arrays, percentages):
    """What is wrong with the files here, in words."""
    committed = np.load(HERE / "demo" / f"{name}.npz")
    for key, values in arrays.items():
        difference = np.abs(values - committed[key]).max()
        print(f"{name}: {key} differ by {difference:.1e}")
        if not difference <= EMBEDDING_TOLERANCE:
            yield f"{name}: {key} differ"
    committed = json.loads((HERE / "demo" / f"{name}.json").read_text())
    for key, value in percentages.items():
        if not abs(value - committed[key]) <= PERCENTAGE_TOLERANCE:
            yield f"{name}: {key} is {value}, not {committed[key]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=pathlib.Path, default=HERE / ".." / ".." / "demo", help="folder of the demo")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "demo", help="where the files go")
    parser.add_argument("--check", action="store_true", help="compare with the files here instead of writing")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    faults = []
    for name in NAMES:
        arrays, percentages = make(arguments.demo, name)
        if arguments.check:
            faults += differences(name, arrays, percentages)
            continue
        arguments.out.mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        np.savez(file, **arrays)
        (arguments.out / f"{name}.npz").write_bytes(file.getvalue())
        (arguments.out / f"{name}.json").write_text(json.dumps(percentages, indent=1) + "\n")
    sys.exit("\n".join(faults) or 0)


if __name__ == "__main__":
    main()
