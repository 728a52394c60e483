"""Compares the SHA-256 sums in the provenance.toml files with the data beside them, or renews the sums.

    python3 tests/golden/provenance.py [--update] [FOLDER...]

FOLDER: a folder with a provenance.toml [default: all of the repository]. Every file of the folder and of those in it is
listed there once, but for scripts and provenance.toml itself, under the group that says where it comes from and how it is
made again. `inputs` of a group are files that its files were made from. --update, for after a generator has run, writes the
sums anew; files that were added or removed have to be listed or taken out by hand.

Needs Python 3.11.
"""
import argparse
import hashlib
import pathlib
import re
import sys
import tomllib

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
NAME = "provenance.toml"
SUM = re.compile(r'^"(?P<path>[^"]+)" = "[^"]*"$', re.MULTILINE)


def sum_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def faults(folder):
    """What provenance.toml says wrongly of a folder, in words."""
    groups = tomllib.loads((folder / NAME).read_text())["group"]
    listed = [path for group in groups for path in group["sha256"]]
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*")
               if path.is_file() and path.suffix not in (".py", ".pyc") and path.name != NAME}
    yield from (f"{path} is listed twice" for path in set(listed) if listed.count(path) > 1)
    yield from (f"{path} is not listed" for path in sorted(present - set(listed)))
    for group in groups:
        for key in ("what", "source", "command"):
            if not group.get(key):
                yield f"a group does not say its {key}: {list(group['sha256'])[:1]}"
        for path, expected in (group["sha256"] | group.get("inputs", {})).items():
            if not (folder / path).is_file():
                yield f"{path} is listed, but not there"
            elif sum_of(folder / path) != expected:
                yield f"{path} has another SHA-256"


def update(folder):
    """Writes the sums of the files that are there."""
    def renewed(line):
        path = folder / line["path"]
        return f'"{line["path"]}" = "{sum_of(path)}"' if path.is_file() else line[0]

    file = folder / NAME
    file.write_text(SUM.sub(renewed, file.read_text()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write the sums anew")
    parser.add_argument("folders", nargs="*", type=pathlib.Path, metavar="FOLDER")
    arguments = parser.parse_args()

    folders = arguments.folders or sorted(
        path.parent for pattern in ("*", "*/*", "*/*/*") for path in REPOSITORY.glob(f"{pattern}/{NAME}")
        if "target" not in path.parts
    )
    if arguments.update:
        for folder in folders:
            update(folder)
    found = [f"{folder / NAME}: {fault}" for folder in folders for fault in faults(folder)]
    print(f"{len(folders)} folders, {len(found)} faults")
    sys.exit("\n".join(found) or 0)


if __name__ == "__main__":
    main()
