"""Makes `training/` again: losses, gradients and steps of the published code on one batch.

    python3 generate_training.py dm-adapter --checkout ../DM-Adapter [--out FOLDER | --check]
    python3 generate_training.py up-person  --checkout ../UP-Person  [--out FOLDER | --check]

Without --out the file here is overwritten. --check writes nothing and compares: inputs to the bit, losses, gradients and
parameters within what the tests of the trainer allow (lab/trainer/src/parity_tests.rs says why UP-Person's later steps are
chaos). The start is fixtures/NAME/best.pth. Modules, losses (model/objectives.py) and the optimiser (solver/build.py) are
the published ones; all arithmetic is float32, on the CPU.

Made with torch 2.15.0 and numpy 2.4.6; see published_models.py for what the checkouts need.
"""
import argparse
import io
import pathlib
import sys
import types

import numpy as np
import torch

import published_models

HERE = pathlib.Path(__file__).parent
SEEDS = {"dm-adapter": 21, "up-person": 22}
STEPS = 21
KEPT_STEPS = (1, 5)
PERSON_IDS = (1, 2, 3, 1, 4, 5, 2, 6)
TEXT_LENGTHS = range(7, 7 + 3 * len(PERSON_IDS), 3)
TEMPERATURE = 0.02
BALANCING_WEIGHT = 0.5
LEARNING_RATE = {"dm-adapter": 3e-4, "up-person": 1e-3}
# In the names of the parameters that the published train.py trains. DM-Adapter's has others, too, which nothing reads.
TRAINED = {
    "dm-adapter": ("feed_forward", "ln_3", "task_param"),
    "up-person": ("adapter", "scale_1", "scale_2", "prefix_learner", "LORA_learner"),
}


def load_model(name):
    """The fixture's model in float32, with only the method's own parameters trainable."""
    model = published_models.build(name)
    if name == "up-person":
        model.attach_prefixes()
        # The published code rounds prefixes and what LoRA adds to float16, as it trains on a GPU in mixed precision.
        torch.Tensor.half = torch.Tensor.float
    checkpoint = torch.load(HERE / "fixtures" / name / "best.pth", map_location="cpu", weights_only=False)
    model.float().load_state_dict(checkpoint["model"])
    for key, parameter in model.named_parameters():
        parameter.requires_grad_(any(part in key for part in TRAINED[name]) or ".attn.prefix." in key)
    return model.train()


def build_optimizer(name, model):
    """The published optimiser with the papers' settings: Adam, no weight decay on biases."""
    from solver.build import build_optimizer as published

    return published(types.SimpleNamespace(
        optimizer="Adam", lr=LEARNING_RATE[name], lr_factor=5.0, bias_lr_factor=2.0, alpha=0.9, beta=0.999,
        weight_decay=4e-5, weight_decay_bias=0.0,
    ), model)


def run(name):
    """Every array of the file, by name."""
    from model import objectives

    torch.manual_seed(SEEDS[name])
    pixels, token_ids = published_models.random_inputs(len(PERSON_IDS), 384, 128, TEXT_LENGTHS)
    person_ids = torch.tensor(PERSON_IDS)
    model = load_model(name)
    # DM-Adapter's names are those within its CLIP.
    trained = {key.removeprefix("base_model.") if name == "dm-adapter" else key: parameter
               for key, parameter in own_names(model) if parameter.requires_grad}
    optimizer = build_optimizer(name, model)
    arrays = {"pixels": pixels.numpy(), "token_ids": token_ids.numpy(), "person_ids": person_ids.numpy()}
    losses = []
    for step in range(STEPS):
        image_features, text_features, balancing = model(pixels, token_ids)
        loss = objectives.compute_sdm(image_features, text_features, person_ids, torch.tensor(1 / TEMPERATURE))
        if balancing is not None:
            loss = loss + BALANCING_WEIGHT * balancing
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            arrays |= {f"grad/{key}": parameter.grad.numpy().copy() for key, parameter in trained.items()}
        optimizer.step()
        if step + 1 in KEPT_STEPS:
            arrays |= {f"step{step + 1}/{key}": parameter.detach().numpy().copy() for key, parameter in trained.items()}
    arrays["loss"] = np.array(losses)
    return arrays


def own_names(model):
    """Parameters under their learners' names; an attached prefix is found in the tower, too."""
    return [(key, parameter) for key, parameter in model.named_parameters(remove_duplicate=False)
            if ".attn.prefix." not in key]


def compare(name, made, committed):
    """What differs by more than the tests allow, in words."""
    if list(made) != list(committed.files):
        yield f"other arrays: {sorted(set(made) ^ set(committed.files))[:4]}, or another order"
        return
    exact = sum(np.array_equal(made[key], committed[key]) for key in made)
    print(f"{name}: {exact} of {len(made)} arrays are the same to the bit")
    for key in ("pixels", "token_ids", "person_ids"):
        if not np.array_equal(made[key], committed[key]):
            yield f"{key} differ"
    compared, tolerance = (STEPS, 1e-4) if name == "dm-adapter" else (5, 1e-3)
    difference = np.abs(made["loss"] / committed["loss"] - 1)
    print(f"{name}: losses differ by {difference[:compared].max():.1e} in the first {compared} steps")
    if not difference[:compared].max() <= tolerance:
        yield "losses differ"

    def norm(values):
        return np.sqrt(sum(np.square(value, dtype=np.float64).sum() for value in values))

    def share(prefix, scale):
        keys = [key for key in made if key.startswith(prefix)]
        return norm(made[key] - committed[key] for key in keys) / norm(scale(key) for key in keys)

    start = dict(own_names(load_model(name)))
    if name == "dm-adapter":
        start = {key.removeprefix("base_model."): value for key, value in start.items()}

    def update(key):
        return committed[key] - start[key.split("/", 1)[1]].detach().numpy()

    later = 1e-3 if name == "dm-adapter" else 0.1
    for prefix, scale, allowed in (("grad/", lambda key: committed[key], 1e-3), ("step1/", update, 1e-2),
                                   ("step5/", update, later)):
        found = share(prefix, scale)
        print(f"{name}: {prefix}* differ by {found:.1e} of their norm (steps: of the update)")
        if not found <= allowed:
            yield f"{prefix}* differ"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=SEEDS)
    parser.add_argument("--checkout", required=True, help="folder of the published repository")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "training", help="where the file goes")
    parser.add_argument("--check", action="store_true", help="compare with the file here instead of writing")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    published_models.open_checkout(arguments.checkout)
    arrays = run(arguments.method)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    if not arguments.check:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / f"{arguments.method}.npz").write_bytes(file.getvalue())
        return
    path = HERE / "training" / f"{arguments.method}.npz"
    if path.read_bytes() == file.getvalue():
        print(f"{arguments.method}: the same to the byte")
        return
    committed = np.load(path)
    sys.exit("\n".join(compare(arguments.method, arrays, committed)) or 0)


if __name__ == "__main__":
    main()
