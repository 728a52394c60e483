"""The published retrieval models in the small sizes of `fixtures/`, imported from checkouts of their repositories.

Nothing of their code is copied: `open_checkout` puts a checkout first on the module path, and the classes below only call
its constructors with other sizes. The published constructors of the whole models (`model.build.IRRA`) can't be used: they
download OpenAI's CLIP and hold its widths (512 and 768) and its 12 blocks as constants.

    DM-Adapter    https://github.com/Liu-Yating/DM-Adapter    model/clip_model.py, model/moe.py, model/objectives.py
    UP-Person     https://github.com/Liu-Yating/UP-Person     model/clip_model.py, model/build.py (KVLoRA), model/Prefix.py,
                                                              model/objectives.py

Both name their packages `model` and `solver`, so a process opens one checkout only.

Needs torch, numpy, and what the checkouts import: ftfy, regex, tqdm, simple-parsing (DM-Adapter), timm (UP-Person).
"""
import pathlib
import sys

import torch
from torch import nn

CONTEXT_LENGTH = 77
VOCABULARY = 512
EMBEDDING = 64
# Heads are 64 wide in both papers.
VISION = dict(vision_width=128, vision_patch_size=16, stride_size=16)
TEXT = dict(transformer_width=64, transformer_heads=1, context_length=CONTEXT_LENGTH, vocab_size=VOCABULARY)


def open_checkout(path):
    """Makes the modules of a checkout importable as its own scripts import them."""
    checkout = pathlib.Path(path).resolve()
    if not (checkout / "model" / "clip_model.py").is_file():
        raise SystemExit(f"{checkout} is no checkout of DM-Adapter or UP-Person: it has no model/clip_model.py")
    sys.path.insert(0, str(checkout))


class DmAdapter(nn.Module):
    """CLIP with mixtures of adapters, under the name that the published code saves it by."""

    def __init__(self, image_size, vision_layers, text_layers, experts, top_k, reduction):
        super().__init__()
        from model.clip_model import CLIP

        self.base_model = CLIP(
            embed_dim=EMBEDDING, image_resolution=image_size, vision_layers=vision_layers, transformer_layers=text_layers,
            num_experts=experts, topk=top_k, reduction=reduction, **VISION, **TEXT,
        )

    def forward(self, pixels, token_ids):
        """Features of images and texts, [batch, 64] each, and the load balancing loss of both towers."""
        images, texts, balancing = self.base_model(pixels, token_ids)
        return images[:, 0].float(), end_of_text(texts, token_ids), balancing


class UpPerson(nn.Module):
    """CLIP with adapters, and LoRA and prefixes in learners beside it."""

    def __init__(self, image_size, layers, rank, prefix_length, depth_lora, depth_prefix, depth_adapter):
        super().__init__()
        from model.build import KVLoRA
        from model.clip_model import CLIP
        from model.Prefix import Prefix

        self.depths = (depth_lora, depth_prefix, depth_adapter)
        self.prefix_length = prefix_length
        self.base_model = CLIP(
            embed_dim=EMBEDDING, image_resolution=image_size, vision_layers=layers, transformer_layers=layers,
            depth=self.depths, **VISION, **TEXT,
        )
        vision_width, text_width = VISION["vision_width"], TEXT["transformer_width"]

        def prefixes(width):
            return nn.ModuleList([Prefix(length=prefix_length, dim=width) for _ in range(depth_prefix)])

        def low_rank(width):
            return nn.ModuleList([KVLoRA(width, width, rank=rank, scale=1.0) for _ in range(depth_lora)])

        self.vit_prefix_learner = nn.Module()
        self.vit_prefix_learner.vit_prefix = prefixes(vision_width)
        self.text_prefix_learner = nn.Module()
        self.text_prefix_learner.text_prefix = prefixes(text_width)
        self.LORA_learner = nn.Module()
        self.LORA_learner.lora_text = low_rank(text_width)
        self.LORA_learner.lora_image = low_rank(vision_width)

    def attach_prefixes(self):
        """As the published evaluation and training do before they encode; a saved model names the prefixes twice then."""
        towers = (
            (self.base_model.visual.transformer, self.vit_prefix_learner.vit_prefix),
            (self.base_model.transformer, self.text_prefix_learner.text_prefix),
        )
        for transformer, learned in towers:
            for block, prefix in zip(transformer.resblocks, learned):
                block.attn.attach_prefix(prefix)

    def forward(self, pixels, token_ids):
        """As `DmAdapter.forward`; without mixtures nothing is balanced."""
        self.attach_prefixes()
        image_lora = [learned() for learned in self.LORA_learner.lora_image]
        text_lora = [learned() for learned in self.LORA_learner.lora_text]
        images = self.base_model.encode_image(pixels, image_lora, self.depths)
        texts = self.base_model.encode_text(token_ids, text_lora, self.prefix_length, self.depths)
        return images[:, 0].float(), end_of_text(texts, token_ids), None


def end_of_text(texts, token_ids):
    """The feature at each text's end, whose token has the highest id."""
    return texts[torch.arange(len(texts)), token_ids.argmax(dim=-1)].float()


def random_inputs(images, height, width, text_lengths):
    """Normally distributed pixels, [images, 3, height, width] float32, and texts, [texts, 77] int64, padded with zeros."""
    pixels = torch.randn(images, 3, height, width)
    token_ids = torch.zeros(len(text_lengths), CONTEXT_LENGTH, dtype=torch.int64)
    for row, length in zip(token_ids, text_lengths):
        # The last two ids open and close a text; the one before them masks.
        row[0], row[length - 1] = VOCABULARY - 2, VOCABULARY - 1
        row[1:length - 1] = torch.randint(1, VOCABULARY - 3, (length - 2,))
    return pixels, token_ids


def build(name):
    """The model of a fixture, with the published code's own initial values."""
    if name == "dm-adapter":
        return DmAdapter((384, 128), vision_layers=3, text_layers=3, experts=6, top_k=2, reduction=8)
    if name == "dm-adapter-half":
        return DmAdapter((256, 128), vision_layers=2, text_layers=4, experts=4, top_k=2, reduction=4)
    return UpPerson((384, 128), layers=3, rank=8, prefix_length=10, depth_lora=3, depth_prefix=3, depth_adapter=0)
