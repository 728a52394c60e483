#!/usr/bin/env python3
"""Trains DM-Adapter and UP-Person with parts switched off, one run after the other, and writes one Markdown table.

    python3 lab/trainer/ablations.py --base runs/clip/best.safetensors --root data/drawn --write docs/TRAINING.md

Can be stopped and started again with the same arguments at any time: finished runs are read from their folders, an
interrupted one goes on where it was saved. Needs Python 3.8 or later and nothing else.
"""

import argparse
import hashlib
import json
import os
import shlex
import signal
import struct
import subprocess
import sys
from pathlib import Path

BEGIN = "<!-- ablations:begin -->"
END = "<!-- ablations:end -->"

LOG_LINES_SHOWN = 15

# What `descry train --resume --set` takes (lab/trainer/src/recipe/continuation.rs): it changes nothing of what is computed.
NEUTRAL = (
    "loading.threads",
    "loading.batches_ahead",
    "loading.cache_mib",
    "loading.max_unreadable_images",
    "checkpoint.every_steps",
)

# Name of the run folder, name in the table, flags of `descry train`.
VARIANTS = [
    ("dm-adapter", "DM-Adapter: 6 experts, top-2", "--method dm-adapter"),
    ("dm-adapter-experts-2", "2 experts (top-2 of 2: dense)", "--method dm-adapter --experts 2"),
    ("dm-adapter-experts-4", "4 experts, top-2", "--method dm-adapter --experts 4"),
    ("dm-adapter-top-1", "top-1", "--method dm-adapter --top-k 1"),
    ("dm-adapter-top-6", "dense: top-6 of 6", "--method dm-adapter --top-k 6"),
    ("dm-adapter-no-domain-prompt", "without domain prompt", "--method dm-adapter --no-domain-prompt"),
    ("dm-adapter-no-balancing-loss", "without balancing loss", "--method dm-adapter --no-balancing-loss"),
    ("up-person", "UP-Person: prefix, LoRA and adapter", "--method up-person"),
    ("up-person-no-prefix", "without prefix", "--method up-person --no-prefix"),
    ("up-person-no-lora", "without LoRA", "--method up-person --no-lora"),
    ("up-person-no-adapter", "without adapter", "--method up-person --no-adapter"),
    ("up-person-only-prefix", "only prefix", "--method up-person --no-lora --no-adapter"),
    ("up-person-only-lora", "only LoRA", "--method up-person --no-prefix --no-adapter"),
    ("up-person-only-adapter", "only adapter", "--method up-person --no-prefix --no-lora"),
    ("up-person-depth-prefix-2", "prefix in the first 2 blocks", "--method up-person --depth-prefix 2"),
    ("up-person-depth-lora-2", "LoRA in the first 2 blocks", "--method up-person --depth-lora 2"),
    ("up-person-depth-adapter-2", "adapter from block 2 on", "--method up-person --depth-adapter 2"),
    (
        "full",
        "all weights, SDM loss",
        "--method clip --set loss.matching=sdm --set loss.temperature=0.02 --learning-rate 3e-4",
    ),
]


class Failure(Exception):
    """Something to tell the user. The other rows go on without that one."""


class NothingWorks(Exception):
    """Something to tell the user before anything else is tried."""


def main() -> int:
    arguments = parse_arguments()
    # What ends the program otherwise lets the run save, as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        if arguments.write is not None:
            # Not after hours of training.
            split_document(arguments.write)
        bench = Bench(arguments)
        rows, failures = bench.all_rows()
    except NothingWorks as reason:
        return complain(str(reason))
    except KeyboardInterrupt:
        complain("stopped; start again with the same arguments to go on")
        return 130
    text = bench.section(rows)
    print(text)
    for failure in failures:
        complain(failure)
    if failures:
        return complain(f"{len(failures)} of {len(VARIANTS) + 1} rows are missing; nothing was written")
    if arguments.write is not None:
        write_document(arguments.write, text)
        print(f"written to {arguments.write}", file=sys.stderr)
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Runs the ablations of both methods with the small preset.")
    parser.add_argument("--descry", default="./target/release/descry", metavar="FILE", help="the program")
    parser.add_argument("--base", required=True, metavar="PATH", help="plain CLIP that every run starts from")
    parser.add_argument("--root", required=True, metavar="DIR", help="data set in CUHK-PEDES' layout")
    parser.add_argument("--runs", default="runs/ablations", metavar="DIR", help="folder of the run folders and logs")
    parser.add_argument("--epochs", type=positive, default=8, metavar="N")
    parser.add_argument(
        "--evaluate-every", type=positive, metavar="N", help="epochs between evaluations [default: the last one only]"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument(
        "--context-length", type=positive, metavar="N", help="token ids that are read, as by the base [default: 56]"
    )
    between = f"document in which the table replaces what is between {BEGIN} and {END}"
    parser.add_argument("--write", type=Path, metavar="FILE", help=between)
    return parser.parse_args()


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("expected at least 1")
    return number


def complain(message: str) -> int:
    print(f"ablations: {message}", file=sys.stderr)
    return 1


class Bench:
    """All runs over one base and one data set."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.runs = Path(arguments.runs)
        self.evaluate_every = arguments.evaluate_every or arguments.epochs
        self.base_sha256 = digest(Path(arguments.base))
        self.runs.mkdir(parents=True, exist_ok=True)
        # Of the last run that was read: every run has the same data, device and threads.
        self.start = None
        self.evaluation = None

    def all_rows(self):
        """Cells of every row, and what went wrong with those that are missing."""
        rows, failures = [], []
        jobs = [("base", "plain CLIP, not fine-tuned", None)] + VARIANTS
        for number, (folder, name, flags) in enumerate(jobs, 1):
            place = f"{number}/{len(jobs)} {folder}"
            try:
                rows.append(self.base_row(place, name) if flags is None else self.row(place, folder, name, flags))
            except Failure as failure:
                failures.append(f"{folder}: {failure}")
                complain(failures[-1])
        return rows, failures

    def base_row(self, place: str, name: str):
        """Measured as a bundle: there is nothing to train."""
        kept = self.runs / "base.json"
        origin = {"base": os.path.realpath(self.arguments.base), "sha256": self.base_sha256}
        origin["root"] = os.path.realpath(self.arguments.root)
        found = read_json(kept) if kept.is_file() else {}
        if found.get("origin") != origin:
            tell(f"{place}: exporting and measuring")
            size = self.recipe("--method clip", self.runs / "base.log")["input"]
            bundle = self.runs / "base-bundle"
            log = self.runs / "base.log"
            export = ["export", "--checkpoint", self.arguments.base, "--out", str(bundle)]
            export += ["--image-size", f"{size['height_px']}x{size['width_px']}"]
            self.call(export, log)
            evaluate = ["eval", "--model", str(bundle), "--dataset", "cuhk-pedes", "--root", self.arguments.root]
            output = self.call(evaluate + ["--json"], log)
            found = {"origin": origin, "metrics": parse_json(output, log)}
            write_text(kept, json.dumps(found, indent=2) + "\n")
        metrics = found["metrics"]
        qualities = [metrics[key] for key in ("rank1", "rank5", "rank10", "map", "minp")]
        return {"name": name, "flags": "", "trained": "0", "qualities": qualities, "best": "", "minutes": ""}

    def row(self, place: str, folder: str, name: str, flags: str):
        run, log = self.runs / folder, self.runs / f"{folder}.log"
        is_begun = (run / "run.json").is_file()
        if is_begun:
            self.check_same_run(run, log, flags)
        if is_begun and self.is_finished(run):
            tell(f"{place}: is finished")
        elif is_begun:
            tell(f"{place}: going on")
            self.call(["train", "--resume", str(run)], log)
        else:
            tell(f"{place}: training")
            inputs = ["--base", self.arguments.base, "--root", self.arguments.root, "--out", str(run)]
            self.call(["train", *self.settings(flags), *inputs], log)
        if not self.is_finished(run):
            raise Failure(f"{run} ended without the evaluation of epoch {self.arguments.epochs}; see {log}")
        return self.finished_row(run, name, flags)

    def settings(self, flags: str):
        common = f"--preset small --dataset cuhk-pedes --epochs {self.arguments.epochs} --seed {self.arguments.seed}"
        settings = [f"evaluation.every_epochs={self.evaluate_every}"]
        if self.arguments.context_length is not None:
            settings.append(f"input.context_length={self.arguments.context_length}")
        return [*flags.split(), *common.split(), *(word for setting in settings for word in ("--set", setting))]

    def recipe(self, flags: str, log: Path):
        return parse_json(self.call(["train", *self.settings(flags), "--show-recipe"], log), log)

    def check_same_run(self, run: Path, log: Path, flags: str) -> None:
        """A folder of other settings, another base or other data would give a wrong row."""
        found = read_json(run / "run.json")
        expected = self.recipe(flags, log)
        # 0 stands for the cores of the machine on which the run was started.
        expected["device"]["threads"] = found["recipe"]["device"]["threads"]
        differences = [name for name in differing("", expected, found["recipe"]) if name not in NEUTRAL]
        if os.path.realpath(found["root"]) != os.path.realpath(self.arguments.root):
            differences.append("root")
        if self.base_sha256 is not None and found["base_sha256"] != self.base_sha256:
            differences.append("base")
        if differences:
            what = ", ".join(differences)
            raise Failure(f"{run} holds a run that differs in {what}; name another --runs folder, or remove it")

    def is_finished(self, run: Path) -> bool:
        epochs = self.arguments.epochs
        is_saved = read_progress(run).get("epoch", 0) >= epochs
        return is_saved and any(record["epoch"] == epochs for record in records(run, "evaluation"))

    def finished_row(self, run: Path, name: str, flags: str):
        evaluations = records(run, "evaluation")
        last = next(record for record in evaluations if record["epoch"] == self.arguments.epochs)
        best = max(evaluations, key=lambda record: record["rank_1"])
        start = records(run, "start")[0]
        self.start, self.evaluation = start, last
        share = start["trained_parameters"] / start["total_parameters"]
        keys = ("rank_1", "rank_5", "rank_10", "mean_average_precision", "mean_inverse_negative_penalty")
        return {
            "name": name,
            "flags": f"`{flags}`",
            "trained": f"{start['trained_parameters']:,} ({share:.2%})".replace("%", " %"),
            "qualities": [last[key] for key in keys],
            "best": f"{best['rank_1']:.2f} ({best['epoch']})",
            "minutes": f"{read_progress(run)['elapsed_seconds'] / 60:.1f}",
        }

    def section(self, rows) -> str:
        """What stands between the markers."""
        # Measured once, a run's best epoch is its last.
        has_best = self.evaluate_every < self.arguments.epochs
        columns = ["variant", "flags", "trained parameters", "Rank-1", "Rank-5", "Rank-10", "mAP", "mINP"]
        columns += ["best Rank-1 (epoch)"] * has_best + ["minutes"]
        lines = ["| " + " | ".join(columns) + " |", "|---|---|" + "---:|" * (len(columns) - 2)]
        for row in rows:
            cells = [row["name"], row["flags"], row["trained"], *(f"{value:.2f}" for value in row["qualities"])]
            cells += [row["best"]] * has_best + [row["minutes"]]
            lines.append("|" + "".join(f" {cell} |" if cell else " |" for cell in cells))
        return "\n".join([*self.introduction(has_best), "", *lines])

    def introduction(self, has_best: bool):
        arguments = self.arguments
        paths = ["--base", arguments.base, "--root", arguments.root]
        command = f"python3 lab/trainer/ablations.py {shlex.join(paths)}"
        command += f" --epochs {arguments.epochs} --seed {arguments.seed}"
        if arguments.context_length is not None:
            command += f" --context-length {arguments.context_length}"
        if has_best:
            command += f" --evaluate-every {self.evaluate_every}"
        yield f"`{command}`:"
        yield ""
        if self.start is None:
            return
        start, evaluation = self.start, self.evaluation
        yield (
            f"Small preset, {arguments.epochs} epochs of {start['steps_per_epoch']} steps over {start['pairs']:,} "
            f"pairs ({start['images']:,} images, {start['identities']:,} people) on {start['device']} with "
            f"{start['threads']} threads. Measured on the split `{evaluation['split']}`: {evaluation['queries']:,} "
            f"captions against {evaluation['gallery']:,} images, in percent."
        )
        if has_best:
            yield (
                "Qualities are those of the last epoch; beside them the best Rank-1 of any measured epoch, which the "
                "split itself has chosen."
            )
        else:
            yield "Each run was measured once, after its last epoch, so nothing was chosen on that split."
        yield "Minutes are those of training and measuring; steps that a kill lost are not counted."

    def call(self, arguments, log: Path) -> str:
        """Standard output of a `descry` command; it and all messages go to the log as well.

        The command has a process group of its own, so that Ctrl-C reaches it once, through us: a first one lets it
        finish its step and save, a second one ends it.
        """
        command = [self.arguments.descry, *arguments]
        with open(log, "ab") as file:
            begin = file.tell()
            file.write(f"$ {shlex.join(command)}\n".encode())
            file.flush()
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file, start_new_session=True
                )
            except OSError as error:
                raise NothingWorks(f"cannot start {command[0]}: {error.strerror}; build it or give --descry") from error
            try:
                output = copied(process, file)
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)
                tell("saving; press Ctrl-C again to stop now")
                try:
                    copied(process, file)
                except KeyboardInterrupt:
                    process.kill()
                    process.wait()
                raise
        if process.returncode != 0:
            with open(log, "rb") as file:
                file.seek(begin)
                lines = file.read().decode(errors="replace").splitlines()[1:]
            shown = "".join(f"\n  | {line}" for line in lines[-LOG_LINES_SHOWN:])
            raise Failure(f"`descry {arguments[0]}` ended with {process.returncode}; {log} ends with{shown}")
        return output


def copied(process: subprocess.Popen, log) -> str:
    """Everything the process says until it ends, each line written to the log as it comes."""
    lines = []
    for line in process.stdout:
        log.write(line)
        log.flush()
        lines.append(line)
    process.wait()
    return b"".join(lines).decode(errors="replace")


def records(run: Path, kind: str):
    """Lines of `metrics.jsonl` of one kind; a torn last line is none."""
    found = []
    with open(run / "metrics.jsonl", encoding="utf-8") as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if record.get("kind") == kind:
                found.append(record)
    return found


def read_progress(run: Path):
    """Where a run stands, from the header of its saved state; nothing where it was never saved."""
    path = run / "state.safetensors"
    if not path.is_file():
        return {}
    with open(path, "rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            return json.loads(json.loads(file.read(min(length, 1 << 26)))["__metadata__"]["descry_training_state"])
        except (ValueError, KeyError, struct.error) as error:
            raise Failure(f"{path} is damaged: {error!r}; remove {run} to train anew") from error


def differing(path: str, expected, found):
    """Dotted names of what differs."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted({*expected, *found}):
            yield from differing(f"{path}.{key}".lstrip("."), expected.get(key), found.get(key))
    elif expected != found:
        yield path


def digest(path: Path):
    """SHA-256 as `run.json` has it; `None` for a folder, which may be of several files."""
    if not path.exists():
        raise NothingWorks(f"there is no {path}; give a plain CLIP with --base")
    if path.is_dir():
        return None
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            sha256.update(block)
    return sha256.hexdigest()


def parse_json(text: str, log: Path):
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failure(f"no JSON came back ({error}); see {log}") from error


def read_json(path: Path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Failure(f"cannot read {path}: {error}") from error


def split_document(path: Path):
    """What stands before and after the table, markers included."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise NothingWorks(f"cannot read {path}: {error.strerror}") from error
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NothingWorks(f"{path} lacks {BEGIN} or, after it, {END}")
    return before + begin, end + after


def write_document(path: Path, table: str) -> None:
    before, after = split_document(path)
    write_text(path, f"{before}\n{table}\n{after}")


def write_text(path: Path, text: str) -> None:
    """As a whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
