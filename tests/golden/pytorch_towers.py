"""The published towers at inference, written out in PyTorch on a checkpoint's tensors: slow, literal, and any size.

It computes what the published DM-Adapter and UP-Person code computes, from the names and shapes in the checkpoint alone,
and so needs no checkout. `python3 pytorch_towers.py` shows that: it compares with the published outputs in fixtures/.

Needs torch, numpy, pyyaml and safetensors.
"""
import pathlib
import re
import sys

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).parent
HEAD_WIDTH = 64
# What DM-Adapter multiplies its mixtures by.
VISION_MIXTURE_SCALE, TEXT_MIXTURE_SCALE = 0.1, 4.0


def load(path):
    """The tensors of a .pth or .safetensors file in float32, without the prefix of the published class."""
    if str(path).endswith(".safetensors"):
        from safetensors.torch import load_file

        tensors = load_file(path)
    else:
        tensors = torch.load(path, map_location="cpu", weights_only=False)["model"]
    return {re.sub(r"^base_model\.", "", key): value.float() for key, value in tensors.items()}


def load_settings(path):
    """The settings beside a checkpoint, which hold Python tuples."""
    import yaml

    return yaml.load(path.read_text(), Loader=yaml.FullLoader)


def layer_norm(values, weights, name):
    return F.layer_norm(values, values.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-5)


def linear(values, weights, name):
    return F.linear(values, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def adapter(values, weights, name):
    """A bottleneck without a residual connection of its own."""
    return linear(F.relu(linear(values, weights, f"{name}.down")), weights, f"{name}.up")


def rounded_to_half(values):
    """UP-Person adds LoRA's products in float16, and keeps prefixes in it."""
    return values.half().float()


def mixture(values, weights, block, top_k):
    """DM-Adapter's sparse mixture of adapters, routed by the token and the block's domain prompt. [batch, tokens, width]"""
    moe = f"{block}.feed_forward"
    alpha = weights[f"{moe}.alpha"]
    prompt_logits = F.linear(weights[f"{block}.task_param"], weights[f"{moe}.task_gate.weight"])
    logits = (1 - alpha) * F.linear(values, weights[f"{moe}.input_gate.weight"]) + alpha * prompt_logits
    best, chosen = logits.topk(top_k, dim=-1)
    gates = torch.zeros_like(logits).scatter(-1, chosen, best.softmax(-1))
    experts = [adapter(values, weights, f"{moe}.experts.{index}") for index in range(logits.shape[-1])]
    return (torch.stack(experts, -1) * gates.unsqueeze(-2)).sum(-1)


def low_rank(weights, name):
    """What UP-Person's LoRA adds to the key's and the value's projection, or None."""
    if f"{name}.lora_A.0" not in weights:
        return None
    return [rounded_to_half(weights[f"{name}.scale.{index}.scale"]
                            * (weights[f"{name}.lora_B.{index}"] @ weights[f"{name}.lora_A.{index}"])) for index in (0, 1)]


def attention(values, weights, name, causal, lora, prefix):
    """Multi-head attention, with UP-Person's LoRA and prefix if `lora` and `prefix` (a name) are there."""
    batch, tokens, width = values.shape
    projection = weights[f"{name}.in_proj_weight"].clone()
    if lora is not None:
        projection[width:2 * width] += lora[0]
        projection[2 * width:] += lora[1]
    query, key, value = F.linear(values, projection, weights[f"{name}.in_proj_bias"]).chunk(3, -1)
    mask = torch.full((tokens, tokens), -torch.inf).triu(1) if causal else torch.zeros(tokens, tokens)
    length = 0
    if f"{prefix}.key.tokens" in weights:
        learned = [rounded_to_half(weights[f"{prefix}.{part}.tokens"] * weights[f"{prefix}.{part}.scaler.scale"])
                   for part in ("key", "val")]
        length = len(learned[0])
        key = torch.cat([learned[0].expand(batch, -1, -1), key], 1)
        value = torch.cat([learned[1].expand(batch, -1, -1), value], 1)
        # Every position sees the whole prefix.
        mask = torch.cat([torch.zeros(tokens, length), mask], 1)
    heads = width // HEAD_WIDTH
    query, key, value = (part.reshape(batch, -1, heads, HEAD_WIDTH).transpose(1, 2) for part in (query, key, value))
    shares = (query @ key.transpose(-1, -2) * HEAD_WIDTH ** -0.5 + mask).softmax(-1)
    if length:
        # S-Prefix scales the prefix's shares after the softmax.
        shares = torch.cat([shares[..., :length] * weights[f"{prefix}.scale_to_grad"], shares[..., length:]], -1)
    return linear((shares @ value).transpose(1, 2).reshape(batch, tokens, width), weights, f"{name}.out_proj")


def transformer(values, weights, root, lora, prefix, causal, top_k):
    """All blocks of a tower. `lora` and `prefix`: names of UP-Person's learners for it. [batch, tokens, width]"""
    mixture_scale = TEXT_MIXTURE_SCALE if causal else VISION_MIXTURE_SCALE
    index = 0
    while f"{root}.resblocks.{index}.ln_1.weight" in weights:
        block = f"{root}.resblocks.{index}"
        normed = layer_norm(values, weights, f"{block}.ln_1")
        if f"{block}.scale_1" in weights:
            normed = normed + weights[f"{block}.scale_1"] * adapter(values, weights, f"{block}.adapter_ln_msa")
        values = values + attention(normed, weights, f"{block}.attn", causal, low_rank(weights, f"{lora}.{index}"),
                                    f"{prefix}.{index}")
        normed = layer_norm(values, weights, f"{block}.ln_2")
        if f"{block}.scale_2" in weights:
            normed = normed + weights[f"{block}.scale_2"] * adapter(values, weights, f"{block}.adapter_ln_mlp")
        hidden = linear(normed, weights, f"{block}.mlp.c_fc")
        output = linear(hidden * torch.sigmoid(1.702 * hidden), weights, f"{block}.mlp.c_proj")
        if f"{block}.feed_forward.alpha" in weights:
            mixed = mixture(layer_norm(values, weights, f"{block}.ln_3"), weights, block, top_k)
            output = output + mixture_scale * mixed
        values = values + output
        index += 1
    return values


def encode_images(pixels, weights, stride, top_k):
    """Normalised float32 pixels, [batch, 3, height, width], to features, [batch, embedding], of any length."""
    values = F.conv2d(pixels, weights["visual.conv1.weight"], stride=stride).flatten(2).transpose(1, 2)
    values = torch.cat([weights["visual.class_embedding"].expand(len(values), 1, -1), values], 1)
    values = layer_norm(values + weights["visual.positional_embedding"], weights, "visual.ln_pre")
    values = transformer(values, weights, "visual.transformer", "LORA_learner.lora_image",
                         "vit_prefix_learner.vit_prefix", False, top_k)
    return (layer_norm(values, weights, "visual.ln_post") @ weights["visual.proj"])[:, 0]


def encode_texts(token_ids, weights, top_k):
    """Token ids padded with zeros, [batch, context length] int64, to features, [batch, embedding], of any length."""
    values = F.embedding(token_ids, weights["token_embedding.weight"])
    values = values + weights["positional_embedding"][:token_ids.shape[1]]
    values = transformer(values, weights, "transformer", "LORA_learner.lora_text", "text_prefix_learner.text_prefix",
                         True, top_k)
    values = layer_norm(values, weights, "ln_final") @ weights["text_projection"]
    # The end of a text has the highest id.
    return values[torch.arange(len(values)), token_ids.argmax(-1)]


def main():
    torch.set_num_threads(1)
    largest = 0.0
    for name in ("dm-adapter", "dm-adapter-half", "up-person"):
        folder = HERE / "fixtures" / name
        weights, settings = load(folder / "best.pth"), load_settings(folder / "configs.yaml")
        published = np.load(folder / "io.npz")
        top_k = settings.get("topk", 2)
        with torch.no_grad():
            images = encode_images(torch.from_numpy(published["pixels"]), weights, settings["stride_size"], top_k)
            texts = encode_texts(torch.from_numpy(published["token_ids"]), weights, top_k)
        for what, found in (("image_features", images), ("text_features", texts)):
            difference = np.abs(found.numpy() - published[what]).max() / np.abs(published[what]).max()
            print(f"{name}: {what} differ by {difference:.1e} of the largest magnitude")
            largest = max(largest, difference)
    sys.exit(0 if largest <= 2e-5 else "these are not the published towers")


if __name__ == "__main__":
    main()
