#!/usr/bin/python3
"""Reads a data directory by docs/disk.md alone: records of the journal, large bodies. Shares no code with the server.

    journal_reader.py DATA_DIRECTORY        prints one line per record, and what is wrong

    for record in records(directory): ...   record.seq, .type, .version, .payload
    read_body(directory, ident)             the bytes of a large body, verified
"""
import collections
import os
import re
import struct
import sys

import xxhash

Record = collections.namedtuple("Record", "seq type version payload segment offset")
Segment = collections.namedtuple("Segment", "id first last end path seed")

FIRST_RECORD = 4096
HEADER = 48
BLOCK = 65536
LOST = 0
NO_LIMIT = 1 << 64


class Damaged(Exception):
    """The directory is not in a legal state."""


def checksum(data, seed=0):
    return xxhash.xxh3_64_intdigest(data, seed)


def checked(data, size, magic):
    """Do the first `size` bytes begin with their right checksum, and then with the magic?"""
    return len(data) >= size >= 16 and data[8:16] == magic and checksum(data[8:size]) == int.from_bytes(data[:8], "little")


def read_file(path):
    with open(path, "rb") as f:
        return f.read()


def version_1(version, path):
    if version != 1:
        raise Damaged(f"{path}: format version {version}")


def read_list(directory):
    """(generation, store id, next id, {id: (open, first, last, end)}) of the newest valid copy, or None."""
    best = None
    for name in ("live.0", "live.1"):
        path = os.path.join(directory, "journal", name)
        if not os.path.exists(path):
            continue
        data = read_file(path)
        if len(data) < 64:
            continue
        version, count, generation, store_id, _, next_id, _ = struct.unpack_from("<IIQ16sQII", data, 16)
        if 64 + 32 * count > len(data) or not checked(data, 64 + 32 * count, b"BRNTLIVE"):
            continue
        version_1(version, path)
        entries = {}
        for i in range(count):
            ident, is_open, first, last, end = struct.unpack_from("<IIQQQ", data, 64 + 32 * i)
            entries[ident] = is_open & 1, first, last, end
        if best is None or generation > best[0]:
            best = generation, store_id, next_id, entries
    return best


def read_header(path, ident):
    """(first number, store id), or None when the header is damaged or another's."""
    with open(path, "rb") as f:
        data = f.read(64)
    if not checked(data, 64, b"BRNTJSEG"):
        return None
    version, own, first, store_id = struct.unpack_from("<IIQ16s", data, 16)
    version_1(version, path)
    return (first, store_id) if own == ident else None


def live_segments(directory):
    """The segments whose records count, by id."""
    journal = os.path.join(directory, "journal")
    files = {int(m[1], 16): os.path.join(journal, m[0])
             for m in map(re.compile(r"([0-9a-f]{8})\.seg").fullmatch, os.listdir(journal)) if m}
    headers = {ident: read_header(path, ident) for ident, path in files.items()}
    live = read_list(directory)
    store_ids = [h[1] for h in headers.values() if h]
    if live is None and not files:
        return []
    if live is None and not store_ids:
        raise Damaged("neither a list nor a segment header is readable")
    _, store_id, next_id, entries = live or (0, store_ids[-1], 0, {})
    seed = int.from_bytes(store_id[:8], "little")
    segments = []
    for ident in sorted(entries):
        if ident not in files:
            raise Damaged(f"segment {ident:08x} is missing")
    for ident in sorted(files):
        if ident in entries:
            is_open, first, last, end = entries[ident]
        elif ident >= next_id and headers[ident] and headers[ident][1] == store_id:
            is_open, first = 1, headers[ident][0]
        else:
            continue
        if is_open:
            last, end = NO_LIMIT, os.path.getsize(files[ident])
        segments.append(Segment(ident, first, last, end, files[ident], seed))
    return segments


def record_at(data, offset, end, segment):
    """The valid record at the offset, or None."""
    if offset + HEADER > end:
        return None
    total, magic, kind, version, seq, mark, length, ident, place, _ = struct.unpack_from("<Q4sHHQQIIII", data, offset)
    if magic != b"jRec" or ident != segment.id or place * 8 != offset or mark >= seq:
        return None
    if offset + HEADER + length > end:
        return None
    if checksum(data[offset + 8:offset + HEADER + length], segment.seed) != total:
        return None
    return Record(seq, kind, version, data[offset + HEADER:offset + HEADER + length], segment.id, offset)


def search(data, offset, end, segment, expected):
    """The next valid record behind the offset with a plausible number, or None."""
    at = offset
    while True:
        at = data.find(b"jRec", at + 8)
        if at < 0:
            return None
        place = at - 8
        if place % 8 == 0 and place > offset:
            record = record_at(data, place, end, segment)
            if record and expected <= record.seq <= expected + (place - offset) // HEADER:
                return record
        at -= 7  # the next try begins one byte further


def scan(segment, below, problems):
    """The records of one segment with numbers below `below`."""
    data = read_file(segment.path)
    end = min(segment.end, len(data))
    offset, expected = FIRST_RECORD, segment.first
    limit = min(segment.last + 1, below)
    while expected < limit:
        record = record_at(data, offset, end, segment)
        if record is None or record.seq != expected:
            record = search(data, offset, end, segment, expected)
            if record is None:
                break
            problems.append(f"records {expected} to {record.seq - 1}: damaged, segment {segment.id:08x} offset {offset}")
        if record.seq >= limit:
            expected = limit
            break
        if record.type == LOST:
            problems.append(f"record {record.seq}: lost before, segment {segment.id:08x}")
        else:
            yield record
        expected = record.seq + 1
        offset = record.offset + (HEADER + len(record.payload) + 7) // 8 * 8
    if expected < limit < NO_LIMIT:
        problems.append(f"records {expected} to {limit - 1}: damaged, at the end of segment {segment.id:08x}")


def records(directory, problems=None):
    """All records in order. Damage is added to `problems`, or raised at the end when there is no such list."""
    found = [] if problems is None else problems
    segments = live_segments(directory)
    for i, segment in enumerate(segments):
        below = min((later.first for later in segments[i + 1:]), default=NO_LIMIT)
        yield from scan(segment, below, found)
    if problems is None and found:
        raise Damaged("; ".join(found))


def read_body(directory, ident, length=None, root=None):
    """The bytes of bodies/ID, every checksum verified; ident is 16 bytes."""
    path = os.path.join(directory, "bodies", ident.hex())
    data = read_file(path)
    trailer = data[-64:]
    if not checked(trailer, 64, b"BRNTBODY"):
        raise Damaged(f"{path}: trailer")
    version, block, own, size, total, _ = struct.unpack_from("<II16sQQQ", trailer, 16)
    version_1(version, path)
    count = -(-size // BLOCK)
    table = data[size:size + 8 * count]
    if block != BLOCK or own != ident or len(data) != size + 8 * count + 64 or length not in (None, size):
        raise Damaged(f"{path}: not what its trailer or its record says")
    if checksum(table + size.to_bytes(8, "little"), int.from_bytes(ident[8:], "little")) != total or root not in (None, total):
        raise Damaged(f"{path}: root checksum")
    seed = int.from_bytes(ident[:8], "little")
    for i in range(count):
        part = data[i * BLOCK:min((i + 1) * BLOCK, size)]
        if checksum(part, (seed + i) % (1 << 64)) != int.from_bytes(table[8 * i:8 * i + 8], "little"):
            raise Damaged(f"{path}: block {i}")
    return data[:size]


def main():
    problems = []
    for record in records(sys.argv[1], problems):
        print(record.seq, record.type, record.version, len(record.payload), f"{record.segment:08x}", record.offset)
    for line in problems:
        print("WRONG:", line)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
