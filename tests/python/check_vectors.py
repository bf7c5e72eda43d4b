#!/usr/bin/env python3
"""Reads every vector of sealed/tests/vectors with read_sealed_bid.py and compares its outcome with expect.json.

    check_vectors.py FOLDER

Prints one line for each vector that has another outcome, and a count; exit code 1 if there was one. What is wrong
inside a package only has to be refused as such: readers meet its faults in different orders.
"""

import json
import pathlib
import sys

from cryptography.hazmat.primitives import serialization

import read_sealed_bid


def outcome(data, bid_key, private_key):
    try:
        read_sealed_bid.read(data, bid_key, private_key)
    except read_sealed_bid.Refused as refused:
        return str(refused)
    return "ok"


def main(folder):
    expect = json.loads((folder / "expect.json").read_text())
    keys = expect["keys"]
    private_key = serialization.load_pem_private_key((folder / keys["wrapped"]).read_bytes(), password=None)
    others = 0
    for vector in expect["vectors"]:
        data = (folder / vector["file"]).read_bytes()
        wrapped = vector["key"] == "wrapped"
        bid_key = None if wrapped else bytes.fromhex(keys[vector["key"]])
        found = outcome(data, bid_key, private_key if wrapped else None)
        if found.startswith("package.") and vector["expect"].startswith("package."):
            continue
        if found != vector["expect"]:
            others += 1
            print(f"{vector['file']} with the {vector['key']} key: {found}, expected {vector['expect']}")
    print(f"{len(expect['vectors'])} vectors, {others} with another outcome")
    return 1 if others else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
