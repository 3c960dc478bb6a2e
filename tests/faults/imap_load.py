#!/usr/bin/python3
"""The users of IMAP in the fault tests: each keeps mailboxes of his own and a model of what was acknowledged and what is in doubt.

    imap_load.py --server PORT USER [USER…] [--password P] [--seconds N] [--seed S] [--stay]   against any server, without kills

A user sends a few commands in one go: APPEND (of one and of several messages), STORE, COPY, MOVE, EXPUNGE, CREATE, RENAME, DELETE,
SUBSCRIBE. Those that got OK have happened; of those that got no answer, or NO [UNAVAILABLE], nobody knows, but each has happened whole
or not at all, and none before the one that was sent before it. After every kill, and whenever something is in doubt, a fresh session
looks at all of it (imap_model.py says what it may see), resynchronises with QRESYNC from what it saw the time before, and the two must
agree. Sometimes a user hangs up in the middle himself, but not with --stay: not every server does MOVE whole then. The death of the store costs no session: it is a surprise when one ends while
brant-imap lives.
"""
import argparse
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import imap_model as model  # noqa: E402
from attempts import message  # noqa: E402
from imap_wire import Session, Wrong, code, look_into, names_of, quoted, resync  # noqa: E402
from load import Gone  # noqa: E402

FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "kw1", "kw2", "$Forwarded"]
LEAVES = ["one", "a.b", "x & y", "报告", "two words"]
MESSAGES_MAX = 40  # of a mailbox, before some are removed
BOXES_MAX = 7
LATE_S = 0.3       # a command whose client is gone has been carried out by then, or never will be
SETTLES = 4
RECOVERY_S = 5


class Kills:
    """What was killed, for the users to know: how often anything, and how often what their sessions need."""

    def __init__(self):
        self.all = self.over = self.sessions = self.sessions_over = 0
        self.last = 0.0

    def before(self, target):
        """Is about to be killed."""
        self.all += 1
        if target in ("brant-imap", "supervisor"):
            self.sessions += 1

    def after(self):
        """Is there again; it may need a moment before it serves."""
        self.over, self.sessions_over = self.all, self.sessions
        self.last = time.monotonic()

    def recent(self):
        return self.over != self.all or time.monotonic() - self.last < RECOVERY_S


class User:
    """One user's mailboxes and sessions. `prefix`: the top level that is his; the INBOX as well when `inbox`."""

    def __init__(self, ports, address, prefix, inbox, kills, surprised, seed, password=None):
        self.ports, self.address, self.prefix, self.inbox = ports, address, prefix, inbox
        self.kills, self.surprised, self.seed = kills, surprised, seed
        self.password = {"password": password} if password else {}
        self.states = [model.State()]
        if inbox:
            self.states[0].boxes["INBOX"] = model.Box()
        self.history, self.before = model.History(), {}
        self.checked, self.late = -1, False
        self.tokens, self.hang_ups = 0, 0.02
        self.counts = dict.fromkeys(("commands", "acknowledged", "unavailable", "unanswered", "happened", "looks", "resyncs", "lost"), 0)

    def __repr__(self):
        return f"{self.address} {self.prefix}"

    def wrong(self, what):
        self.surprised(f"imap {self}: {what}")

    def session(self, rng):
        tls = self.ports[1] and rng.random() < 0.5
        return Session(self.ports[1] if tls else self.ports[0], self.address, bool(tls), **self.password)

    # ---- looking ----

    def look(self, rng, whole):
        """Everything, through a fresh session: ({name: Seen}, subscribed)."""
        with self.session(rng) as session:
            if b"ENABLE" in session.capabilities and b"QRESYNC" in session.capabilities:
                session.ok(b"ENABLE QRESYNC")
            names = names_of(session.ok(b'LIST "" %s' % quoted(self.prefix + "*")))
            subscribed = names_of(session.ok(b'LSUB "" %s' % quoted(self.prefix + "*")))
            if self.inbox:
                names.add("INBOX")
            seen = {}
            for name in sorted(names):
                seen[name], wrong = look_into(session, name, whole)
                for line in wrong + self.history.seen(name, seen[name]):
                    self.wrong(line)
            if b"QRESYNC" in session.capabilities:
                self.resynchronise(session, seen)
        self.counts["looks"] += 1
        return seen, subscribed

    def resynchronise(self, session, seen):
        for name, before in self.before.items():
            now = seen.get(name)
            if not now or now.validity != before.validity:
                continue
            known = resync(session, name, before)
            want = {uid: flags for uid, _, flags, _ in now.messages}
            self.counts["resyncs"] += 1
            if known != want:
                apart = sorted(uid for uid in {*known, *want} if known.get(uid) != want.get(uid)) if known is not None else "all"
                self.wrong(f"{name}: QRESYNC from {before.modseq} does not tell of UIDs {apart}: {known} {want}")
        self.before = seen

    def verify(self, rng, whole=False):
        """Looks, and goes on from what was seen."""
        kills = self.kills.over
        for attempt in range(SETTLES):
            if self.late or attempt:
                time.sleep(LATE_S)
            try:
                seen, subscribed = self.look(rng, whole)
            except Wrong as e:
                self.wrong(f"while looking: {e}")
                return
            fits = [i for i, s in enumerate(self.states) if not model.difference(s, seen, subscribed)]
            if fits:
                break
        else:
            for state in (self.states[0], self.states[-1]) if len(self.states) > 1 else self.states:
                self.wrong(f"one of {len(self.states)} states: {model.difference(state, seen, subscribed)}")
        if len(self.states) > 1 and fits and fits[0] > 0:
            self.counts["happened"] += 1
        self.states, self.late, self.checked = [model.adopt(seen, subscribed)], False, kills

    # ---- commands ----

    def new_message(self, rng):
        size = rng.choice((300, 300, 700, 2000, 8000, 60000 if rng.random() < 0.3 else 500, 270000 if rng.random() < 0.1 else 400))
        self.tokens += 1
        return f"im{self.prefix}{self.seed:x}z{self.tokens:x}-{size}", rng.sample(FLAGS, rng.randrange(4))

    def append(self, rng, state, name):
        messages = [self.new_message(rng) for _ in range(1 if rng.random() < 0.5 else rng.randrange(2, 6))]
        if not self.several:
            messages = messages[:1]
        line = b"APPEND " + quoted(name)
        for token, flags in messages:
            data = message(token)
            line += b" (%s) {%d+}\r\n%s" % (" ".join(flags).encode(), len(data), data)
        return model.Append(line, name, messages)

    @staticmethod
    def some(rng, box, gone):
        uids = [m.uid for m in box.messages if m.uid and m.uid not in gone]
        if not uids:
            return []
        first = rng.randrange(len(uids))
        return sorted({*uids[first:first + rng.randrange(1, 12)], *rng.sample(uids, min(2, len(uids)))})

    def store(self, rng, name, uids):
        action, flags = rng.choice(("", "+", "+", "-")), rng.sample(FLAGS, rng.randrange(1, 4))
        silent = rng.choice((".SILENT", ""))
        line = f"UID STORE {model.format_set(uids)} {action}FLAGS{silent} ({' '.join(flags)})".encode()
        return model.Store(line, name, uids, action, flags)

    def in_mailbox(self, rng, state, name):
        """A few commands in the mailbox that is selected; what one of them removes, later ones do not name."""
        box, commands, gone = state.boxes[name], [], set()
        crowded, added = len(box.messages) > MESSAGES_MAX, False
        for _ in range(rng.randrange(1, 6)):
            kind, uids = rng.random(), self.some(rng, box, gone)
            others = [n for n, b in state.boxes.items() if n != name and len(b.messages) <= MESSAGES_MAX]
            if crowded or kind > 0.9:
                doomed = self.some(rng, box, gone) if not crowded else [m.uid for m in box.messages[:20] if m.uid]
                commands.append(model.Store(f"UID STORE {model.format_set(doomed)} +FLAGS.SILENT (\\Deleted)".encode(), name, doomed, "+",
                                            ["\\Deleted"]) if doomed else None)
                commands.append(model.Expunge(b"UID EXPUNGE " + model.format_set(doomed).encode(), name, doomed)
                                if doomed and (added or rng.random() < 0.5) else model.Expunge(b"EXPUNGE", name))
                if added and not doomed:
                    commands.pop()  # whether EXPUNGE removes what was appended with it is the server's choice
                gone, crowded = {m.uid for m in box.messages}, False
            elif kind < 0.25 or not uids or not others:
                commands.append(self.append(rng, state, rng.choice([name, *others])))
                added = added or commands[-1].name == name
            elif kind < 0.5:
                commands.append(self.store(rng, name, uids))
            else:
                move = kind > 0.65
                target = rng.choice(others)
                gone |= set(uids) if move else set()
                commands.append(model.Copy(b"UID %s %s %s" % (b"MOVE" if move else b"COPY", model.format_set(uids).encode(), quoted(target)),
                                           name, uids, target, move))
        return [c for c in commands if c]

    def of_mailboxes(self, rng, state):
        """A few commands that make, name and remove mailboxes."""
        commands, state = [], state.copy()
        for _ in range(rng.randrange(1, 4)):
            mine = sorted(n for n in state.boxes if n != "INBOX" and n != self.prefix)
            parents = [self.prefix] + [n for n in mine if n.count("/") < 3]
            free = [n for n in (f"{p}/{leaf}" for p in parents for leaf in LEAVES) if n not in state.boxes]
            leaves = [n for n in mine if not any(m.startswith(n + "/") for m in mine)]
            command = self.mailbox_command(rng, state, mine, free, leaves)
            command.apply(state)
            commands.append(command)
        return commands

    def mailbox_command(self, rng, state, mine, free, leaves):
        kind = rng.random()
        if self.inbox and kind < 0.04 and free and self.any_name:
            target = rng.choice(free)
            return model.RenameInbox(b"RENAME INBOX " + quoted(target), target)
        if kind < 0.3 or not mine:
            name = rng.choice(mine + [f"{self.prefix}/{leaf}" for leaf in LEAVES] if self.any_name else [*mine, self.prefix])
            on = rng.random() < 0.6
            return model.Subscribe((b"SUBSCRIBE " if on else b"UNSUBSCRIBE ") + quoted(name), name, on)
        if (kind < 0.5 and leaves) or (len(state.boxes) >= BOXES_MAX and leaves):
            name = rng.choice(leaves)
            return model.Delete(b"DELETE " + quoted(name), name)
        if kind < 0.7:
            name = rng.choice(mine)
            targets = [n for n in free if not n.startswith(name + "/") and n.rsplit("/", 1)[0] in state.boxes]
            if targets:
                target = rng.choice(targets)
                return model.Rename(b"RENAME %s %s" % (quoted(name), quoted(target)), name, target)
        name = rng.choice(free)
        return model.Create(b"CREATE " + quoted(name), name)

    # ---- sending them ----

    def send(self, session, commands, hang_up):
        """Sends commands together and takes their answers in."""
        kills = self.kills.all
        waiting = list(commands)
        self.counts["commands"] += len(commands)
        try:
            tags = session.send([c.line for c in commands])
            if hang_up:
                session.close()
                raise Gone
            untagged = []
            for tag in tags:
                more, tagged = session.until(tag)
                untagged += more
                self.answer(waiting.pop(0), untagged, tagged, self.kills.all != kills or self.kills.recent())
        finally:
            chain, reached = list(self.states), self.states
            for command in waiting:
                reached = model.undecided(reached, command)
                chain += reached
            if waiting:
                self.counts["unanswered"] += len(waiting)
                self.late = True
            self.states = chain

    def answer(self, command, untagged, tagged, disturbed):
        if tagged.startswith(b"NO [UNAVAILABLE]"):
            self.counts["unavailable"] += 1
            if not disturbed:
                self.wrong(f"nothing was killed: {command.line[:100]!r}: {tagged!r}")
            self.states += model.undecided(self.states, command)
            return
        if not tagged.startswith(b"OK"):
            self.wrong(f"{command.line[:100]!r}: {tagged!r}")
            return
        self.counts["acknowledged"] += 1
        for state in self.states:
            command.apply(state)
            wrong = command.answered(state, untagged, tagged)
            if wrong and not (disturbed and command.may_be_silent):
                self.wrong(wrong)
            for line in self.history.acknowledged(state, getattr(command, "target", getattr(command, "name", ""))):
                self.wrong(line)

    def set_up(self, rng):
        with self.session(rng) as session:
            self.several = b"MULTIAPPEND" in session.capabilities
            session.ok(b"CREATE " + quoted(self.prefix))
            absent = quoted(self.prefix + "/absent")
            self.any_name = session.run(b"SUBSCRIBE " + absent)[1].startswith(b"OK")  # names without a mailbox, too
            session.run(b"UNSUBSCRIBE " + absent)
        self.states[0].boxes[self.prefix] = model.Box()
        self.verify(rng)

    def settled(self, rng):
        """Looks if there is a reason to. False: it could not."""
        if len(self.states) > 1 or self.late or self.kills.over > self.checked:
            try:
                self.verify(rng, rng.random() < 0.2)
            except Gone as e:  # a session that is new needs everybody alive
                if isinstance(e.__cause__, TimeoutError) or not self.kills.recent():
                    self.wrong(f"a session could not begin: {e} {e.__cause__!r}")
                time.sleep(0.05)
                return False
        return True

    def job(self, rng):
        """One session."""
        if not self.settled(rng):
            return
        deaths = self.kills.sessions_over
        session, hang_up = self.session(rng), False
        try:
            for _ in range(rng.randrange(3, 30)):
                if self.stop.is_set():
                    break
                if not self.settled(rng):  # while the session stays
                    break
                hang_up = rng.random() < self.hang_ups
                state = self.states[0]
                if rng.random() < 0.25:
                    commands = self.of_mailboxes(rng, state)
                else:
                    name = rng.choice(sorted(state.boxes))
                    untagged, tagged = session.run(b"SELECT " + quoted(name))
                    if not tagged.startswith(b"OK"):
                        continue
                    state.boxes[name].validity = state.boxes[name].validity or int(code(untagged, b"UIDVALIDITY"))
                    commands = self.in_mailbox(rng, state, name)
                self.send(session, commands, hang_up)
                if session.run(b"UNSELECT")[1][:2] not in (b"OK", b"BA"):
                    self.wrong("UNSELECT was refused")
                time.sleep(rng.random() * 0.02)
        except Gone as e:
            if not hang_up and self.kills.sessions == deaths and not self.stop.is_set():
                self.wrong(f"the session ended and its process was not killed: {e} {e.__cause__!r}")
            self.counts["lost"] += 1
            raise
        except Wrong as e:
            self.wrong(e)
        finally:
            session.close()

    def expected(self):
        """For the reader of the journal, after the last look."""
        return {"account": self.address, "prefix": self.prefix, "inbox": self.inbox,
                "subscribed": sorted(self.states[0].subscribed),
                "boxes": {name: [[m.uid, m.token, sorted(m.flags)] for m in box.messages] for name, box in self.states[0].boxes.items()}}


class ImapLoad:
    """Several users, two of them in each account."""

    def __init__(self, load, ports, addresses, password=None):
        self.load, self.kills = load, Kills()
        self.users = [User(ports, address, f"k{i}{half}", half == "a", self.kills, load.surprised, load.seed, password)
                      for i, address in enumerate(addresses) for half in "ab"]

    def run(self):
        for i, user in enumerate(self.users):
            rng = random.Random(f"{self.load.seed}/imap/{i}")
            user.stop = self.load.stop
            user.set_up(rng)
            thread = threading.Thread(target=self.load.forever, args=(user.job, rng))
            thread.start()
            self.load.threads.append(thread)

    def wait_for_looks(self, seconds):
        """Until half of the users have looked since the last kill."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and sum(u.checked == self.kills.over for u in self.users) < len(self.users) // 2:
            time.sleep(0.02)

    def finish(self):
        """The last look, at every byte, when nobody changes anything any more."""
        for user in self.users:
            try:
                user.verify(random.Random(0), whole=True)
            except (Gone, OSError) as e:
                user.wrong(f"the last look failed: {e} {e.__cause__!r}")

    def counts(self, what):
        return sum(user.counts[what] for user in self.users)

    def summary(self):
        return ", ".join(f"{self.counts(what)} {what}" for what in self.users[0].counts)


def main():
    from load import Load

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", nargs="+", required=True, metavar=("PORT", "USER"))
    parser.add_argument("--password")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--stay", action="store_true", help="nobody hangs up")
    args = parser.parse_args()
    load = Load(None, args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 24))
    load.allowed = 1 << 60
    users = ImapLoad(load, (int(args.server[0]), None), args.server[1:], args.password)
    for user in users.users:
        user.hang_ups = 0 if args.stay else user.hang_ups
    try:
        users.run()
        end = time.monotonic() + args.seconds
        while time.monotonic() < end and not load.surprises:
            time.sleep(0.1)
    finally:
        load.finish()
    users.finish()
    print(f"imap: seed {load.seed}: {users.summary()}")
    for line in load.surprises[:20]:
        print("WRONG:", str(line)[:1500])
    return 1 if load.surprises else 0


if __name__ == "__main__":
    sys.exit(main())
