#!/usr/bin/python3
"""The independent reader against the server's own writer: same records, same bodies; damage is noticed.

    test_reader.py JOURNAL_SAMPLE
"""
import os
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import journal_reader
except ImportError as missing:
    print(f"{missing}: skipped")
    sys.exit(77)


def expected(sample, directory):
    wanted, bodies = [], {}
    for line in subprocess.run([sample, directory], check=True, capture_output=True, text=True).stdout.splitlines():
        what, *fields = line.split(" ")
        if what == "record":
            wanted.append((int(fields[0]), int(fields[1]), int(fields[2]), bytes.fromhex(fields[3])))
        else:
            bodies[bytes.fromhex(fields[0])] = bytes.fromhex(fields[1])
    return wanted, bodies


def flip(path, offset):
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)[0]
        f.seek(offset)
        f.write(bytes([byte ^ 1]))


def main():
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as directory:
        wanted, bodies = expected(sys.argv[1], directory)
        found = [tuple(r[:4]) for r in journal_reader.records(directory)]
        assert wanted and found == wanted, f"{len(found)} records, {len(wanted)} wanted"
        assert len(bodies) == 2
        for ident, content in bodies.items():
            assert journal_reader.read_body(directory, ident) == content
            path = os.path.join(directory, "bodies", ident.hex())
            for _ in range(20):
                offset = chance.randrange(os.path.getsize(path))
                flip(path, offset)
                try:
                    journal_reader.read_body(directory, ident)
                    raise AssertionError(f"{path}: a flip at {offset} was not noticed")
                except journal_reader.Damaged:
                    flip(path, offset)
        places = list(journal_reader.records(directory))
        for record in chance.sample(places[:-8], 40):  # at the very end damage is a torn tail
            path = os.path.join(directory, "journal", f"{record.segment:08x}.seg")
            offset = record.offset + chance.randrange(48 + len(record.payload))
            flip(path, offset)
            problems = []
            rest = [tuple(r[:4]) for r in journal_reader.records(directory, problems)]
            assert problems and rest == [w for w in wanted if w[0] != record.seq], f"flip at {path} {offset}"
            flip(path, offset)
        os.unlink(os.path.join(directory, "journal", f"{places[0].segment:08x}.seg"))
        try:
            list(journal_reader.records(directory))
            raise AssertionError("a missing segment was not noticed")
        except journal_reader.Damaged:
            pass
    print(f"{len(wanted)} records, {len(bodies)} bodies, 40 damaged records, 40 damaged bodies")


main()
