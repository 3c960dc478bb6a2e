"""Looks for bytes in the memory of processes. Needs root."""
import os

CHUNK = 8 << 20


def regions(pid):
    """(start, end) of what a process can read of its own."""
    found = []
    with open(f"/proc/{pid}/maps") as f:
        for line in f:
            where, rights = line.split()[:2]
            if rights[0] != "r" or line.rstrip().endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            start, end = (int(x, 16) for x in where.split("-"))
            found.append((start, end))
    return found


def count(pid, needles):
    """How often each of the needles stands in a process's memory, as a dictionary; and how many bytes were looked at."""
    longest = max(map(len, needles.values()))
    hits, read = dict.fromkeys(needles, 0), 0
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end in regions(pid):
            at, tail = start, b""
            while at < end:
                try:
                    memory.seek(at)
                    data = memory.read(min(CHUNK, end - at))
                except (OSError, ValueError):
                    break  # unmapped meanwhile, or a device
                if not data:
                    break
                read += len(data)
                whole = tail + data
                for name, needle in needles.items():
                    hits[name] += whole.count(needle) if not tail else count_from(whole, needle, len(tail))
                tail = whole[-(longest - 1):] if longest > 1 else b""
                at += len(data)
    return hits, read


def count_from(whole, needle, tail):
    """Those that were not within the tail already."""
    return whole.count(needle) - whole[:tail].count(needle)


def self_test():
    """A needle in our own memory is found: else every test that finds none means nothing."""
    needle = os.urandom(32)
    hits, read = count(os.getpid(), {"mine": needle})
    return hits["mine"] >= 1 and read > 0
