"""Measures the same CLIP training step as this crate, in PyTorch: see src/main.rs.

    python3 lab/trainer/framework-comparison/pytorch_step.py demo
    python3 lab/trainer/framework-comparison/pytorch_step.py vit-b-16 4 --threads 2

Needs torch and numpy.
"""

import argparse
import math
import statistics
import time

import numpy
import torch
from torch import nn
from torch.nn import functional

HEAD_WIDTH = 64
TEMPERATURE = 0.02
LEARNING_RATE = 0.003
WARM_UP_STEPS = 2

# batch, embedding, and of each tower: width, tokens, blocks
SIZES = {
    "demo": (32, 128, (128, 25, 5), (128, 40, 3)),
    "vit-b-16": (8, 512, (768, 193, 12), (512, 40, 12)),
}


class Numbers:
    """Repeats src/numbers.rs: SplitMix64, so that every framework starts from the same weights."""

    def __init__(self) -> None:
        self.state = 20_260_401

    def weights(self, inputs: int, outputs: int) -> torch.Tensor:
        return self.uniform((inputs, outputs), math.sqrt(3.0 / inputs))

    def activations(self, *shape: int) -> torch.Tensor:
        return self.uniform(shape, math.sqrt(3.0))

    def uniform(self, shape: tuple, limit: float) -> torch.Tensor:
        count = math.prod(shape)
        bits = numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
        bits += numpy.uint64(self.state)
        self.state = int(bits[-1])
        bits = (bits ^ (bits >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        bits ^= bits >> numpy.uint64(31)
        fractions = (bits >> numpy.uint64(11)).astype(numpy.float64) / 2.0**53
        return torch.from_numpy(((fractions * 2.0 - 1.0) * limit).astype(numpy.float32)).reshape(shape)


def linear(inputs: int, outputs: int, numbers: Numbers) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        layer.weight.copy_(numbers.weights(inputs, outputs).T)
        layer.bias.zero_()
    return layer


class Block(nn.Module):
    def __init__(self, width: int, numbers: Numbers) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = linear(width, 3 * width, numbers)
        self.attention_output = linear(width, width, numbers)
        self.mlp_norm = nn.LayerNorm(width)
        self.widening = linear(width, 4 * width, numbers)
        self.narrowing = linear(4 * width, width, numbers)

    def forward(self, activations: torch.Tensor, causal: bool) -> torch.Tensor:
        activations = activations + self.attention(self.attention_norm(activations), causal)
        hidden = self.widening(self.mlp_norm(activations))
        return activations + self.narrowing(hidden * torch.sigmoid(1.702 * hidden))

    def attention(self, activations: torch.Tensor, causal: bool) -> torch.Tensor:
        batch, tokens, width = activations.shape
        query, key, value = (
            part.reshape(batch, tokens, width // HEAD_WIDTH, HEAD_WIDTH).transpose(1, 2)
            for part in self.query_key_value(activations).chunk(3, dim=-1)
        )
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return self.attention_output(attended.transpose(1, 2).reshape(batch, tokens, width))


class Tower(nn.Module):
    def __init__(self, width: int, blocks: int, embedding: int, causal: bool, numbers: Numbers) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(width, numbers) for _ in range(blocks)])
        self.projection = nn.Parameter(numbers.weights(width, embedding))
        self.causal = causal

    def forward(self, activations: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            activations = block(activations, self.causal)
        return activations[:, -1 if self.causal else 0] @ self.projection


def contrastive_loss(images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    logits = functional.normalize(images, dim=-1) @ functional.normalize(texts, dim=-1).T / TEMPERATURE
    targets = torch.arange(len(logits))
    return (functional.cross_entropy(logits, targets) + functional.cross_entropy(logits.T, targets)) / 2


def peak_memory() -> str:
    try:
        with open("/proc/self/status") as status:
            kibibytes = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
        return f"{int(kibibytes) / 1024:.0f} MiB"
    except (OSError, StopIteration):
        return "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures one CLIP training step in PyTorch.")
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("steps", type=int, nargs="?", default=10)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.steps < 1:
        parser.error("at least one step must be measured")
    torch.set_num_threads(arguments.threads)

    batch, embedding, vision_size, text_size = SIZES[arguments.size]
    numbers = Numbers()
    vision = Tower(vision_size[0], vision_size[2], embedding, False, numbers)
    text = Tower(text_size[0], text_size[2], embedding, True, numbers)
    images = numbers.activations(batch, vision_size[1], vision_size[0])
    texts = numbers.activations(batch, text_size[1], text_size[0])
    optimizer = torch.optim.SGD([*vision.parameters(), *text.parameters()], lr=LEARNING_RATE)

    times, losses = [], []
    for _ in range(WARM_UP_STEPS + arguments.steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = contrastive_loss(vision(images), text(texts))
        loss.backward()
        optimizer.step()
        times.append((time.perf_counter() - start) * 1e3)
        losses.append(loss.item())

    if not math.isfinite(losses[-1]) or losses[-1] >= losses[0]:
        raise SystemExit(f"the loss went from {losses[0]} to {losses[-1]}")
    measured = times[WARM_UP_STEPS:]
    print(
        f"pytorch {arguments.size}: median {statistics.median(measured):.1f} ms, minimum {min(measured):.1f} ms, "
        f"loss {losses[0]:.4f} to {losses[-1]:.4f}, peak memory {peak_memory()}"
    )


if __name__ == "__main__":
    main()
