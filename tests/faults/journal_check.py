#!/usr/bin/python3
"""Folds a stopped server's journal into mailboxes and queue, by docs/disk.md alone, and compares them with a ledger.

    journal_check.py DATA_DIRECTORY LEDGER.json

Shares no code with the server: journal_reader.py walks the files, this file reads the record types.
"""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import journal_reader  # noqa: E402
from attempts import Ledger, message, verify, verify_queue  # noqa: E402

MESSAGE, FLAGS, EXPUNGE, COPY, MOVE, ENTRIES, MAILBOX, ACCOUNT, DOMAIN, ALIAS, RETIRE, QUEUE, MAILBOXES, \
    SUBSCRIPTIONS = range(1, 15)
NEWEST = {MESSAGE: 2, FLAGS: 2, EXPUNGE: 2, COPY: 2, MOVE: 2, ENTRIES: 2, ACCOUNT: 3, RETIRE: 2}  # all other types have version 1
INLINE, FILE = 1, 2
LIVE, REMOVING, REMOVED = 0, 1, 2
EVERY_UID = (1 << 32) - 1
QUEUE_REMOVED = 0
FLAGS_BITS = {1: "\\Seen", 2: "\\Answered", 4: "\\Flagged", 8: "\\Deleted", 16: "\\Draft"}
KEYWORD_SHIFT = 8


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


def queued(f):
    return f.number(4), f.number(1), f.number(4)


def queue_row(f):
    keys = ("message", "recipient", "state", "variant", "size", "account", "created_ms")
    row = dict(zip(keys, (f.number(n) for n in (8, 4, 1, 4, 8, 8, 8))))
    return {**row, "sender": f.text(), "address": f.text()}


def grant(f):
    return {"kind": f.number(1), "name": f.text(), "protocols": f.number(4), "created_ms": f.number(8),
            "expires_ms": f.number(8), "data": f.text()}


def mailbox(f):
    ident, account, state, name = f.number(8), f.number(8), f.number(1), f.text().decode()
    f.take(4 + 4 + 8)
    f.text()
    return {"id": ident, "account": account, "state": state, "name": name, "removed_to": 0, "uses": 0, "keywords": ""}


def mailbox_state(f):
    ident, account, state, name = f.number(8), f.number(8), f.number(1), f.text().decode()
    f.take(4 + 4 + 8 + 8)
    return {"id": ident, "account": account, "state": state, "name": name, "removed_to": f.number(4), "uses": f.number(4),
            "keywords": f.text().decode()}


def subscription(f):
    keys = ("id", "account", "state", "name")
    return dict(zip(keys, (f.number(8), f.number(8), f.number(1), f.text().decode())))


class Journal:
    """What the journal says: accounts, what is in which mailbox, what waits in the queue."""

    def __init__(self, directory):
        self.directory = directory
        self.messages = {}   # id -> (prefixes, body kind, body bytes or body file name, body length)
        self.entries = {}    # (mailbox, uid) -> entry
        self.accounts = {}   # id -> {"address", "options", "quota", "inbox", "grants"}
        self.mailboxes = {}  # id -> as its record says
        self.subscriptions = {}  # id -> (account, name)
        self.queue = {}      # (message, recipient) -> row
        self.highest_uid = {}
        self.problems = []

    def apply(self, record):
        if record.version > NEWEST.get(record.type, 1):
            raise ValueError(f"record {record.seq}: type {record.type} version {record.version}")
        f = Fields(record.payload)
        length = f.number(4)
        if record.type == MESSAGE:
            self.message(record, f, length)
        elif record.type in (FLAGS, EXPUNGE, COPY, MOVE, ENTRIES):
            self.change(record, f)
        elif record.type == ACCOUNT:
            self.account(record, f)
        elif record.type == MAILBOX:
            self.mailbox(record.seq, mailbox(f))
        elif record.type == MAILBOXES:
            for found in f.many(mailbox_state):
                self.mailbox(record.seq, found)
        elif record.type == SUBSCRIPTIONS:
            for found in f.many(subscription):
                self.subscription(record.seq, found)
        elif record.type == QUEUE:
            f.number(8)  # time
            for row in f.many(queue_row):
                self.queue_put(row)
        else:
            return
        if record.type != MESSAGE and (f.at != 4 + length or f.at != len(record.payload)):
            raise ValueError(f"record {record.seq}: the fields do not end where they should")

    def message(self, record, f, length):
        ident = f.number(8)
        f.take(16 + 16)
        time_ms = f.number(8)
        _, _, _, sender, _, _ = (f.text() for _ in range(6))  # source, protocol, helo, reverse_path, message_id, structure
        recipients = f.many(Fields.text)
        prefix_lengths = f.many(lambda g: g.number(4))
        entries = f.many(entry)
        f.many(box)
        kind, body_bytes, body_file = f.number(1), f.number(8), f.take(16)
        f.number(8)
        submitter, rows = 0, []
        if record.version >= 2:
            f.text()  # tls
            f.take(16)
            submitter, rows = f.number(8), f.many(queued)
        if f.at != 4 + length:
            raise ValueError(f"record {record.seq}: the fields do not end where they should")
        prefixes = [f.take(n) for n in prefix_lengths] if kind else []
        body = f.take(body_bytes) if kind == INLINE else body_file if kind == FILE else b""
        if f.at != len(record.payload):
            raise ValueError(f"record {record.seq}: bytes behind the body")
        self.messages[ident or record.seq] = (prefixes, kind, body, body_bytes)
        if ident:
            return  # written again: how it was delivered at first is history
        for e in entries:
            self.place(e, record.seq)
        for recipient, state, variant in rows:
            self.queue_put({"message": record.seq, "recipient": recipient, "state": state, "variant": variant,
                            "size": prefix_lengths[variant] + body_bytes, "account": submitter, "created_ms": time_ms,
                            "sender": sender, "address": recipients[recipient]})

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

    def change(self, record, f):
        f.take(16 + 8)
        entries = f.many(entry)
        for e in entries:
            self.place(e, record.seq)
        for g in f.many(gone):
            self.entries.pop((g["mailbox"], g["uid"]), None)
            self.highest_uid[g["mailbox"]] = max(self.highest_uid.get(g["mailbox"], 0), g["uid"])
        f.many(box)
        if record.version >= 2 and len(f.many(lambda g: g.number(8))) not in (0, len(entries)):
            raise ValueError(f"record {record.seq}: not one time for each entry")

    def mailbox(self, seq, found):
        ident = found["id"] or seq
        if found["state"] == LIVE:
            self.mailboxes[ident] = found
            return
        self.mailboxes.pop(ident, None)
        removed_to = EVERY_UID if found["state"] == REMOVED else found["removed_to"]
        for key in [key for key in self.entries if key[0] == ident and key[1] <= removed_to]:
            del self.entries[key]

    def subscription(self, seq, found):
        if found["state"] == LIVE:
            self.subscriptions[found["id"] or seq] = found["account"], found["name"]
        else:
            self.subscriptions.pop(found["id"] or seq, None)

    def account(self, record, f):
        ident, state, address = f.number(8) or record.seq, f.number(1), f.text().decode()
        account = {"address": address, "options": f.number(4), "quota": f.number(8), "inbox": f.number(8) or ident, "grants": []}
        f.number(8)
        f.text()
        for found in f.many(mailbox):
            self.mailbox(record.seq, {**found, "account": ident})
        if record.version >= 2:
            f.take(16 + 4)
            f.text()
            f.text()
            account["grants"] = f.many(grant)
        if record.version >= 3:
            f.number(4)  # the highest UIDVALIDITY
        if state == LIVE:
            self.accounts[ident] = account
        else:
            self.accounts.pop(ident, None)

    def queue_put(self, row):
        key = row["message"], row["recipient"]
        if row["state"] == QUEUE_REMOVED:
            self.queue.pop(key, None)
        else:
            self.queue[key] = row

    def content(self, named):
        """The bytes that an entry or a row of the queue names."""
        prefixes, kind, body, body_bytes = self.messages[named["message"]]
        if kind == FILE:
            body = journal_reader.read_body(self.directory, body)
        if len(body) != body_bytes:
            self.problems.append(f"message {named['message']}: body of {len(body)} bytes, not {body_bytes}")
        whole = prefixes[named["variant"]] + body
        if len(whole) != named["size"]:
            self.problems.append(f"message {named['message']}: {len(whole)} bytes, not {named['size']}")
        return whole

    def contents(self):
        """{address: [bytes of each message in the INBOX]}"""
        found = {account["address"]: [] for account in self.accounts.values()}
        for e in self.entries.values():
            account = self.accounts.get(e["account"])
            if account and e["mailbox"] == account["inbox"]:
                found[account["address"]].append(self.content(e))
        return found

    def flags(self, e):
        """The names of an entry's flags."""
        keywords = self.mailboxes[e["mailbox"]]["keywords"].split()
        return sorted([name for bit, name in FLAGS_BITS.items() if e["flags"] & bit] +
                      [name for i, name in enumerate(keywords) if e["flags"] >> (KEYWORD_SHIFT + i) & 1])

    def check_imap(self, user):
        """The mailboxes of a user of IMAP, and what they hold, are those of the last look at them."""
        account = next((i for i, a in self.accounts.items() if a["address"] == user["account"]), None)
        if account is None:
            return [f"{user['account']} is missing from the journal"]
        mine = {box["name"]: ident for ident, box in self.mailboxes.items()
                if box["account"] == account and (box["name"] + "/").startswith(user["prefix"] + "/")}
        if user["inbox"]:
            mine["INBOX"] = self.accounts[account]["inbox"]
        wrong, who = [], f"{user['account']} {user['prefix']}"
        if set(mine) != set(user["boxes"]):
            wrong.append(f"{who}: mailboxes {sorted(mine)}, seen were {sorted(user['boxes'])}")
        subscribed = sorted(name for owner, name in self.subscriptions.values()
                            if owner == account and (name + "/").startswith(user["prefix"] + "/"))
        if subscribed != user["subscribed"]:
            wrong.append(f"{who}: subscribed {subscribed}, seen were {user['subscribed']}")
        held = {}
        for (mailbox, uid), e in sorted(self.entries.items()):
            held.setdefault(mailbox, []).append((uid, e))
        for name in set(mine) & set(user["boxes"]):
            wrong += [f"{who}: {name}: {line}" for line in self.check_box(held.get(mine[name], []), user["boxes"][name])]
        return wrong

    def check_box(self, entries, seen):
        if [uid for uid, _ in entries] != [uid for uid, _, _ in seen]:
            return [f"UIDs {[uid for uid, _ in entries]}, seen were {[uid for uid, _, _ in seen]}"]
        wrong = []
        for (uid, e), (_, token, flags) in zip(entries, seen):
            if self.content(e) != message(token):
                wrong.append(f"UID {uid} is not {token}")
            if self.flags(e) != flags:
                wrong.append(f"flags of UID {uid} are {self.flags(e)}, seen were {flags}")
        return wrong

    def check_queue(self):
        """Each row has its whole message."""
        before = len(self.problems)
        for key, row in self.queue.items():
            if key[0] not in self.messages or self.messages[key[0]][1] not in (INLINE, FILE):
                self.problems.append(f"queue: message {key[0]} is missing")
            else:
                self.content(row)
        return self.problems[before:]


def main():
    directory, ledger_path = sys.argv[1:3]
    ledger = Ledger()
    with open(ledger_path) as f:
        told = json.load(f)
    for token, account, outcome, deleted in told["mail"]:
        ledger.mail[token, account] = outcome
        if deleted is not None:
            ledger.deletes[token, account] = deleted
    ledger.remote = {(token, address): outcome for token, address, outcome in told["queue"]}
    journal = Journal(directory)
    count = 0
    for record in journal_reader.records(directory):
        journal.apply(record)
        count += 1
    contents = journal.contents()
    journal.check_queue()
    wanted = {account for _, account in ledger.mail}
    wrong = journal.problems + verify(ledger, {a: m for a, m in contents.items() if a in wanted})
    wrong += verify_queue(ledger, [(row["sender"].decode(), row["address"].decode()) for row in journal.queue.values()])
    for user in told.get("imap", []):
        wrong += journal.check_imap(user)
    missing = wanted - contents.keys()
    if missing:
        wrong.append(f"accounts missing from the journal: {sorted(missing)}")
    if count == 0:
        wrong.append("the journal has no records")
    print(f"  journal: {count} records, {sum(map(len, contents.values()))} messages in {len(contents)} accounts, "
          f"{len(journal.queue)} rows of the queue")
    for line in wrong[:40]:
        print("WRONG:", line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
