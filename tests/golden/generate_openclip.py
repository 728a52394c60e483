"""A small random model in OpenCLIP's layout, and what it gives, computed with nothing but Python's own floats.

    python3 generate_openclip.py            writes fixtures/openclip
    python3 generate_openclip.py --check    compares with it

OpenCLIP's arithmetic (open_clip/transformer.py) is spelled out in 64-bit floating point: GELU by the error function, heads
that are not 64 wide, a text tower in a module of its own (`CustomTextCLIP`). The weights are rounded to float32.
"""

import io
import json
import math
import random
import struct
import sys
import zipfile
from pathlib import Path

FOLDER = Path(__file__).parent / "fixtures/openclip"
PATCH, SIDE, CONTEXT, VOCABULARY, DIMENSION = 4, 12, 9, 23, 10
VISION = {"width": 24, "layers": 2, "heads": 3}
TEXT = {"width": 20, "layers": 2, "heads": 5}
CONFIG = {
    "model_cfg": {
        "embed_dim": DIMENSION,
        "custom_text": True,
        "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 24, "patch_size": PATCH, "head_width": 8},
        "text_cfg": {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": 20, "heads": 5, "layers": 2},
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.4, 0.3],
        "std": [0.25, 0.26, 0.27],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    },
}


def single(value):
    """The nearest float32."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def tensors(generator):
    """Names to (shape, flat values)."""
    found = {}

    def draw(name, *shape, scale=0.25, offset=0.0):
        count = math.prod(shape)
        found[name] = (shape, [single(offset + scale * generator.gauss(0, 1)) for _ in range(count)])

    def norm(name, width):
        draw(f"{name}.weight", width, offset=1.0)
        draw(f"{name}.bias", width)

    def blocks(prefix, width, layers):
        for layer in range(layers):
            block = f"{prefix}transformer.resblocks.{layer}"
            norm(f"{block}.ln_1", width)
            draw(f"{block}.attn.in_proj_weight", 3 * width, width)
            draw(f"{block}.attn.in_proj_bias", 3 * width)
            draw(f"{block}.attn.out_proj.weight", width, width)
            draw(f"{block}.attn.out_proj.bias", width)
            norm(f"{block}.ln_2", width)
            draw(f"{block}.mlp.c_fc.weight", 4 * width, width)
            draw(f"{block}.mlp.c_fc.bias", 4 * width)
            draw(f"{block}.mlp.c_proj.weight", width, 4 * width)
            draw(f"{block}.mlp.c_proj.bias", width)

    width = VISION["width"]
    draw("visual.conv1.weight", width, 3, PATCH, PATCH)
    draw("visual.class_embedding", width)
    draw("visual.positional_embedding", 1 + (SIDE // PATCH) ** 2, width)
    norm("visual.ln_pre", width)
    blocks("visual.", width, VISION["layers"])
    norm("visual.ln_post", width)
    draw("visual.proj", width, DIMENSION)
    width = TEXT["width"]
    draw("text.token_embedding.weight", VOCABULARY, width)
    draw("text.positional_embedding", CONTEXT, width)
    blocks("text.", width, TEXT["layers"])
    norm("text.ln_final", width)
    draw("text.text_projection", width, DIMENSION)
    draw("logit_scale")
    return found


class Model:
    def __init__(self, named):
        self.named = named

    def vector(self, name):
        return self.named[name][1]

    def rows(self, name):
        shape, values = self.named[name]
        width = math.prod(shape[1:])
        return [values[row * width : (row + 1) * width] for row in range(shape[0])]

    def linear(self, x, weight, bias):
        rows, bias = self.rows(weight), self.vector(bias)
        return [sum(a * b for a, b in zip(x, row)) + offset for row, offset in zip(rows, bias)]

    def norm(self, x, name):
        mean = sum(x) / len(x)
        variance = sum((value - mean) ** 2 for value in x) / len(x)
        scale = 1 / math.sqrt(variance + 1e-5)
        weight, bias = self.vector(f"{name}.weight"), self.vector(f"{name}.bias")
        return [(value - mean) * scale * w + b for value, w, b in zip(x, weight, bias)]

    def project(self, x, name):
        rows = self.rows(name)
        return [sum(x[i] * rows[i][column] for i in range(len(x))) for column in range(DIMENSION)]

    def transform(self, tokens, prefix, facts, is_causal):
        width, heads = facts["width"], facts["heads"]
        size = width // heads
        for layer in range(facts["layers"]):
            block = f"{prefix}transformer.resblocks.{layer}"
            normed = [self.norm(token, f"{block}.ln_1") for token in tokens]
            packed = [self.linear(x, f"{block}.attn.in_proj_weight", f"{block}.attn.in_proj_bias") for x in normed]
            attended = []
            for row, query in enumerate(packed):
                seen = packed[: row + 1] if is_causal else packed
                output = []
                for head in range(heads):
                    part = slice(head * size, (head + 1) * size)
                    key = slice(width + head * size, width + (head + 1) * size)
                    value = slice(2 * width + head * size, 2 * width + (head + 1) * size)
                    scores = [sum(a * b for a, b in zip(query[part], other[key])) / math.sqrt(size) for other in seen]
                    largest = max(scores)
                    weights = [math.exp(score - largest) for score in scores]
                    total = sum(weights)
                    for column in range(size):
                        output.append(sum(w * other[value][column] for w, other in zip(weights, seen)) / total)
                attended.append(output)
            out = f"{block}.attn.out_proj"
            changes = [self.linear(x, f"{out}.weight", f"{out}.bias") for x in attended]
            tokens = [[a + b for a, b in zip(x, y)] for x, y in zip(tokens, changes)]
            result = []
            for token in tokens:
                x = self.norm(token, f"{block}.ln_2")
                hidden = self.linear(x, f"{block}.mlp.c_fc.weight", f"{block}.mlp.c_fc.bias")
                hidden = [value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in hidden]
                change = self.linear(hidden, f"{block}.mlp.c_proj.weight", f"{block}.mlp.c_proj.bias")
                result.append([a + b for a, b in zip(token, change)])
            tokens = result
        return tokens

    def image(self, pixels):
        """pixels[channel][row][column]"""
        kernels, positions = self.rows("visual.conv1.weight"), self.rows("visual.positional_embedding")
        tokens = [self.vector("visual.class_embedding")]
        for top in range(0, SIDE, PATCH):
            for left in range(0, SIDE, PATCH):
                patch = [
                    pixels[channel][top + row][left + column]
                    for channel in range(3)
                    for row in range(PATCH)
                    for column in range(PATCH)
                ]
                tokens.append([sum(a * b for a, b in zip(patch, kernel)) for kernel in kernels])
        tokens = [[a + b for a, b in zip(token, position)] for token, position in zip(tokens, positions)]
        tokens = [self.norm(token, "visual.ln_pre") for token in tokens]
        tokens = self.transform(tokens, "visual.", VISION, False)
        return self.project(self.norm(tokens[0], "visual.ln_post"), "visual.proj")

    def text(self, ids):
        embedding, positions = self.rows("text.token_embedding.weight"), self.rows("text.positional_embedding")
        tokens = [[a + b for a, b in zip(embedding[token], position)] for token, position in zip(ids, positions)]
        tokens = self.transform(tokens, "text.", TEXT, True)
        end = ids.index(max(ids))
        return self.project(self.norm(tokens[end], "text.ln_final"), "text.text_projection")


def npy(kind, shape, values):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    body = struct.pack(f"<{len(values)}{'f' if kind == '<f4' else 'q'}", *values)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body


def npz(arrays):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), npy(*array))
    return content.getvalue()


def safetensors(named):
    header, body = {}, b""
    for name, (shape, values) in sorted(named.items()):
        part = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(body), len(body) + len(part)]}
        body += part
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def files():
    generator = random.Random(15)
    named = tensors(generator)
    model = Model(named)
    flat = [single(generator.gauss(0, 1)) for _ in range(3 * 3 * SIDE * SIDE)]
    take = iter(flat)
    images = [[[[next(take) for _ in range(SIDE)] for _ in range(SIDE)] for _ in range(3)] for _ in range(3)]
    start, end = VOCABULARY - 2, VOCABULARY - 1
    texts = []
    for length in [2, 3, 4, 5, 6, 7, 8, 9]:
        ids = [start] + [generator.randrange(1, start) for _ in range(length - 2)] + [end]
        texts.append(ids + [0] * (CONTEXT - length))
    image_features = [value for image in images for value in model.image(image)]
    text_features = [value for ids in texts for value in model.text(ids)]
    arrays = {
        "pixels": ("<f4", (3, 3, SIDE, SIDE), flat),
        "token_ids": ("<i8", (8, CONTEXT), [token for ids in texts for token in ids]),
        "image_features": ("<f4", (3, DIMENSION), image_features),
        "text_features": ("<f4", (8, DIMENSION), text_features),
    }
    return {
        "open_clip_config.json": (json.dumps(CONFIG, indent=2) + "\n").encode(),
        "open_clip_model.safetensors": safetensors(named),
        "io.npz": npz(arrays),
    }


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        path = FOLDER / name
        if "--check" not in sys.argv:
            path.write_bytes(content)
        elif path.read_bytes() != content:
            sys.exit(f"{path} differs")


main()
