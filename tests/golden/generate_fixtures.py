"""Makes `fixtures/` again: small random checkpoints in the published formats, and what the published code gives for them.

    python3 generate_fixtures.py dm-adapter      --checkout ../DM-Adapter [--out FOLDER | --check]
    python3 generate_fixtures.py dm-adapter-half --checkout ../DM-Adapter [--out FOLDER | --check]
    python3 generate_fixtures.py up-person       --checkout ../UP-Person  [--out FOLDER | --check]
    python3 generate_fixtures.py clip-hf                                  [--out FOLDER | --check]

Without --out the files here are overwritten. --check writes nothing: it makes everything in memory, and fails unless the
weights, the settings and the inputs here are the same to the bit and the outputs within 1e-6 of their largest magnitude.

Made with torch 2.15.0, transformers 5.23.0 (for clip-hf only, whose code is in that package), safetensors 0.8.0 and numpy
2.4.6, on one thread; see published_models.py for what the checkouts need. Other versions of PyTorch can draw other numbers.
"""
import argparse
import io
import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
import yaml

import published_models

HERE = pathlib.Path(__file__).parent
SEEDS = {"dm-adapter": 11, "up-person": 12, "clip-hf": 13, "dm-adapter-half": 14}
# Six images are encoded at once; the first three are kept, to keep the repository small.
IMAGES, KEPT_IMAGES = 6, 3
# The longest and the shortest text, and some between.
TEXT_LENGTHS = (77, 3, 10, 22, 34, 6, 15, 41)
OUTPUT_TOLERANCE = 1e-6


def randomise(parameters):
    """Weights that let every part of a tower show in its output, unlike the published initial values (many are zero)."""
    for name, parameter in parameters:
        values = torch.randn(parameter.shape)
        # `ln_` is in the names of UP-Person's adapters, too.
        if any(part in name for part in ("ln_", "layer_norm", "layrnorm", "layernorm")) and "weight" in name:
            values = 1 + 0.1 * values
        elif "bias" in name:
            values = 0.05 * values
        elif any(part in name for part in ("positional_embedding", "class_embedding", "token_embedding")):
            values = 0.3 * values
        elif parameter.dim() < 2:
            values = 0.5 * values
        else:
            values = values * (parameter[0].numel() ** -0.5)
        parameter.data.copy_(values)


def randomise_learned_parts(model):
    """Second pass: the mixing weights of DM-Adapter, and the scales, prefixes and LoRA of UP-Person."""
    for name, parameter in model.named_parameters():
        if name.endswith("alpha"):
            values = torch.rand(())
        elif name.endswith("scale_to_grad"):
            values = 1 + 4 * torch.rand(())
        elif name.endswith(("scale_1", "scale_2", "scale")):
            values = 0.5 + torch.rand(())
        elif name.endswith("tokens"):
            values = 0.4 * torch.randn(parameter.shape)
        elif ".lora_A." in name or ".lora_B." in name:
            values = 0.15 * torch.randn(parameter.shape)
        else:
            continue
        parameter.data.copy_(values)


def training_state(model):
    """Optimiser and scheduler as a training run saves them, of a few parameters; nothing reads more than their form."""
    parameters = [parameter for parameter in model.parameters() if parameter.dtype == torch.float32][-6:]
    copies = [torch.nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    optimizer = torch.optim.Adam(copies, lr=3e-4, eps=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=60)
    for copy in copies:
        copy.grad = torch.randn(copy.shape)
    optimizer.step()
    return {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}


def make_retrieval_model(name):
    """The files of a DM-Adapter or UP-Person fixture, as bytes by name."""
    model = published_models.build(name).eval()
    torch.manual_seed(SEEDS[name])
    learners = ("vit_prefix_learner", "text_prefix_learner", "LORA_learner")
    randomise([(key, value) for key, value in model.named_parameters() if not key.startswith(learners)])
    randomise_learned_parts(model)
    height, width = model.base_model.visual.input_resolution
    pixels, token_ids = published_models.random_inputs(IMAGES, height, width, TEXT_LENGTHS)
    if name == "dm-adapter-half":
        # Saved by others than the published code, in float16 and without what training needs.
        state = {key: value.half() for key, value in model.state_dict().items()}
        model.load_state_dict({key: value.float() for key, value in state.items()})
        content = {"model": state, "epoch": 60}
    with torch.no_grad():
        image_features, text_features = model(pixels, token_ids[:1])[0], model(pixels[:1], token_ids)[1]
    if name != "dm-adapter-half":
        # After encoding: UP-Person's prefixes are attached then, and saved twice.
        content = {"model": model.state_dict(), **training_state(model), "epoch": 60}
    with tempfile.TemporaryDirectory() as folder:
        # To a file, whose name becomes a part of its content.
        checkpoint = pathlib.Path(folder) / "best.pth"
        torch.save(content, checkpoint)
        saved = checkpoint.read_bytes()
    return {
        "best.pth": saved,
        "configs.yaml": settings_of(name).encode(),
        "io.npz": arrays(pixels, image_features, token_ids, text_features),
    }


def settings_of(name):
    """configs.yaml: what the published train.py saves of its arguments, with the fixture's sizes and no one's paths."""
    sizes = dict(vocab_size=published_models.VOCABULARY, text_length=published_models.CONTEXT_LENGTH)
    if name == "dm-adapter-half":
        settings = sizes | dict(
            img_size=[256, 128], num_experts=4, pretrain_choice="ViT-B/16", reduction=4, stride_size=16, topk=2,
        )
    else:
        from utils.options import get_args

        own_arguments, sys.argv = sys.argv, sys.argv[:1]
        settings = vars(get_args())
        sys.argv = own_arguments
        settings |= sizes | dict(distributed=False, root_dir="data", output_dir="logs/CUHK-PEDES/run")
    if name == "up-person":
        settings |= dict(rank=8, prefix_length=10, depth_lora=3, depth_prefix=3)
    return yaml.dump(settings, default_flow_style=False)


def make_clip():
    """The files of a Hugging Face CLIPModel, as bytes by name."""
    import safetensors.torch
    from transformers import CLIPConfig, CLIPModel

    settings = dict(hidden_act="quick_gelu", num_hidden_layers=3, projection_dim=published_models.EMBEDDING)
    config = CLIPConfig(
        text_config=dict(
            hidden_size=64, intermediate_size=256, num_attention_heads=1, vocab_size=published_models.VOCABULARY,
            max_position_embeddings=published_models.CONTEXT_LENGTH, pad_token_id=0,
            bos_token_id=published_models.VOCABULARY - 2, eos_token_id=published_models.VOCABULARY - 1, **settings,
        ),
        vision_config=dict(
            hidden_size=128, intermediate_size=512, num_attention_heads=2, patch_size=16, image_size=224, **settings,
        ),
        projection_dim=published_models.EMBEDDING,
    )
    model = CLIPModel(config).eval()
    logit_scale = model.logit_scale.item()
    torch.manual_seed(SEEDS["clip-hf"])
    randomise(model.named_parameters())
    model.logit_scale.data.fill_(logit_scale)
    pixels, token_ids = published_models.random_inputs(IMAGES, 224, 224, TEXT_LENGTHS)
    with torch.no_grad():
        image_features = pooled(model.get_image_features(pixel_values=pixels))
        text_features = pooled(model.get_text_features(input_ids=token_ids, attention_mask=(token_ids != 0).long()))
    config.architectures = ["CLIPModel"]
    config.dtype = torch.float32
    weights = safetensors.torch.save(model.state_dict(), metadata={"format": "pt"})
    return {
        "model.safetensors": weights,
        "config.json": config.to_json_string().encode(),
        "io.npz": arrays(pixels, image_features, token_ids, text_features),
    }


def pooled(features):
    """transformers 5 returns an output whose pooler_output is projected, transformers 4 the projected tensor."""
    return features if isinstance(features, torch.Tensor) else features.pooler_output


def arrays(pixels, image_features, token_ids, text_features):
    """The content of io.npz."""
    file = io.BytesIO()
    np.savez(
        file, pixels=pixels[:KEPT_IMAGES].numpy(), image_features=image_features[:KEPT_IMAGES].numpy(),
        token_ids=token_ids.numpy(), text_features=text_features.numpy(),
    )
    return file.getvalue()


def weights_of(name, content):
    """The tensors of a checkpoint by name."""
    if name == "model.safetensors":
        import safetensors.torch

        return safetensors.torch.load(content)
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)["model"]


def differences(name, made, committed):
    """What is wrong with a committed file, in words."""
    if made == committed:
        print(f"{name}: the same to the byte")
    elif name == "configs.yaml":
        yield "other settings"
    elif name == "config.json":
        made, committed = json.loads(made), json.loads(committed)
        # The version of transformers that wrote it.
        yield from (key for key in made.keys() | committed.keys()
                    if key != "transformers_version" and made.get(key) != committed.get(key))
    elif name == "io.npz":
        made, committed = np.load(io.BytesIO(made)), np.load(io.BytesIO(committed))
        for key in ("pixels", "token_ids"):
            if not np.array_equal(made[key], committed[key]):
                yield f"{key} differ"
        for key in ("image_features", "text_features"):
            difference = np.abs(made[key] - committed[key]).max() / np.abs(made[key]).max()
            print(f"{name}: {key} differ by {difference:.1e} of the largest magnitude")
            if not difference <= OUTPUT_TOLERANCE:
                yield f"{key} differ"
    else:
        made, committed = weights_of(name, made), weights_of(name, committed)
        if list(made) != list(committed):
            yield "other names of tensors, or another order"
        yield from (key for key in made
                    if key not in committed or made[key].dtype != committed[key].dtype
                    or not torch.equal(made[key], committed[key]))
        print(f"{name}: {len(made)} tensors compared")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixture", choices=SEEDS)
    parser.add_argument("--checkout", help="folder of the published repository")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "fixtures", help="where the fixture's folder goes")
    parser.add_argument("--check", action="store_true", help="compare with the files here instead of writing")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    if arguments.fixture == "clip-hf":
        files = make_clip()
    else:
        if arguments.checkout is None:
            parser.error(f"{arguments.fixture} needs --checkout")
        published_models.open_checkout(arguments.checkout)
        files = make_retrieval_model(arguments.fixture)
    folder = (HERE / "fixtures" if arguments.check else arguments.out) / arguments.fixture
    if not arguments.check:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return
    faults = [f"{name}: {fault}" for name, content in files.items()
              for fault in differences(name, content, (folder / name).read_bytes())]
    sys.exit("\n".join(faults) or 0)


if __name__ == "__main__":
    main()
