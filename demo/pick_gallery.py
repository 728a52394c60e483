#!/usr/bin/env python3
"""Makes the demo's gallery from the first people of a drawn data set's test split.

    demo/pick_gallery.py runs/demo-models/data demo

Writes gallery/ (images and captions in CUHK-PEDES' layout) and gallery.csv (person and camera of each image), and
replaces what was there.
"""
import argparse
import csv
import json
import pathlib
import re
import shutil


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path, help="data set that `descry synth` made")
    parser.add_argument("demo", type=pathlib.Path, help="folder of the demo")
    parser.add_argument("--people", type=int, default=50, help="number of people [default: 50]")
    arguments = parser.parse_args()

    annotations = arguments.data / "reid_raw.json"
    if not annotations.is_file():
        parser.error(f"{arguments.data} holds no data set of `descry synth`: it has no {annotations.name}")
    entries = [entry for entry in json.loads(annotations.read_text()) if entry["split"] == "test"]
    people = sorted({entry["id"] for entry in entries})
    if not 1 <= arguments.people <= len(people):
        parser.error(f"the test split of {arguments.data} has {len(people)} people, not {arguments.people}")
    entries = [entry for entry in entries if entry["id"] <= people[arguments.people - 1]]
    rows = [row(parser, arguments.data, entry) for entry in entries]

    # Nothing that was there is removed before all of the new is.
    arguments.demo.mkdir(parents=True, exist_ok=True)
    partial = arguments.demo / ".gallery.partial"
    shutil.rmtree(partial, ignore_errors=True)
    for entry in entries:
        image = partial / "imgs" / entry["file_path"]
        image.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(arguments.data / "imgs" / entry["file_path"], image)
    (partial / annotations.name).write_text(json.dumps(entries, indent=0) + "\n")
    gallery = arguments.demo / "gallery"
    if gallery.exists():
        shutil.rmtree(gallery)
    partial.rename(gallery)
    with open(arguments.demo / "gallery.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image_id", "person_id", "camera_id"])
        writer.writerows(rows)


def row(parser, data, entry):
    """An image's line of gallery.csv; its camera stands in its name."""
    camera = re.search(r"_(c\d+)_", entry["file_path"])
    if camera is None or not (data / "imgs" / entry["file_path"]).is_file():
        parser.error(f"{entry['file_path']}: {data} has no such image of `descry synth`")
    return [entry["file_path"], entry["id"], camera.group(1)]


if __name__ == "__main__":
    main()
