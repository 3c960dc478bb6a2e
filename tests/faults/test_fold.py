#!/usr/bin/python3
"""The independent reading of the records against the store itself: accounts, mail and queue, over records of version 1 and 2
and over compaction.

    test_fold.py STORE_SAMPLE
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import journal_reader
    from journal_check import Journal
except ImportError as missing:
    print(f"{missing}: skipped")
    sys.exit(77)


def told(journal):
    """What the sample prints, from the folded journal."""
    for ident, account in journal.accounts.items():
        grants = sorted((g["kind"], g["name"]) for g in account["grants"])
        names = "".join(f"{kind}:{name.decode()}," for kind, name in grants)
        yield f"account {account['address']} {account['options']} {account['quota']} {names}"
        for box in journal.mailboxes.values():
            if box["account"] == ident:
                yield f"mailbox {account['address']} {box['name']} {box['uses']} {box['keywords'].replace(' ', ',')}"
        for owner, name in journal.subscriptions.values():
            if owner == ident:
                yield f"subscribed {account['address']} {name}"
        for entry in journal.entries.values():
            if entry["account"] == ident:
                content = journal.content(entry)
                yield (f"message {account['address']} {journal.mailboxes[entry['mailbox']]['name']} {entry['uid']} {entry['flags']} "
                       f"{content.hex()}")
    for row in journal.queue.values():
        yield f"queue {row['address'].decode()} {row['sender'].decode()} {row['size']}"


def compare(*how):
    with tempfile.TemporaryDirectory() as directory:
        sample = subprocess.run([sys.argv[1], directory, *how], check=True, capture_output=True, text=True)
        wanted = sorted(sample.stdout.splitlines())
        journal = Journal(directory)
        versions = set()
        for record in journal_reader.records(directory):
            journal.apply(record)
            versions.add((record.type, record.version))
        found = sorted(told(journal))
        assert not journal.problems, journal.problems
        assert not journal.check_queue(), journal.check_queue()
        assert found == wanted, set(found) ^ set(wanted)
    kinds = {kind: sum(line.startswith(kind) for line in wanted) for kind in ("account", "mailbox", "subscribed", "message", "queue")}
    assert all(kinds.values()) and len(wanted) > 50
    print(len(wanted), "records", kinds, sorted(versions))
    return versions


def main():
    assert compare() >= {(1, 1), (1, 2), (8, 1), (7, 1), (8, 3), (2, 2), (5, 2), (12, 1), (13, 1), (14, 1)}
    assert compare("compact") >= {(1, 2), (6, 2), (8, 3), (11, 2), (12, 1), (13, 1), (14, 1)}


main()
