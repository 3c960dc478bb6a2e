#!/usr/bin/python3
"""Commands on very many messages, which the store carries out in slices, and a kill in the middle of each.

    imap_slices.py [--kills N] [--seed S]

20,000 messages in one mailbox. COPY of half of them and APPEND of a thousand have happened whole or not at all. MOVE of all leaves each
message in exactly one of the two mailboxes, whatever became of the command; STORE and EXPUNGE of all that got OK are done to the last
message. A command outlives the store: it gets OK, or NO [UNAVAILABLE] where it must not be done twice; it ends with its own process only.
"""
import argparse
import collections
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from imap_wire import Session  # noqa: E402
from load import Gone  # noqa: E402
from system import System  # noqa: E402

ACCOUNT = "alice@brant.test"
MESSAGES, COPIED, APPENDED = 20000, 10000, 1000
DELAY_S = 0.6  # about how long the longest of the commands takes
PATIENCE_S = 20
LATE_S = 1     # what the store had taken in when its client died is done by then
GONE = b"GONE"


def append(mailbox, first, count):
    parts = []
    for i in range(first, first + count):
        body = b"Subject: n%d\r\n\r\n" % i
        parts.append(b" {%d+}\r\n%s" % (len(body), body))
    return b"APPEND " + mailbox + b"".join(parts)


class Campaign:
    def __init__(self, system, rng):
        self.system, self.rng, self.wrong = system, rng, []
        self.full, self.other = b"A", b"B"
        self.keywords = 0
        self.answers = collections.Counter()

    def session(self):
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return Session(self.system.imap_port, ACCOUNT)
            except Gone:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def do(self, *lines):
        """Commands that nobody disturbs; the untagged responses of the last."""
        with self.session() as session:
            for line in lines:
                untagged = session.ok(line)
        return untagged

    def count(self, mailbox):
        return int(re.search(rb"MESSAGES (\d+)", b"".join(self.do(b"STATUS %s (MESSAGES)" % mailbox)))[1])

    def subjects(self, mailbox):
        if not self.count(mailbox):
            return collections.Counter()
        rows = self.do(b"EXAMINE " + mailbox, b"FETCH 1:* (UID ENVELOPE)")
        return collections.Counter(m[1] for m in (re.search(rb'"(n\d+)"', row) for row in rows) if m)

    def check(self, good, what):
        if not good:
            self.wrong.append(what)

    def disturbed(self, mailbox, line):
        """Runs a command and kills somebody meanwhile; whether it got OK."""
        target = self.rng.choice(("brant-store", "brant-store", "brant-imap"))
        pid = self.system.wait_for_child(target)
        with self.session() as session:
            session.ok(b"SELECT " + mailbox)
            timer = threading.Timer(self.rng.random() * DELAY_S, os.kill, (pid, signal.SIGKILL))
            timer.start()
            try:
                answer = session.run(line)[1]
            except Gone:
                answer = GONE
            timer.join()
        self.system.wait_for_child(target, not_pid=pid)
        name = line[:40].split(b"\r")[0].decode()
        if answer == GONE:
            self.check(target == "brant-imap", f"{name}: the session did not outlive the store")
            time.sleep(LATE_S)
        elif not answer.startswith(b"OK"):
            self.check(answer.startswith(b"NO [UNAVAILABLE]") and target == "brant-store", f"{name}: {answer!r}")
        self.answers[answer.split(b" ")[0].decode()] += 1
        return answer.startswith(b"OK")

    def third(self):
        """An empty mailbox."""
        with self.session() as session:
            session.run(b"DELETE C")
            session.ok(b"CREATE C")

    # ---- the commands ----

    def store(self):
        self.keywords = (self.keywords + 1) % 20
        keyword = b"k%d" % self.keywords
        self.do(b"SELECT " + self.full, b"STORE 1:* -FLAGS.SILENT (%s)" % keyword)
        if self.disturbed(self.full, b"STORE 1:* +FLAGS.SILENT (%s)" % keyword):
            found = self.do(b"EXAMINE " + self.full, b"SEARCH KEYWORD " + keyword)
            self.check(found[-1].count(b" ") - 1 == self.count(self.full), f"STORE got OK: {found[-1].count(b' ') - 1} messages have {keyword}")

    def move(self):
        done = self.disturbed(self.full, b"MOVE 1:* " + self.other)
        there = self.subjects(self.full) + self.subjects(self.other)
        want = collections.Counter(b"n%d" % i for i in range(MESSAGES))
        self.check(there == want, f"MOVE: missing {list(want - there)[:5]}, too many {list(there - want)[:5]}")
        if done:
            self.check(self.count(self.full) == 0, f"MOVE got OK and left {self.count(self.full)}")
        if self.count(self.full) < self.count(self.other):
            self.full, self.other = self.other, self.full

    def copy(self):
        self.third()
        want = min(COPIED, self.count(self.full))
        done = self.disturbed(self.full, b"COPY 1:%d C" % want)
        self.check(self.count(b"C") in ((want,) if done else (0, want)), f"COPY of {want}: {self.count(b'C')} are there")

    def expunge(self):
        self.third()
        self.do(b"SELECT " + self.full, b"COPY 1:%d C" % min(COPIED, self.count(self.full)))
        self.do(b"SELECT C", b"STORE 1:* +FLAGS.SILENT (\\Deleted)")
        if self.disturbed(b"C", b"EXPUNGE"):
            self.check(self.count(b"C") == 0, f"EXPUNGE got OK and left {self.count(b'C')}")

    def append(self):
        self.third()
        done = self.disturbed(self.full, append(b"C", 0, APPENDED))
        self.check(self.count(b"C") in ((APPENDED,) if done else (0, APPENDED)), f"APPEND of {APPENDED}: {self.count(b'C')} are there")

    def run(self, kills):
        self.do(b"CREATE A", b"CREATE B", *(append(b"A", at, APPENDED) for at in range(0, MESSAGES, APPENDED)))
        commands = [self.store, self.move, self.copy, self.expunge, self.append]
        for i in range(kills):
            commands[i % len(commands)]()
        checked = self.system.cli("store", "check", "--deep", timeout=300)
        self.check(checked.returncode == 0, f"store check: {checked.stdout}{checked.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 24)
    top = tempfile.mkdtemp(prefix="brant-slices-")
    os.chmod(top, 0o755)
    print(f"slices: {args.kills} kills, seed {seed}, in {top}", flush=True)
    system = System(os.path.join(top, "demo"))
    campaign = Campaign(system, random.Random(seed))
    try:
        system.start()
        campaign.run(args.kills)
    finally:
        status = system.stop() if system.process else 0
    campaign.check(status == 0, f"brant demo ended with {status}")
    print(f"  answers: {dict(campaign.answers)}")
    for line in campaign.wrong[:40]:
        print("WRONG:", line)
    print(f"{0 if campaign.wrong else args.kills} passed, {len(campaign.wrong)} failed")
    if campaign.wrong:
        print(f"kept: {top}")
    else:
        shutil.rmtree(top)
    return 1 if campaign.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
