"""Verifies a journal that no server uses; written from docs/formats/journal.md alone. Usage: read_journal.py FOLDER"""

import hashlib
import pathlib
import sqlite3
import sys


def sha256(*pieces):
    return hashlib.sha256(b"".join(pieces)).digest()


def chain_hash(previous, stream, seq, at, kind, version, command_id, payload):
    fields = [
        previous,
        stream.encode(),
        seq.to_bytes(8, "big"),
        at.to_bytes(8, "big", signed=True),
        kind.encode(),
        version.to_bytes(2, "big"),
        command_id or b"",
        payload,
    ]
    text = b"kaibiao chain 1\n"
    for tag, field in enumerate(fields, 1):
        text += bytes([tag]) + len(field).to_bytes(8, "big") + field
    return sha256(text)


def read_head(path):
    heads = []
    for slot in (path.read_bytes()[:4096], path.read_bytes()[4096:8192]):
        line, feed, _ = slot.partition(b"\n")
        facts, _, check = line.rpartition(b" ")
        words = facts.split(b" ")
        if feed and words[:2] == [b"kaibiao-head", b"1"] and sha256(facts).hex()[:16].encode() == check:
            heads.append((int(words[2]), bytes.fromhex(words[3].decode())))
    if not heads:
        sys.exit("no slot of the head counts")
    return max(heads)


def main(folder):
    database = sqlite3.connect(f"file:{folder / 'journal.db'}?mode=ro", uri=True)
    if database.execute("PRAGMA application_id").fetchone() != (0x4B424A31,):
        sys.exit("not a journal")
    if database.execute("PRAGMA user_version").fetchone() != (1,):
        sys.exit("a journal of another version")
    head, running, tails = read_head(folder / "head"), bytes(32), {}
    position = 0
    for row in database.execute(
        "SELECT position, stream, seq, at, kind, version, command_id, payload, hash FROM records ORDER BY position"
    ):
        position += 1
        stored, stream, seq, at, kind, version, command_id, payload, found = row
        last_seq, last_hash = tails.get(stream, (0, bytes(32)))
        expected = chain_hash(last_hash, stream, seq, at, kind, version, command_id, payload)
        if stored != position or seq != last_seq + 1 or found != expected:
            sys.exit(f"record {position} does not hold")
        tails[stream] = (seq, found)
        running = sha256(b"kaibiao head 1\n", running, position.to_bytes(8, "big"), found)
        if position == head[0] and running != head[1]:
            sys.exit("not the records of the head")
    if position < head[0]:
        sys.exit(f"ends at record {position}, before the head {head[0]}")
    print(f"{position} records, {len(tails)} streams, {running.hex()}")


main(pathlib.Path(sys.argv[1]))
