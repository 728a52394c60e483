"""The steps of check.sh, and the JSON that they make. Only Python's own library is needed, but for PyTorch's own time."""
import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
STEPS = ("environment", "missing", "parity", "auto", "memory", "towers", "service", "training")
METHODS = ("dm-adapter", "up-person")

# For DM-Adapter ViT-B/16 at 384x128 in fp16 on a GPU of the H200's class.
TARGETS = {
    "tower_images_per_s": 5000,
    "tower_texts_per_s": 20000,
    "service_share_of_towers": 0.8,
    "training_step_over_pytorch": 1.1,
}
# An arena that no ViT-B/16 fits into, and one that holds it with room for batches.
TOO_LITTLE_BYTES, ENOUGH_BYTES = 16 << 20, 8 << 30


class Check:
    """What was found, and whether every claim held."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.report = {"device": arguments.device, "quick": arguments.quick, "targets": TARGETS, "failures": []}

    def claim(self, holds, what, detail=""):
        if not holds:
            self.report["failures"].append(f"{what}: {detail}" if detail else what)
        print(("ok      " if holds else "FAILED  ") + what, flush=True)
        return holds

    def run(self, program, words, library=None, extra=None, limit_s=1800):
        """Runs a program of ours; what it says is kept short, because it may be long where it fails."""
        environment = {**os.environ, "DESCRY_ENCODER__ONNXRUNTIME_LIBRARY": str(library or self.arguments.library),
                       "DESCRY_ENCODER__LOG__FILTER": "info,ort=warn", **(extra or {})}
        command = [str(self.arguments.bin / program), *map(str, words)]
        begun = time.monotonic()
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit_s, check=False)
            status, output, complaint = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired:
            status, output, complaint = None, "", f"no end after {limit_s} s"
        return {"command": " ".join([program, *map(str, words)]), "status": status, "output": output,
                "complaint": complaint[-4000:], "elapsed_s": round(time.monotonic() - begun, 3)}

    def measured(self, program, words, what, **options):
        """A program's own JSON, or why there is none."""
        done = self.run(program, [*words, "--json", "-"], **options)
        if done["status"] == 0:
            try:
                return json.loads(done["output"])
            except ValueError as error:
                done["complaint"] = f"no JSON: {error}"
        self.claim(False, what, done["complaint"].strip()[-500:])
        return {"failed": done["command"], "status": done["status"], "complaint": done["complaint"][-1000:]}


def environment(check):
    """What this ran on."""
    def first_line(*command):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except OSError as error:
            return f"not there: {error}"
        return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else "no answer"

    library = check.arguments.library
    query = "--query-gpu=name,driver_version,memory.total,compute_cap"
    found = {
        "commit": first_line("git", "-C", str(ROOT), "rev-parse", "HEAD"),
        "machine": platform.machine(), "cpus": os.cpu_count(), "python": platform.python_version(),
        "gpu": first_line("nvidia-smi", query, "--format=csv,noheader"),
        "library": {"name": library.name, "bytes": library.stat().st_size,
                    "beside": sorted(path.name for path in library.parent.glob("libonnxruntime_providers_*"))},
    }
    if check.arguments.device == "cuda":
        check.claim("," in found["gpu"], "a GPU is there", found["gpu"])
        check.claim(any("cuda" in name for name in found["library"]["beside"]), "the CUDA provider lies beside the library")
    return found


def bundles(check, folder):
    """The bundles to check: those given, or of the methods at every precision that the device runs."""
    if check.arguments.bundle:
        return {path.name: path for path in check.arguments.bundle}
    made = {}
    precisions = ("fp32",) if check.arguments.device == "cpu" else ("fp32", "fp16")
    for method in METHODS:
        source = ["--random", "vit-b-16", "--family", method]
        if check.arguments.quick:
            source = ["--checkpoint", ROOT / "demo" / f"{method.replace('-', '_')}.safetensors"]
        for precision in precisions:
            name = f"{method}-{precision}"
            done = check.run("descry", ["export", *source, "--precision", precision, "--out", folder / name])
            if check.claim(done["status"] == 0, f"{name} is exported", done["complaint"][-500:]):
                made[name] = folder / name
    return made


def opened(check, bundle, device, **options):
    """Opens a bundle as the service does, with its self-test, and serves a few texts. Adds what the service says of itself."""
    words = ["bench", "encoder", "--model", bundle, "--device", device, "--kind", "text", "--callers", "1",
             "--seconds", "0.3", "--warm-up-seconds", "0", "--json", "-"]
    done = check.run("descry", words, **options)
    try:
        done["model"] = json.loads(done["output"])["model"]
    except (ValueError, KeyError):
        done["model"] = {}
    return done


def missing(check, all_bundles):
    """Without the library, or without its provider, a device that was asked for is a failure that says what is missing."""
    bundle, found = next(iter(all_bundles.values())), {}
    device = check.arguments.device
    nowhere = opened(check, bundle, device, library="/nowhere/libonnxruntime.so")
    found["no_library"] = nowhere["complaint"].strip()[-600:]
    check.claim(nowhere["status"] not in (0, None), "without the library nothing starts")
    check.claim("onnxruntime" in nowhere["complaint"].lower(), "and the message names it", found["no_library"])
    with tempfile.TemporaryDirectory() as folder:
        lone = pathlib.Path(folder) / check.arguments.library.name
        lone.symlink_to(check.arguments.library)
        wanted = "cuda"
        alone = opened(check, bundle, wanted, library=lone) if device == "cpu" else opened(
            check, bundle, wanted, extra={"LD_LIBRARY_PATH": "", "CUDA_VISIBLE_DEVICES": "-1"})
        found["no_device"] = alone["complaint"].strip()[-600:]
        check.claim(alone["status"] not in (0, None), "a GPU that cannot be had ends the start")
        check.claim("cuda" in alone["complaint"].lower(), "and the message names the device", found["no_device"])
    return found


def parity(check, all_bundles):
    """Every bundle repeats its stored outputs on the device: the start fails beyond the bounds in the manifest."""
    found = {}
    for name, bundle in all_bundles.items():
        done = opened(check, bundle, check.arguments.device)
        check.claim(done["status"] == 0, f"{name} repeats its stored outputs", done["complaint"].strip()[-500:])
        provider = done["model"].get("execution_provider")
        check.claim(provider == check.arguments.device, f"{name} really runs there", f"it runs on {provider}")
        manifest = json.loads((bundle / "manifest.json").read_text())
        found[name] = {"status": done["status"], "elapsed_s": done["elapsed_s"], "model": done["model"],
                       "bounds": {key: manifest.get(key) for key in ("parity", "row_independence")}}
    return found


def auto(check, all_bundles):
    """`auto` takes the GPU where there is one, and says why not where it does not."""
    done = opened(check, next(iter(all_bundles.values())), "auto")
    check.claim(done["status"] == 0, "auto comes up", done["complaint"].strip()[-500:])
    if check.arguments.device == "cuda":
        provider = done["model"].get("execution_provider")
        check.claim(provider in ("cuda", "tensorrt"), "auto takes the GPU", f"{provider}: {done['model'].get('fallback_reason')}")
    return {"elapsed_s": done["elapsed_s"], "model": done["model"]}


def memory(check, all_bundles):
    """A limit that is too small is an error and no crash; one that is large enough changes nothing."""
    if check.arguments.device != "cuda":
        return {"skipped": "only a GPU has an arena with a limit"}
    bundle, found = next(iter(all_bundles.values())), {}
    for name, limit, works in (("too_little", TOO_LITTLE_BYTES, False), ("enough", ENOUGH_BYTES, True)):
        extra = {"DESCRY_ENCODER__DEVICE__MEMORY_LIMIT_BYTES": str(limit)}
        done = opened(check, bundle, "cuda", extra=extra)
        found[name] = {"limit_bytes": limit, "status": done["status"], "complaint": done["complaint"].strip()[-300:]}
        right = done["status"] == 0 if works else done["status"] not in (0, None) and done["status"] > 0
        check.claim(right, f"{limit >> 20} MiB of memory {'are enough' if works else 'are refused in words'}")
    return found


def towers(check, all_bundles):
    """Each tower alone, over batch sizes."""
    sizes = "1,8" if check.arguments.quick else "1,8,32,64,128,256"
    words = ["--batch", sizes, "--rounds", "2" if check.arguments.quick else "10", "--device", check.arguments.device]
    return {name: check.measured("descry", ["bench", "towers", "--model", bundle, *words], f"towers of {name} are measured")
            for name, bundle in all_bundles.items()}


def service(check, all_bundles):
    """The service as its callers see it, over gRPC: batch sizes follow from how many call at once."""
    found = {}
    callers, seconds, warm_up = ("2", "1", "0.2") if check.arguments.quick else ("1,16,64,256", "10", "3")
    largest = {"DESCRY_ENCODER__BATCHING__MAX_BATCH_IMAGES": "128", "DESCRY_ENCODER__BATCHING__MAX_BATCH_TEXTS": "256",
               "DESCRY_ENCODER__BATCHING__MAX_BATCH_TOKENS": "16384",
               "DESCRY_ENCODER__SESSIONS__BATCH_BUCKETS": "1,8,32,64,128,256"}
    extra = {} if check.arguments.device == "cpu" else largest
    for name, bundle in all_bundles.items():
        for kind in ("image", "text"):
            words = ["bench", "encoder", "--model", bundle, "--device", check.arguments.device, "--kind", kind,
                     "--callers", callers, "--seconds", seconds, "--warm-up-seconds", warm_up, "--items-per-request", "8"]
            found[f"{name}, {kind}"] = check.measured("descry", words, f"{kind}s of {name} are served", extra=extra)
    return found


def training(check, _bundles):
    """Ten steps of both methods, beside PyTorch's time for the same."""
    found, quick = {}, check.arguments.quick
    steps, pairs = (2, 4) if quick else (10, 64)
    for method in METHODS:
        checkpoint = ROOT / "demo" / f"{method.replace('-', '_')}.safetensors"
        model = ["--checkpoint", checkpoint] if quick else ["--random", "vit-b-16", "--method", method]
        for precision in ("float32",) if check.arguments.device == "cpu" else ("float32", "bfloat16"):
            words = ["bench", "train", *model, "--batch", pairs, "--steps", steps, "--device", check.arguments.device,
                     "--precision", precision]
            ours = check.measured("descry", words, f"{method} is trained in {precision}")
            entry = {"ours": ours, "pytorch": pytorch(check, method, precision, steps, pairs)}
            if ours.get("step_ms") and entry["pytorch"].get("step_ms"):
                entry["over_pytorch"] = median(ours["step_ms"]) / median(entry["pytorch"]["step_ms"])
            found[f"{method}, {precision}"] = entry
    return found


def achieved(report):
    """The best of what was measured, beside the targets: of each bundle its towers, and the service's share of them."""
    found = {}
    for name, measured in report.get("towers", {}).items():
        rates = {}
        for entry in measured if isinstance(measured, list) else []:
            rates.setdefault(entry["tower"], []).append(entry["measured"]["items_per_s"])
        found[name] = {tower: {"towers_per_s": max(rate)} for tower, rate in rates.items()}
        for tower, kind in (("vision", "image"), ("text", "text")):
            runs = report.get("service", {}).get(f"{name}, {kind}", {}).get("runs", [])
            served = max((run["measured"]["items_per_s"] for run in runs), default=None)
            if served and tower in found[name]:
                found[name][tower] |= {"service_per_s": served, "share": served / found[name][tower]["towers_per_s"]}
    for name, entry in report.get("training", {}).items():
        if "over_pytorch" in entry:
            found[f"training {name}"] = entry["over_pytorch"]
    return found


def pytorch(check, method, precision, steps, pairs):
    """PyTorch's time, where PyTorch is there: it is no part of Descry."""
    command = [sys.executable, str(HERE / "pytorch_step.py"), "--method", method, "--precision", precision,
               "--device", check.arguments.device, "--steps", str(steps), "--pairs", str(pairs)]
    if check.arguments.quick:
        command.append("--small")
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout)
    return {"not_measured": done.stderr.strip().splitlines()[-1:] or ["no answer"]}


def median(values):
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", type=pathlib.Path, required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--bundle", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--only", default=",".join(STEPS))
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := [step for step in chosen if step not in STEPS]:
        parser.error(f"--only knows {', '.join(STEPS)}, not {', '.join(unknown)}")
    check = Check(arguments)
    with tempfile.TemporaryDirectory() as folder:
        needed = any(step not in ("environment", "training") for step in chosen)
        all_bundles = bundles(check, pathlib.Path(folder)) if needed else {}
        for step in STEPS:
            if step not in chosen:
                continue
            if step not in ("environment", "training") and not all_bundles:
                check.claim(False, f"{step} needs a bundle")
                continue
            print(f"-- {step}", flush=True)
            check.report[step] = environment(check) if step == "environment" else globals()[step](check, all_bundles)
            check.report["achieved"] = achieved(check.report)
            # After each step: what was found is kept when a later one ends the process.
            arguments.out.write_text(json.dumps(check.report, indent=1, default=str) + "\n")
    print(f"{arguments.out}: {len(check.report['failures'])} failures")
    sys.exit(1 if check.report["failures"] else 0)


if __name__ == "__main__":
    main()
