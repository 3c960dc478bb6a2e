"""Messages that identify and verify themselves, and the ledger of what was answered.

Every attempt to send a message has its own token; the message's bytes follow from the token alone, so a
checker that finds a token anywhere can tell whether what stands there is complete and unchanged.
"""
import hashlib
import random
import re
import threading

TOKEN = re.compile(rb"^X-Attempt: ([0-9a-z]+-[0-9]+)\r\n", re.M)
STRANGER = "load@example.org"
SUBMITTERS = {"sa": "alice@brant.test", "sb": "bob@brant.test", "sc": "carol@brant.test"}


def sender(token):
    """Who sends an attempt: a user, whose mark the token begins with, or a stranger."""
    return SUBMITTERS.get(token[:2], STRANGER)


def message(token):
    """The bytes of an attempt as they are handed to the server, CRLF line ends. What users send has nothing that a
    submission server would repair."""
    size = int(token.rsplit("-", 1)[1])
    rng = random.Random(token)
    head = (f"X-Attempt: {token}\r\nFrom: {sender(token)}\r\nTo: somebody@brant.test\r\n"
            f"Date: Mon, 23 Nov 2026 09:00:00 +0000\r\nMessage-ID: <{token}@load.example.org>\r\n"
            f"Subject: attempt {token}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n").encode()
    lines = [head]
    have = len(head)
    while have < size:
        n = rng.choice((0, 1, 20, 60, 76, 76, 76, 200))
        line = bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz0123456789 .", k=n))
        if rng.random() < 0.02:
            line = b"." * rng.randrange(1, 4) + line
        line += "鸿雁".encode() if rng.random() < 0.05 else b""
        lines.append(line + b"\r\n")
        have += len(line) + 2
    return b"".join(lines)


def dot_stuffed(data):
    """RFC 5321 4.5.2, with the end of data."""
    if data.startswith(b"."):
        data = b"." + data
    return data.replace(b"\r\n.", b"\r\n..") + b".\r\n"


def split_stored(stored):
    """(trace prefix, the bytes as sent, token); token None when it is none of ours."""
    m = TOKEN.search(stored)
    if not m:
        return stored, b"", None
    return stored[:m.start()], stored[m.start():], m.group(1).decode()


class Ledger:
    """What was tried and what was answered. Safe for many threads."""

    ACCEPTED, REFUSED, UNANSWERED = "accepted", "refused", "unanswered"

    def __init__(self):
        self.lock = threading.Lock()
        self.mail = {}       # (token, account) -> outcome
        self.remote = {}     # (token, remote recipient) -> outcome
        self.deletes = {}    # (token, account) -> True (acknowledged) or False (unknown)
        self.accounts = {}   # address -> "present", "absent" or "unknown"
        self.refusals = {}   # first reply word -> count, for the summary

    def tried(self, token, accounts, remote=()):
        with self.lock:
            self.mail.update({(token, a): self.UNANSWERED for a in accounts})
            self.remote.update({(token, r): self.UNANSWERED for r in remote})

    def answered(self, token, accounts, reply, remote=()):
        accepted = reply.startswith(b"250")
        outcome = self.ACCEPTED if accepted else self.REFUSED
        with self.lock:
            self.mail.update({(token, a): outcome for a in accounts})
            self.remote.update({(token, r): outcome for r in remote})
            if not accepted:
                word = reply[:9].decode("ascii", "replace")
                self.refusals[word] = self.refusals.get(word, 0) + 1

    def deleting(self, account, tokens, acknowledged):
        with self.lock:
            for token in tokens:
                self.deletes[token, account] = acknowledged or self.deletes.get((token, account), False)

    def account_is(self, address, state):
        with self.lock:
            self.accounts[address] = state


def verify(ledger, contents):
    """Compares the ledger with {account: [stored bytes, …]}; returns a list of what is wrong."""
    wrong = []
    seen = {}
    for account, messages in contents.items():
        for stored in messages:
            prefix, body, token = split_stored(stored)
            if token is None:
                wrong.append(f"{account}: a message that nobody sent: {stored[:200]!r}")
                continue
            seen[token, account] = seen.get((token, account), 0) + 1
            if body != message(token):
                wrong.append(f"{account}: {token} is not what was sent: "
                             f"{len(body)} bytes, {hashlib.sha256(body).hexdigest()[:16]}")
            if not prefix.startswith(f"Return-Path: <{sender(token)}>\r\nReceived: ".encode()):
                wrong.append(f"{account}: {token} has a strange prefix {prefix[:100]!r}")
    for (token, account), outcome in ledger.mail.items():
        if account not in contents:
            continue
        count = seen.pop((token, account), 0)
        gone = ledger.deletes.get((token, account))
        if count > 1:
            wrong.append(f"{account}: {token} is there {count} times ({outcome})")
        elif gone is True and count:
            wrong.append(f"{account}: {token} is there again, its deletion was acknowledged")
        elif outcome == Ledger.ACCEPTED and gone is None and count != 1:
            wrong.append(f"{account}: {token} was accepted and is LOST")
        elif outcome == Ledger.REFUSED and count:
            wrong.append(f"{account}: {token} was refused and is there")
    for token, account in seen:
        wrong.append(f"{account}: {token} was never sent there")
    return wrong


def verify_queue(ledger, rows):
    """Compares the ledger with the queue, as a list of (sender, recipient); returns a list of what is wrong."""
    wrong = []
    count = {}
    for who, address in rows:
        count[address] = count.get(address, 0) + 1
        token = address.split(".")[0]
        if (token, address) not in ledger.remote:
            wrong.append(f"queue: nobody sent to {address}")
        elif who != sender(token):
            wrong.append(f"queue: {address} is from {who}")
    for (token, address), outcome in ledger.remote.items():
        n = count.get(address, 0)
        if n > 1:
            wrong.append(f"queue: {address} is there {n} times ({outcome})")
        elif outcome == Ledger.ACCEPTED and n != 1:
            wrong.append(f"queue: {address} was accepted and is LOST")
        elif outcome == Ledger.REFUSED and n:
            wrong.append(f"queue: {address} was refused and is there")
    return wrong
