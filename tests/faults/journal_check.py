#!/usr/bin/python3
"""Folds a stopped server's journal into mailboxes, by docs/disk.md alone, and compares them with a ledger.

    journal_check.py DATA_DIRECTORY LEDGER.json

Shares no code with the server: journal_reader.py walks the files, this file reads the record types.
"""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import journal_reader  # noqa: E402
from attempts import Ledger, verify  # noqa: E402

MESSAGE, FLAGS, EXPUNGE, COPY, MOVE, ENTRIES, MAILBOX, ACCOUNT = 1, 2, 3, 4, 5, 6, 7, 8
INLINE, FILE = 1, 2
LIVE = 0


class Fields:
    """Reads the fields of one record (docs/disk.md, "Record types")."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, size):
        value = int.from_bytes(self.data[self.at:self.at + size], "little")
        self.at += size
        return value

    def take(self, size):
        value = self.data[self.at:self.at + size]
        if len(value) != size:
            raise ValueError("a record is shorter than its fields")
        self.at += size
        return value

    def text(self):
        return self.take(self.number(4))

    def many(self, item):
        return [item(self) for _ in range(self.number(4))]


def entry(f):
    keys = ("account", "mailbox", "uid", "modseq", "flags", "message", "variant", "size", "time_ms", "recipient")
    return dict(zip(keys, (f.number(n) for n in (8, 8, 4, 8, 8, 8, 4, 8, 8, 4))))


def gone(f):
    keys = ("account", "mailbox", "uid", "modseq", "message", "size", "time_ms")
    return dict(zip(keys, (f.number(n) for n in (8, 8, 4, 8, 8, 8, 8))))


def box(f):
    return [f.number(n) for n in (8, 8, 4, 8)]


class Mailboxes:
    """What the journal says is where."""

    def __init__(self, directory):
        self.directory = directory
        self.messages = {}  # id -> (prefixes, body bytes or body file name)
        self.entries = {}   # (mailbox, uid) -> entry
        self.accounts = {}  # id -> address
        self.highest_uid = {}
        self.problems = []

    def apply(self, record):
        if record.type == MESSAGE:
            self.message(record)
        elif record.type in (FLAGS, EXPUNGE, COPY, MOVE, ENTRIES):
            self.change(record)
        elif record.type == ACCOUNT:
            self.account(record)

    def message(self, record):
        f = Fields(record.payload)
        length = f.number(4)
        ident = f.number(8)
        f.take(16 + 16 + 8)
        for _ in range(6):  # source, protocol, helo, reverse_path, message_id, structure
            f.text()
        f.many(Fields.text)
        prefix_lengths = f.many(lambda g: g.number(4))
        entries = f.many(entry)
        f.many(box)
        kind, body_bytes, body_file = f.number(1), f.number(8), f.take(16)
        f.number(8)
        if f.at != 4 + length:
            raise ValueError(f"record {record.seq}: the fields do not end where they should")
        prefixes = [f.take(n) for n in prefix_lengths]
        body = f.take(body_bytes) if kind == INLINE else body_file if kind == FILE else b""
        if kind == INLINE and f.at != len(record.payload):
            raise ValueError(f"record {record.seq}: bytes behind the body")
        self.messages[ident or record.seq] = (prefixes, kind, body, body_bytes)
        if ident == 0:
            for e in entries:
                self.place(e, record.seq)

    def place(self, e, seq):
        key = e["mailbox"], e["uid"]
        e["message"] = e["message"] or seq
        known = self.entries.get(key)
        if known is None and e["uid"] <= self.highest_uid.get(e["mailbox"], 0) and e["message"] == seq:
            self.problems.append(f"record {seq}: uid {e['uid']} of mailbox {e['mailbox']} was used before")
        if known is not None and known["message"] != e["message"]:
            self.problems.append(f"record {seq}: uid {e['uid']} changed its message")
        self.highest_uid[e["mailbox"]] = max(self.highest_uid.get(e["mailbox"], 0), e["uid"])
        self.entries[key] = e

    def change(self, record):
        f = Fields(record.payload)
        f.number(4)
        f.take(16 + 8)
        for e in f.many(entry):
            self.place(e, record.seq)
        for g in f.many(gone):
            self.entries.pop((g["mailbox"], g["uid"]), None)
            self.highest_uid[g["mailbox"]] = max(self.highest_uid.get(g["mailbox"], 0), g["uid"])

    def account(self, record):
        f = Fields(record.payload)
        f.number(4)
        ident, state, address = f.number(8) or record.seq, f.number(1), f.text().decode()
        if state == LIVE:
            self.accounts[ident] = address
        else:
            self.accounts.pop(ident, None)

    def contents(self):
        """{address: [bytes of each message]}"""
        found = {address: [] for address in self.accounts.values()}
        for e in self.entries.values():
            if e["account"] not in self.accounts:
                continue
            prefixes, kind, body, body_bytes = self.messages[e["message"]]
            if kind == FILE:
                body = journal_reader.read_body(self.directory, body)
            if len(body) != body_bytes:
                self.problems.append(f"message {e['message']}: body of {len(body)} bytes, not {body_bytes}")
            whole = prefixes[e["variant"]] + body
            if len(whole) != e["size"]:
                self.problems.append(f"message {e['message']}: {len(whole)} bytes, not {e['size']}")
            found[self.accounts[e["account"]]].append(whole)
        return found


def main():
    directory, ledger_path = sys.argv[1:3]
    ledger = Ledger()
    with open(ledger_path) as f:
        for token, account, outcome, deleted in json.load(f):
            ledger.mail[token, account] = outcome
            if deleted is not None:
                ledger.deletes[token, account] = deleted
    boxes = Mailboxes(directory)
    count = 0
    for record in journal_reader.records(directory):
        boxes.apply(record)
        count += 1
    contents = boxes.contents()
    wanted = {account for _, account in ledger.mail}
    wrong = boxes.problems + verify(ledger, {a: m for a, m in contents.items() if a in wanted})
    missing = wanted - contents.keys()
    if missing:
        wrong.append(f"accounts missing from the journal: {sorted(missing)}")
    if count == 0:
        wrong.append("the journal has no records")
    print(f"  journal: {count} records, {sum(map(len, contents.values()))} messages in {len(contents)} accounts")
    for line in wrong[:40]:
        print("WRONG:", line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
