#!/usr/bin/env python3
"""Random commands from three connections against a model of the mailboxes.

usage: model.py --probe IMAP_PROBE [--sequences N] [--commands N] [--seed N]
       model.py --server HOST:PORT USER PASSWORD [--sequences N] [--commands N] [--seed N]

One command at a time, so that the model knows what is in each mailbox. What the client believes, from untagged responses
alone, has to hold at every moment (numbers and UIDs agree, EXPUNGE only where it may be); what a command answers has to be
what the model says; and behind NOOP every client knows everything. A failing sequence is printed with its seed.
"""
import argparse
import random
import re
import sys

import imaptest

BOXES = ["INBOX", "one", "two"]
FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "kw1", "kw2"]


class Wrong(Exception):
    pass


class Message:
    def __init__(self, flags, subject):
        self.flags, self.subject = set(flags), subject


class Box:
    """What the model knows of a mailbox."""

    def __init__(self):
        self.messages, self.uidnext = {}, 1

    def add(self, message):
        self.messages[self.uidnext] = message
        self.uidnext += 1
        return self.uidnext - 1


def parse_set(text):
    numbers = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


class Client:
    """A connection, and what its client believes."""

    def __init__(self, world, number, conn):
        self.world, self.number, self.conn = world, number, conn
        self.box, self.read_only, self.idle = None, False, None
        self.view = []  # [uid or None, set of flags or None] per message
        self.qresync = False
        self.log = world.log

    # ---- untagged responses ----

    def expunge(self, number, command):
        if re.match(rb"(FETCH|STORE|SEARCH)\b", command, re.I):
            raise Wrong("EXPUNGE where it must not be")
        if self.qresync:
            raise Wrong("EXPUNGE after ENABLE QRESYNC")
        if not 1 <= number <= len(self.view):
            raise Wrong(f"EXPUNGE of {number}, there are {len(self.view)}")
        del self.view[number - 1]

    def fetch(self, number, items):
        if not 1 <= number <= len(self.view):
            raise Wrong(f"FETCH of {number}, there are {len(self.view)}")
        entry = self.view[number - 1]
        values = {str(items[i]).upper(): items[i + 1] for i in range(0, len(items), 2)}
        if "UID" in values:
            uid = int(values["UID"])
            if entry[0] not in (None, uid):
                raise Wrong(f"message {number} has UID {uid}, had {entry[0]}")
            entry[0] = uid
        if "FLAGS" in values:
            entry[1] = {str(f) for f in values["FLAGS"]} - {"\\Recent"}
        return number, values

    def untagged(self, line, command):
        args = imaptest.parse_args(line[2:]) if not re.match(rb"\* (OK|NO|BAD|BYE)", line) else []
        if len(args) > 1 and str(args[1]).upper() == "EXPUNGE":
            self.expunge(int(args[0]), command)
        elif len(args) > 1 and str(args[1]).upper() == "EXISTS":
            count = int(args[0])
            if count < len(self.view) and not re.match(rb"SELECT|EXAMINE", command, re.I):
                raise Wrong(f"EXISTS {count}, there were {len(self.view)}")
            self.view += [[None, None] for _ in range(count - len(self.view))]
        elif len(args) > 1 and str(args[1]).upper() == "FETCH":
            return ("FETCH", self.fetch(int(args[0]), args[2]))
        elif args and str(args[0]).upper() == "VANISHED":
            if re.match(rb"(FETCH|STORE|SEARCH)\b", command, re.I):
                raise Wrong("VANISHED where it must not be")
            gone = set(parse_set(str(args[-1])))
            self.view = [e for e in self.view if e[0] not in gone]
        elif args and str(args[0]).upper() in ("SEARCH", "STATUS", "ESEARCH"):
            return (str(args[0]).upper(), args[1:])
        elif line.startswith(b"* OK [CLOSED]"):
            self.view = []
        elif line.startswith(b"* OK [COPYUID"):
            return ("COPYUID", line)
        return None

    def run(self, command):
        """The answers of interest, and the tagged response."""
        self.log.append(f"{self.number}: {command.decode('latin-1')}")
        untagged, tagged = self.conn.run(command)
        self.log += [f"{self.number}:   {line[:200].decode('latin-1')}" for line in untagged + [tagged]]
        return [a for a in (self.untagged(line, command) for line in untagged) if a], tagged

    def ok(self, command):
        answers, tagged = self.run(command)
        if not tagged.startswith(b"OK"):
            raise Wrong(f"not OK: {tagged!r}")
        return answers, tagged

    def learn(self):
        """Asks for the UIDs that are not known."""
        if self.box and any(e[0] is None for e in self.view):
            self.run(b"FETCH 1:%d (UID FLAGS)" % len(self.view))
            known = self.world.boxes[self.box].messages
            if any(e[0] is None for e in self.view) and all(e[0] in known for e in self.view if e[0]):
                self.sync()

    def sync(self):
        """NOOP: from here on the client knows all."""
        self.ok(b"NOOP")
        if not self.box:
            return
        if any(e[0] is None for e in self.view):
            self.ok(b"FETCH 1:%d (UID FLAGS)" % len(self.view))
        self.check()

    def check(self):
        messages = self.world.boxes[self.box].messages
        if [e[0] for e in self.view] != sorted(messages):
            raise Wrong(f"client {self.number} believes {[e[0] for e in self.view]}, there are {sorted(messages)}")
        for uid, flags in self.view:
            if flags is not None and flags != messages[uid].flags:
                raise Wrong(f"client {self.number}: flags of UID {uid} are {messages[uid].flags}, it believes {flags}")


class World:
    def __init__(self, rng, connect, user, password):
        self.rng, self.log = rng, []
        self.boxes = {name: Box() for name in BOXES}
        self.subjects = 0
        conns = connect(3)
        for c in conns:
            c.response()
        self.clients = [Client(self, i, c) for i, c in enumerate(conns)]
        for c in self.clients:
            c.ok(b'LOGIN "%s" "%s"' % (user.encode(), password.encode()))
            if rng.random() < 0.3:
                c.ok(b"ENABLE QRESYNC")
                c.qresync = True
        first = self.clients[0]
        for name in BOXES[1:]:
            first.run(b"DELETE " + name.encode())
            first.ok(b"CREATE " + name.encode())
        first.ok(b"SELECT INBOX")
        if first.view:
            first.ok(b"STORE 1:* +FLAGS.SILENT (\\Deleted)")
            first.ok(b"EXPUNGE")
        _, tagged = first.ok(b"UNSELECT")
        first.view = []
        answers, _ = first.ok(b"STATUS INBOX (UIDNEXT)")
        self.boxes["INBOX"].uidnext = int(answers[0][1][1][1])

    def close(self):
        for c in self.clients:
            c.conn.sock.close()

    # ---- sets ----

    def some(self, client, uid):
        """A set as text, and the UIDs it means in the client's view."""
        view = client.view
        if not view:
            return None, []
        first = self.rng.randrange(len(view))
        last = min(len(view) - 1, first + self.rng.randrange(4))
        chosen = list(range(first, last + 1))
        extra = self.rng.randrange(len(view))
        number = (lambda i: view[i][0]) if uid else (lambda i: i + 1)
        text = f"{number(last)}:{number(first)}" if self.rng.random() < 0.3 else f"{number(first)}:{number(last)}"
        if self.rng.random() < 0.3:
            text += f",{number(extra)}"
            chosen.append(extra)
        if uid and self.rng.random() < 0.2:
            text += ",999999"
        return text, sorted({view[i][0] for i in chosen})

    def gone_allowed(self, uid, tagged, missing):
        """A command without UID that names messages which are gone may say so."""
        if tagged.startswith(b"OK"):
            return
        if not (tagged.startswith(b"NO [EXPUNGEISSUED]") and missing and not uid):
            raise Wrong(f"{tagged!r}")

    # ---- commands ----

    def select(self, c):
        name = self.rng.choice(BOXES)
        c.read_only = self.rng.random() < 0.2
        c.view, c.box = [], name
        c.ok((b"EXAMINE " if c.read_only else b"SELECT ") + name.encode())
        if len(c.view) != len(self.boxes[name].messages):
            raise Wrong(f"{len(c.view)} in {name}, there are {len(self.boxes[name].messages)}")
        c.learn()
        c.check()

    def leave(self, c):
        close = self.rng.random() < 0.5
        known = {e[0] for e in c.view}
        c.ok(b"CLOSE" if close else b"UNSELECT")
        if close and not c.read_only:
            box = self.boxes[c.box]
            for uid in [u for u, m in box.messages.items() if "\\Deleted" in m.flags and u in known]:
                del box.messages[uid]
        c.box, c.view = None, []

    def append(self, c):
        name = self.rng.choice(BOXES)
        self.subjects += 1
        flags = self.rng.sample(FLAGS, self.rng.randrange(3))
        body = f"Subject: s{self.subjects}\r\n\r\nbody{self.subjects}\r\n".encode()
        _, tagged = c.ok(b"APPEND %s (%s) {%d}\r\n%s" % (name.encode(), " ".join(flags).encode(), len(body), body))
        uid = self.boxes[name].add(Message(flags, f"s{self.subjects}"))
        if not re.match(rb"OK \[APPENDUID \d+ %d\]" % uid, tagged):
            raise Wrong(f"UID {uid}: {tagged!r}")

    def store(self, c):
        uid = self.rng.random() < 0.5
        text, uids = self.some(c, uid)
        if not text or c.read_only:
            return
        action, silent = self.rng.choice(["", "+", "-"]), self.rng.random() < 0.5
        flags = self.rng.sample(FLAGS, self.rng.randrange(3))
        _, tagged = c.run(f"{'UID ' if uid else ''}STORE {text} {action}FLAGS{'.SILENT' if silent else ''} "
                                f"({' '.join(flags)})".encode())
        messages = self.boxes[c.box].messages
        there = [u for u in uids if u in messages]
        for u in there:
            m = messages[u]
            m.flags = set(flags) if not action else m.flags | set(flags) if action == "+" else m.flags - set(flags)
        self.gone_allowed(uid, tagged, len(there) < len(uids))
        if silent:
            for entry in c.view:
                if entry[0] in there:
                    entry[1] = None
            return
        for entry in c.view:
            if entry[0] in there and entry[1] != messages[entry[0]].flags:
                raise Wrong(f"STORE told {entry[1]} of UID {entry[0]}, it is {messages[entry[0]].flags}")

    def fetch(self, c):
        uid = self.rng.random() < 0.5
        text, uids = self.some(c, uid)
        if not text:
            return
        what = self.rng.choice(["(UID FLAGS)", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])", "(UID BODY[TEXT])", "(FLAGS ENVELOPE UID)"])
        numbers = {e[0]: i + 1 for i, e in enumerate(c.view)}
        answers, tagged = c.run(f"{'UID ' if uid else ''}FETCH {text} {what}".encode())
        messages = self.boxes[c.box].messages
        there = [u for u in uids if u in messages]
        if "BODY[TEXT]" in what and not c.read_only:
            for u in there:
                messages[u].flags.add("\\Seen")
        self.gone_allowed(uid, tagged, len(there) < len(uids))
        got = {}
        for kind, answer in answers:
            if kind == "FETCH" and "UID" in answer[1]:
                got.setdefault(int(answer[1]["UID"]), {}).update(answer[1])
        for u in there:
            if u not in got:
                raise Wrong(f"FETCH of UID {u} (number {numbers[u]}) was not answered")
            text_got = " ".join(str(x) for x in self.flat(got[u]))
            if "SUBJECT" in what and f"Subject: {messages[u].subject}\r\n" not in text_got:
                raise Wrong(f"the subject of UID {u} is {messages[u].subject}: {text_got}")
            if "BODY[TEXT]" in what and f"body{messages[u].subject[1:]}\r\n" not in text_got:
                raise Wrong(f"the text of UID {u}: {text_got}")

    @staticmethod
    def flat(values):
        stack = [values[k] for k in values]
        while stack:
            item = stack.pop()
            if isinstance(item, list):
                stack += item
            else:
                yield item

    def search(self, c):
        uid = self.rng.random() < 0.5
        if not c.box:
            return
        flag = self.rng.choice([("SEEN", "\\Seen"), ("ANSWERED", "\\Answered"), ("FLAGGED", "\\Flagged"), ("DELETED", "\\Deleted"),
                                ("DRAFT", "\\Draft"), ("KEYWORD kw1", "kw1")])
        subject = f"s{self.rng.randrange(self.subjects + 2)}"
        kind = self.rng.randrange(4)
        key, fits = [(flag[0], lambda m: flag[1] in m.flags), (f"NOT {flag[0]}", lambda m: flag[1] not in m.flags),
                     (f"SUBJECT {subject}", lambda m: subject in m.subject),
                     (f"OR {flag[0]} BODY body{subject[1:]}",
                      lambda m: flag[1] in m.flags or subject[1:] == m.subject[1:1 + len(subject) - 1])][kind]
        view = [e[0] for e in c.view]
        answers, tagged = c.run(f"{'UID ' if uid else ''}SEARCH {key}".encode())
        if not tagged.startswith(b"OK"):
            raise Wrong(f"{tagged!r}")
        got = [int(str(n)) for kind_, numbers in answers if kind_ == "SEARCH" for n in numbers if isinstance(n, str)]
        got = [n if uid else view[n - 1] for n in got]
        messages = self.boxes[c.box].messages
        want = [u for u in view if u in messages and fits(messages[u])]
        if got != want:
            raise Wrong(f"SEARCH {key}: {got}, should be {want}")

    def expunge(self, c):
        if c.read_only or not c.box:
            return
        box, known = self.boxes[c.box], {e[0] for e in c.view}
        if self.rng.random() < 0.3 and c.view:
            text, uids = self.some(c, True)
            c.ok(b"UID EXPUNGE " + text.encode())
            known = set(uids)
        else:
            c.ok(b"EXPUNGE")
        for uid in [u for u, m in box.messages.items() if "\\Deleted" in m.flags and u in known]:
            del box.messages[uid]
        c.learn()
        c.check()

    def copy(self, c):
        uid, move = self.rng.random() < 0.5, self.rng.random() < 0.4
        text, uids = self.some(c, uid)
        if not text or (move and c.read_only):
            return
        target = self.rng.choice([name for name in BOXES if not move or name != c.box])  # nothing moves to where it is
        answers, tagged = c.run(f"{'UID ' if uid else ''}{'MOVE' if move else 'COPY'} {text} {target}".encode())
        if not tagged.startswith(b"OK"):
            raise Wrong(f"{tagged!r}")
        source, to = self.boxes[c.box].messages, self.boxes[target]
        there = [u for u in uids if u in source]
        made = [to.add(Message(source[u].flags, source[u].subject)) for u in there]
        if move:
            for u in there:
                del source[u]
        told = tagged if not move else b"".join(line for kind, line in answers if kind == "COPYUID")
        pairs = re.findall(rb"\[COPYUID \d+ (\S+) (\S+)\]", told)  # MOVE may come in slices
        if ([n for first, _ in pairs for n in parse_set(first.decode())] != there or
                [n for _, second in pairs for n in parse_set(second.decode())] != made):
            raise Wrong(f"{there} became {made}: {told!r}")
        c.learn()

    def status(self, c):
        name = self.rng.choice(BOXES)
        box = self.boxes[name]
        answers, _ = c.ok(f"STATUS {name} (MESSAGES UIDNEXT UNSEEN DELETED)".encode())
        got = [int(str(n)) for n in answers[0][1][1][1::2]]
        want = [len(box.messages), box.uidnext, sum("\\Seen" not in m.flags for m in box.messages.values()),
                sum("\\Deleted" in m.flags for m in box.messages.values())]
        if got != want:
            raise Wrong(f"STATUS {name}: {got}, should be {want}")

    def noop(self, c):
        c.sync()

    def resync(self, c):
        """Leaves a mailbox, others go on, and comes back with what it knew (RFC 7162 3.2.5): then it knows all."""
        if not c.qresync or not c.box:
            return
        name = c.box
        c.sync()
        if c.view:
            c.ok(b"FETCH 1:* (UID FLAGS)")
        known = {uid: flags for uid, flags in c.view}
        answers, _ = c.ok(f"STATUS {name} (UIDVALIDITY HIGHESTMODSEQ)".encode())
        validity, modseq = (int(str(n)) for n in answers[0][1][1][1::2])
        c.ok(b"UNSELECT")
        c.box, c.view = None, []
        others = [o for o in self.clients if o is not c]
        for _ in range(self.rng.randrange(6)):
            self.act(self.rng.choice(others))
        command = f"SELECT {name} (QRESYNC ({validity} {modseq}))".encode()
        self.log.append(f"{c.number}: {command.decode()}")
        untagged, tagged = c.conn.run(command)
        self.log += [f"{c.number}:   {line[:200].decode('latin-1')}" for line in untagged + [tagged]]
        for line in untagged:
            m = re.match(rb"\* VANISHED \(EARLIER\) (\S+)", line)
            if m:
                for uid in parse_set(m.group(1).decode()):
                    known.pop(uid, None)
            elif re.match(rb"\* \d+ FETCH", line):
                items = imaptest.parse_args(line[2:])[2]
                values = {str(items[i]).upper(): items[i + 1] for i in range(0, len(items), 2)}
                known[int(values["UID"])] = {str(f) for f in values["FLAGS"]} - {"\\Recent"}
        c.box, c.read_only = name, False
        c.view = [[uid, known[uid]] for uid in sorted(known)]
        c.check()

    def step(self):
        self.act(self.rng.choice(self.clients))

    def act(self, c):
        if not c.box:
            action = self.rng.choice([self.select, self.select, self.append, self.status, self.noop])
        else:
            action = self.rng.choice([self.append, self.store, self.store, self.store, self.fetch, self.fetch, self.search, self.search,
                                      self.expunge, self.copy, self.copy, self.status, self.noop, self.select, self.leave,
                                      self.resync])
        action(c)
        if c.box and any(e[0] is None for e in c.view):
            c.learn()

    def end(self):
        for c in self.clients:
            c.sync()


def sequence(seed, commands, connect, user, password):
    """None, or what went wrong and the log."""
    world = None
    try:
        world = World(random.Random(seed), connect, user, password)
        for _ in range(commands):
            world.step()
        world.end()
        return None
    except (Wrong, imaptest.Failure, OSError, IndexError, KeyError) as e:
        return f"{type(e).__name__}: {e}", world.log if world else []
    finally:
        if world:
            world.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--probe")
    where.add_argument("--server", nargs=3, metavar=("ADDRESS", "USER", "PASSWORD"))
    parser.add_argument("--sequences", type=int, default=100)
    parser.add_argument("--commands", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    connect = imaptest.Probe(options.probe) if options.probe else imaptest.Server(options.server[0])
    user, password = options.server[1:] if options.server else ("alice@brant.test", "brant-demo")
    for seed in range(options.seed, options.seed + options.sequences):
        wrong = sequence(seed, options.commands, connect, user, password)
        connect.stop()
        if wrong:
            print("\n".join(wrong[1][-60:]))
            print(f"seed {seed}: {wrong[0]}")
            return 1
    print(f"{options.sequences} runs of {options.commands} commands agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
