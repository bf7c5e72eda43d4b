"""How other readers read each file of a folder: Python's zipfile, Info-ZIP's unzip, libarchive's bsdtar, and
bsdtar once more through a pipe, where it goes from the front and cannot look at the directory first.

Usage: package_readers.py FOLDER > readings.json. For each file and reader: a list of [name, SHA-256] in the
order in which the reader lists them, or null where the reader complains.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile


def run(command, given=b""):
    """What a command prints, or None if it complains."""
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def by_zipfile(path):
    try:
        with zipfile.ZipFile(path) as package:
            return [[one.filename, hashlib.sha256(package.read(one)).hexdigest()] for one in package.infolist()]
    except Exception:  # whatever a hostile file makes of a library is a complaint
        return None


def extracted(listing, extracting, given=b""):
    """The entries by the reader's listing, with the content it extracts under each name."""
    listed = run(listing, given)
    if listed is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        if run(extracting(folder), given) is None:
            return None
        entries = []
        for name in listed.decode("utf-8", "replace").splitlines():
            try:
                with open(os.path.join(folder, name), "rb") as entry:
                    entries.append([name, hashlib.sha256(entry.read()).hexdigest()])
            except OSError:
                entries.append([name, None])
        return entries


def by_unzip(path):
    return extracted(["unzip", "-Z1", path], lambda folder: ["unzip", "-qq", "-o", path, "-d", folder])


def by_bsdtar(path):
    return extracted(["bsdtar", "-tf", path], lambda folder: ["bsdtar", "-xf", path, "-C", folder])


def by_bsdtar_piped(path):
    with open(path, "rb") as file:
        given = file.read()
    return extracted(["bsdtar", "-tf", "-"], lambda folder: ["bsdtar", "-xf", "-", "-C", folder], given)


READERS = {"zipfile": by_zipfile, "unzip": by_unzip, "bsdtar": by_bsdtar, "bsdtar piped": by_bsdtar_piped}


def main():
    folder = sys.argv[1]
    names = sorted(name for name in os.listdir(folder) if not name.endswith(".json"))
    paths = {name: os.path.join(folder, name) for name in names}
    readings = {name: {reader: by(paths[name]) for reader, by in READERS.items()} for name in names}
    json.dump(readings, sys.stdout)


main()
