"""PyTorch's time for a training step: the towers of tests/golden/pytorch_towers.py with gradients, the papers' matching loss
and Adam, on random weights, images and captions. Prints JSON.

What is compared is `descry bench train` with the same sizes. Attention and mixtures are written out, as they are there;
torch.compile and fused attention are not used, so this is what published code of this kind takes.
"""
import argparse
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"))

# (width, layers) of both towers, patch, image, context, words, embedding.
SIZES = {
    False: {"vision": (768, 12), "text": (512, 12), "patch": 16, "image": (384, 128), "context": 77, "words": 49408,
            "embedding": 512},
    True: {"vision": (128, 2), "text": (64, 2), "patch": 16, "image": (64, 32), "context": 16, "words": 64,
           "embedding": 32},
}
EXPERTS, TOP_K, REDUCTION, RANK, PREFIX = 6, 2, 8, 32, 10
TRAINED = {"dm-adapter": ("feed_forward", "ln_3", "task_param"),
           "up-person": ("adapter", "scale_1", "scale_2", "prefix_learner", "LORA_learner")}
TEMPERATURE, LEARNING_RATE = 0.02, 1e-4


class Weights(dict):
    """Random tensors by their names in checkpoints."""

    def __init__(self, torch, method, size):
        super().__init__()
        self.torch = torch
        (height, width), patch = size["image"], size["patch"]
        vision, text = size["vision"][0], size["text"][0]
        self.random("visual.conv1.weight", vision, 3, patch, patch)
        self.random("visual.class_embedding", vision)
        self.random("visual.positional_embedding", 1 + (height // patch) * (width // patch), vision)
        for name in ("visual.ln_pre", "visual.ln_post"):
            self.norm(name, vision)
        self.random("visual.proj", vision, size["embedding"])
        self.random("token_embedding.weight", size["words"], text)
        self.random("positional_embedding", size["context"], text)
        self.norm("ln_final", text)
        self.random("text_projection", text, size["embedding"])
        for root, (tower_width, layers), kind in (("visual.transformer", size["vision"], ("image", "vit")),
                                                  ("transformer", size["text"], ("text", "text"))):
            for layer in range(layers):
                self.block(method, root, layer, tower_width, kind)

    def random(self, name, *shape):
        self[name] = self.torch.randn(shape) * shape[-1] ** -0.5

    def linear(self, name, inputs, outputs, bias=True):
        self.random(f"{name}.weight", outputs, inputs)
        if bias:
            self[f"{name}.bias"] = self.torch.zeros(outputs)

    def norm(self, name, width):
        self[f"{name}.weight"], self[f"{name}.bias"] = self.torch.ones(width), self.torch.zeros(width)

    def adapter(self, name, width):
        self.linear(f"{name}.down", width, width // REDUCTION)
        self.linear(f"{name}.up", width // REDUCTION, width)

    def block(self, method, root, layer, width, kind):
        block = f"{root}.resblocks.{layer}"
        for name in ("ln_1", "ln_2"):
            self.norm(f"{block}.{name}", width)
        self.random(f"{block}.attn.in_proj_weight", 3 * width, width)
        self[f"{block}.attn.in_proj_bias"] = self.torch.zeros(3 * width)
        self.linear(f"{block}.attn.out_proj", width, width)
        self.linear(f"{block}.mlp.c_fc", width, 4 * width)
        self.linear(f"{block}.mlp.c_proj", 4 * width, width)
        if method == "dm-adapter":
            self.norm(f"{block}.ln_3", width)
            self.random(f"{block}.task_param", width)
            self[f"{block}.feed_forward.alpha"] = self.torch.tensor(0.5)
            for gate in ("input_gate", "task_gate"):
                self.linear(f"{block}.feed_forward.{gate}", width, EXPERTS, bias=False)
            for expert in range(EXPERTS):
                self.adapter(f"{block}.feed_forward.experts.{expert}", width)
            return
        lora, prefix = f"LORA_learner.lora_{kind[0]}.{layer}", f"{kind[1]}_prefix_learner.{kind[1]}_prefix.{layer}"
        for index in (0, 1):
            self.random(f"{lora}.lora_A.{index}", RANK, width)
            self.random(f"{lora}.lora_B.{index}", width, RANK)
            self[f"{lora}.scale.{index}.scale"] = self.torch.tensor(1.0)
        for part in ("key", "val"):
            self.random(f"{prefix}.{part}.tokens", PREFIX, width)
            self[f"{prefix}.{part}.scaler.scale"] = self.torch.tensor(1.0)
        self[f"{prefix}.scale_to_grad"] = self.torch.tensor(1.0)
        for name in ("adapter_ln_msa", "adapter_ln_mlp"):
            self.adapter(f"{block}.{name}", width)
        self[f"{block}.scale_1"], self[f"{block}.scale_2"] = self.torch.tensor(0.1), self.torch.tensor(0.1)


def matching_loss(torch, images, texts, identities):
    """Similarity distribution matching, both ways."""
    functional = torch.nn.functional
    images, texts = functional.normalize(images.float(), dim=-1), functional.normalize(texts.float(), dim=-1)
    right = (identities[:, None] == identities[None]).float()
    right = right / right.sum(1, keepdim=True)

    def one_way(logits):
        found = logits.softmax(1)
        return (found * (logits.log_softmax(1) - (right + 1e-8).log())).sum(1).mean()

    logits = images @ texts.T / TEMPERATURE
    return one_way(logits) + one_way(logits.T)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--method", choices=tuple(TRAINED), required=True)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--pairs", type=int, required=True)
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    try:
        import pytorch_towers
        import torch
    except ImportError as error:
        sys.exit(f"PyTorch was not measured: {error}")
    # As in our own products: float32 means float32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.set_default_device(arguments.device)
    torch.manual_seed(0)
    size = SIZES[arguments.small]
    weights = Weights(torch, arguments.method, size)
    for name, value in weights.items():
        value.requires_grad_(any(part in name for part in TRAINED[arguments.method]))
    trained = [value for value in weights.values() if value.requires_grad]
    adam = torch.optim.Adam(trained, lr=LEARNING_RATE)
    tokens = min(arguments.tokens, size["context"])
    pixels = torch.randn(arguments.pairs, 3, *size["image"])
    token_ids = torch.randint(1, size["words"] - 3, (arguments.pairs, tokens))
    token_ids[:, -1] = size["words"] - 1
    identities = torch.arange(arguments.pairs) // 2
    autocast = torch.autocast(arguments.device, torch.bfloat16, enabled=arguments.precision == "bfloat16")
    step_ms, loss = [], None
    for step in range(arguments.steps + 1):
        begun = time.perf_counter()
        with autocast:
            images = pytorch_towers.encode_images(pixels, weights, size["patch"], TOP_K)
            texts = pytorch_towers.encode_texts(token_ids, weights, TOP_K)
        loss = matching_loss(torch, images, texts, identities)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        if arguments.device == "cuda":
            torch.cuda.synchronize()
        if step > 0:
            step_ms.append((time.perf_counter() - begun) * 1e3)
    print(json.dumps({"step_ms": step_ms, "last_loss": float(loss), "torch": torch.__version__,
                      "trained_parameters": sum(value.numel() for value in trained)}))


if __name__ == "__main__":
    main()
