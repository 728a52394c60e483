"""Makes `demo/groups.json` again: what numpy makes of demo/NAME.npz by person and by track.

    python3 generate_demo_groups.py [--check]

The captions and images are those of demo/NAME.npz, whose people and cameras the names in the gallery's reid_raw.json tell.
A track is a person's images of one camera. --check writes nothing, and fails unless all numbers are within 1e-9.
Made with numpy 2.4.6; numpy is all that it needs.
"""
import json
import pathlib
import re
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent
GALLERY = HERE.parents[1] / "demo/gallery/reid_raw.json"
NAMES = ("dm_adapter", "up_person")


def measure(scores, group_people, text_people):
    """Rank-k, mAP and mINP in percent, of texts that have scores with groups."""
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = group_people[order] == text_people[:, None]
    places = [np.nonzero(row)[0] for row in hits]
    precision = [(np.arange(1, len(place) + 1) / (place + 1)).mean() for place in places]
    hardest = [len(place) / (place[-1] + 1) for place in places]
    percentages = {f"rank{k}": (hits[:, :k].any(1)).mean() for k in (1, 5, 10)}
    percentages |= {"map": np.mean(precision), "minp": np.mean(hardest)}
    return {name: float(100 * value) for name, value in percentages.items()} | {"gallery": len(group_people)}


def grouped(images, texts, keys, text_people):
    """Metrics by the best image and by the mean embedding; the first of a key is the person."""
    members = {}
    for image, key in enumerate(keys):
        members.setdefault(key, []).append(image)
    people = np.array([key[0] for key in members])
    of_images = texts @ images.T
    best = np.stack([of_images[:, rows].max(1) for rows in members.values()], axis=1)
    means = np.stack([images[rows].mean(0) for rows in members.values()])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return {"best": measure(best, people, text_people), "mean": measure(texts @ means.T, people, text_people)}


def main():
    entries = json.loads(GALLERY.read_text())
    report = {}
    for name in NAMES:
        arrays = np.load(HERE / "demo" / f"{name}.npz")
        images, texts = arrays["images"].astype(np.float64), arrays["texts"].astype(np.float64)
        shown = entries[:len(images)]
        text_people = np.array([entry["id"] for entry in entries for _ in entry["captions"]])[:len(texts)]
        people = [(entry["id"],) for entry in shown]
        tracks = [(entry["id"], re.search(r"_(c\d+)_", entry["file_path"])[1]) for entry in shown]
        report[name] = {"person": grouped(images, texts, people, text_people),
                        "track": grouped(images, texts, tracks, text_people)}
    path = HERE / "demo/groups.json"
    if "--check" not in sys.argv[1:]:
        path.write_text(json.dumps(report, indent=1) + "\n")
        return
    expected = json.loads(path.read_text())
    for name, by in report.items():
        for group, pools in by.items():
            for pool, metrics in pools.items():
                for metric, value in metrics.items():
                    if abs(value - expected[name][group][pool][metric]) > 1e-9:
                        sys.exit(f"{name}, {group}, {pool}: {metric} is {value}")


if __name__ == "__main__":
    main()
