#!/usr/bin/env python3
"""Many clients at once on one mailbox, each of which believes only what it is told.

usage: stress.py --server HOST:PORT USER PASSWORD [--clients N] [--seconds S] [--seed N]

Every client keeps what the server has said of the selected mailbox: how many messages there are, the UID and flags behind
each sequence number. It does random things beside the others and checks every response against that: numbers that cannot
be, a UID that is another, UIDs that do not ascend, fewer messages without EXPUNGE, EXPUNGE where none may be (RFC 3501
7.4.1). At the end, when nobody changes anything any more, what each was told has to be what each then finds, and
what all find has to be the same.
"""
import argparse
import random
import re
import socket
import sys
import threading
import time

FLAGS = [b"\\Seen", b"\\Flagged", b"\\Answered", b"\\Draft", b"\\Deleted", b"kw1", b"$Forwarded"]
QUIET = (b"FETCH", b"STORE", b"SEARCH")  # no EXPUNGE during these
TIMEOUT = 60


class Wrong(Exception):
    pass


class Client:
    def __init__(self, address, user, password, number, seed):
        host, port = address.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), timeout=TIMEOUT)
        self.file = self.sock.makefile("rb")
        self.number, self.rng, self.tags = number, random.Random(seed * 1000 + number), 0
        self.view, self.flags = [], {}  # UIDs, None: not told yet; flags by UID
        self.last, self.commands, self.refused = [], 0, 0
        self.line()
        self.run(f"LOGIN {user} {password}".encode())
        self.select()

    # ---- what the server says ----

    def line(self):
        text = self.file.readline()
        if not text.endswith(b"\r\n"):
            raise Wrong(f"the connection ended: {text!r}")
        while (m := re.search(rb"\{(\d+)\}\r\n$", text)):
            text += self.file.read(int(m[1])) + self.file.readline()
        self.last = self.last[-40:] + [text]
        return text

    def untagged(self, text, name):
        if (m := re.match(rb"\* (\d+) EXISTS\r\n", text)):
            if int(m[1]) < len(self.view):
                raise Wrong(f"{len(self.view)} messages became {int(m[1])}")
            self.view += [None] * (int(m[1]) - len(self.view))
        elif (m := re.match(rb"\* (\d+) EXPUNGE\r\n", text)):
            if name in QUIET:
                raise Wrong(f"EXPUNGE in {name!r}")
            self.at(m[1])
            self.flags.pop(self.view.pop(int(m[1]) - 1), None)
        elif (m := re.match(rb"\* (\d+) FETCH \((.*)\)\r\n$", text, re.S)):
            self.fetched(self.at(m[1]), m[2], name)
        elif text.startswith(b"* SEARCH") and name == b"SEARCH":
            for n in text.split()[2:]:
                self.at(n)
        elif text.startswith(b"* BYE"):
            raise Wrong("BYE")

    def at(self, number):
        index = int(number) - 1
        if not 0 <= index < len(self.view):
            raise Wrong(f"message {index + 1} of {len(self.view)}")
        return index

    def fetched(self, index, items, name):
        uid = re.search(rb"(?:^| )UID (\d+)", items)
        if uid:
            uid = int(uid[1])
            if self.view[index] not in (None, uid):
                raise Wrong(f"message {index + 1} was UID {self.view[index]} and is {uid}")
            self.view[index] = uid
            known = [u for u in self.view[max(0, index - 20):index + 21] if u]
            if known != sorted(set(known)):
                raise Wrong(f"UIDs do not ascend: {known}")
        elif name.startswith(b"UID"):
            raise Wrong("no UID in the response to a UID command")
        flags = re.search(rb"FLAGS \(([^)]*)\)", items)
        if flags and self.view[index]:
            self.flags[self.view[index]] = frozenset(flags[1].split()) - {b"\\Recent"}

    def run(self, command, literal=None):
        self.tags += 1
        self.commands += 1
        tag = b"t%d " % self.tags
        words = command.split(b" ", 2)
        name = b" ".join(words[:2]) if words[0] == b"UID" else words[0]
        self.last = self.last[-40:] + [b"-> " + command]
        self.sock.sendall(tag + command + b"\r\n" + (literal + b"\r\n" if literal else b""))
        lines = []
        while True:
            text = self.line()
            if text.startswith(tag):
                break
            self.untagged(text, name)
            lines.append(text)
        if text.startswith(tag + b"BAD") or text.startswith(tag + b"NO [UNAVAILABLE]"):
            raise Wrong(f"{command!r}: {text!r}")
        self.refused += text.startswith(tag + b"NO")
        return lines

    # ---- what it does ----

    def select(self):
        self.view, self.flags = [], {}
        self.run(b"SELECT stress")

    def some(self):
        a, b = sorted(self.rng.randint(1, len(self.view)) for _ in range(2))
        return b"%d:%d" % (a, min(b, a + 10))

    def some_uids(self):
        known = [u for u in self.view if u] or [1]
        a = self.rng.choice(known)
        return b"%d:%d" % (a, a + 10)

    def append(self):
        text = b"Subject: %d\r\n\r\n%s\r\n" % (self.tags, b"x" * self.rng.randint(0, 3000))
        flags = b" ".join(self.rng.sample(FLAGS, 2))
        self.run(b"APPEND stress (%s) {%d+}" % (flags, len(text)), text)

    def idle(self):
        self.tags += 1
        self.sock.sendall(b"t%d IDLE\r\n" % self.tags)
        while not (text := self.line()).startswith(b"+"):
            self.untagged(text, b"IDLE")
        time.sleep(self.rng.random() * 0.2)
        self.sock.sendall(b"DONE\r\n")
        while not (text := self.line()).startswith(b"t%d OK" % self.tags):
            self.untagged(text, b"IDLE")

    def step(self):
        roll = self.rng.random()
        if not self.view or roll < 0.2 and len(self.view) < 300:
            return self.append()
        uid = self.rng.random() < 0.5
        head, which = (b"UID ", self.some_uids()) if uid else (b"", self.some())
        flag = self.rng.choice(FLAGS)
        return self.run(head + self.rng.choice([
            b"FETCH %s (UID FLAGS)" % which, b"FETCH %s (FLAGS INTERNALDATE)" % which,
            b"FETCH %s (UID BODY.PEEK[TEXT]<0.100>)" % which, b"SEARCH ALL", b"SEARCH UNSEEN NOT DELETED",
            b"STORE %s +FLAGS (%s)" % (which, flag), b"STORE %s -FLAGS (%s)" % (which, flag),
            b"STORE %s FLAGS (%s)" % (which, flag), b"MOVE %s stress" % which,
            b"COPY %s stress" % which if len(self.view) < 300 else b"STORE %s +FLAGS (\\Deleted)" % which,
        ])) if roll < 0.85 else self.rng.choice(
            [self.idle, self.select, lambda: self.run(b"NOOP"), lambda: self.run(b"EXPUNGE"),
             lambda: self.run(b"UID EXPUNGE " + self.some_uids())])()

    def settle(self):
        """What it was told has to be what it finds."""
        self.run(b"NOOP")
        told, count = dict(self.flags), len(self.view)
        self.run(b"FETCH 1:* (UID FLAGS)" if self.view else b"NOOP")
        if len(self.view) != count:
            raise Wrong("there was news behind NOOP")
        for uid, flags in told.items():
            if self.flags[uid] != flags:
                raise Wrong(f"UID {uid} was told to have {sorted(flags)} and has {sorted(self.flags[uid])}")
        return [(uid, sorted(self.flags[uid])) for uid in self.view]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--server", nargs=3, metavar=("ADDRESS", "USER", "PASSWORD"), required=True)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    wrong, ends, clients = [], [], []
    barrier = threading.Barrier(options.clients)

    def live(client):
        try:
            end = time.monotonic() + options.seconds
            while time.monotonic() < end and not wrong:
                client.step()
            barrier.wait(TIMEOUT)
            ends.append(client.settle())
        except threading.BrokenBarrierError:
            pass
        except (Wrong, OSError, KeyError) as e:
            wrong.append(f"client {client.number}: {e!r}\n" + "\n".join(repr(t)[:300] for t in client.last[-15:]))
            barrier.abort()

    with socket.create_connection(options.server[0].rsplit(":", 1), timeout=TIMEOUT) as s:
        file = s.makefile("rb")
        file.readline()
        for tag, command in ((b"a ", "LOGIN {} {}".format(*options.server[1:]).encode()), (b"b ", b"CREATE stress")):
            s.sendall(tag + command + b"\r\n")
            while not file.readline().startswith(tag):
                pass
    for n in range(options.clients):
        clients.append(Client(*options.server, n, options.seed))
    threads = [threading.Thread(target=live, args=(c,)) for c in clients]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if not wrong and any(e != ends[0] for e in ends):
        wrong.append("the clients do not see the same")
    print("\n".join(wrong))
    print(f"seed {options.seed}: {sum(c.commands for c in clients)} commands of {options.clients} clients, "
          f"{sum(c.refused for c in clients)} refused, {len(ends[0]) if ends else '?'} messages left, {len(wrong)} wrong")
    return 1 if wrong or len(ends) != options.clients else 0


if __name__ == "__main__":
    sys.exit(main())
