#!/usr/bin/python3
"""Kills brant's processes with SIGKILL at random moments under load, then has everything checked.

    run.py [--kills N] [--seed S] [--keep]

Acknowledged mail must be there exactly once and byte for byte, unanswered mail once or not at all, nothing
in part; acknowledged deletions and account changes must hold; so must the rows of the queue. Users submit and
read under TLS all the while: the death of the signer, or of any other process, may cost them a handshake, a
connection or a temporary failure, and nothing else. Users of IMAP change flags and
mailboxes, copy, move and remove (imap_load.py). The mailboxes are read over POP3 and IMAP, the queue by the command, and then, with the server stopped, both out of the journal by tests/faults/journal_check.py, which follows
docs/disk.md.
"""
import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from attempts import Ledger, verify, verify_queue  # noqa: E402
from imap_load import ImapLoad  # noqa: E402
from load import ALIASES, MAILBOXES, Load  # noqa: E402
from system import PASSWORD, System  # noqa: E402

TARGETS = ("brant-store",) * 5 + ("brant-smtp",) * 2 + ("submission",) * 2 + ("brant-signer",) * 3 + ("brant-pop3",) * 2 + \
    ("brant-imap",) * 4 + ("supervisor",) * 2
LOOKS_S = 0.5  # between two kills, for the users of IMAP to look at what is there and go on
IMAP_ACCOUNTS = ("imap0@brant.test", "imap1@brant.test", "imap2@brant.test")
# Not what this is about: everybody comes from one address.
CONFIG = {"auth.source_failures": "10000", "auth.account_failures": "1000"}


def set_up(system):
    system.configure(CONFIG)
    for alias, targets in ALIASES.items():
        for target in (targets if alias != "nested@brant.test" else ["all@brant.test"]):
            added = system.cli("alias", "add", alias, target)
            if added.returncode != 0:
                raise RuntimeError(added.stderr)
    for address in IMAP_ACCOUNTS:
        made = system.cli("account", "add", address, "--password-stdin", stdin=PASSWORD + "\n")
        if made.returncode != 0:
            raise RuntimeError(made.stderr)


def kill_one(system, target):
    """Ends one process; what is left over or does not come back is a fault of its own."""
    if target == "supervisor":
        left = system.kill_supervisor()
        system.start()
        system.configure(CONFIG)
        return [f"pids {left} outlived the supervisor"] if left else []
    try:
        if target == "submission":
            pid = system.submission_pid()
            os.kill(pid, signal.SIGKILL)
            if system.submission_pid() == pid:
                time.sleep(1)
                if system.submission_pid() == pid:
                    return ["the submission process was killed and is there"]
            return []
        pid = system.wait_for_child(target)
        os.kill(pid, signal.SIGKILL)
        system.wait_for_child(target, not_pid=pid)
    except RuntimeError as e:
        return [str(e)]
    return []


def check_accounts(system, ledger):
    listed = system.cli("account", "list", "--json")
    if listed.returncode != 0:
        return [f"account list failed: {listed.stderr}"]
    have = {row["address"] for row in json.loads(listed.stdout)["accounts"]}
    wrong = [f"{a}: its creation was acknowledged and it is gone" for a, s in ledger.accounts.items()
             if s == "present" and a not in have]
    return wrong + [f"{a}: its removal was acknowledged and it is there" for a, s in ledger.accounts.items()
                    if s == "absent" and a in have]


def check_queue(system, ledger):
    listed = system.cli("queue", "list", "--json")
    if listed.returncode != 0:
        return [f"queue list failed: {listed.stderr}"]
    return verify_queue(ledger, [(row["sender"], row["recipient"]) for row in json.loads(listed.stdout)["queue"]])


def check_store(system):
    checked = system.cli("store", "check", "--deep", timeout=300)
    return [] if checked.returncode == 0 else [f"store check: {checked.stdout}{checked.stderr}"]


def check_journal(system, ledger, imap, ledger_path):
    """The independent reader, with the server stopped."""
    with open(ledger_path, "w") as f:
        json.dump({"mail": [[token, account, outcome, ledger.deletes.get((token, account))]
                            for (token, account), outcome in ledger.mail.items()],
                   "queue": [[token, address, outcome] for (token, address), outcome in ledger.remote.items()],
                   "imap": [user.expected() for user in imap.users]}, f)
    here = os.path.dirname(os.path.abspath(__file__))
    done = subprocess.run(["/usr/bin/python3", os.path.join(here, "journal_check.py"), system.data, ledger_path],
                          capture_output=True, text=True, timeout=600)
    print(done.stdout, end="")
    return [] if done.returncode == 0 else [f"journal check: {done.stdout[-3000:]}{done.stderr[-3000:]}"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", action="store_true", help="keep the directory")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 24)
    rng = random.Random(seed)
    top = tempfile.mkdtemp(prefix="brant-faults-")
    os.chmod(top, 0o755)
    system = System(os.path.join(top, "demo"))
    wrong = []
    print(f"faults: {args.kills} kills, seed {seed}, in {top}", flush=True)
    system.start()
    try:
        set_up(system)
    except BaseException:
        system.kill_supervisor()
        raise
    load = Load(system, seed)
    imap = ImapLoad(load, (system.imap_port, system.imaps_port), IMAP_ACCOUNTS)
    load.run()
    try:
        imap.run()
        for done in range(args.kills):
            time.sleep(rng.random() * 0.6 + 0.02)
            target = rng.choice(TARGETS)
            imap.kills.before(target)
            wrong += kill_one(system, target)
            imap.kills.after()
            load.killed()
            imap.wait_for_looks(LOOKS_S)
            if (done + 1) % 10 == 0:
                print(f"  {done + 1} kills, {len(load.ledger.mail)} deliveries tried", flush=True)
        time.sleep(1)
    finally:
        load.finish()
    outcomes = list(load.ledger.mail.values())
    wrong += verify(load.ledger, {a: system.mailbox(a) for a in MAILBOXES})
    imap.finish()
    wrong += load.surprises
    wrong += check_accounts(system, load.ledger)
    wrong += check_queue(system, load.ledger)
    wrong += check_store(system)
    status = system.stop()
    if status != 0:
        wrong.append(f"brant demo ended with {status}")
    wrong += check_journal(system, load.ledger, imap, os.path.join(top, "ledger.json"))
    remote = list(load.ledger.remote.values())
    print(f"  under TLS: {load.handshakes['good']} handshakes, {load.handshakes['failed']} failed; rows of the queue: "
          f"{remote.count(Ledger.ACCEPTED)} accepted, {remote.count(Ledger.UNANSWERED)} unanswered")
    print(f"  deliveries: {outcomes.count(Ledger.ACCEPTED)} accepted, {outcomes.count(Ledger.REFUSED)} refused "
          f"{load.ledger.refusals}, {outcomes.count(Ledger.UNANSWERED)} unanswered; "
          f"{sum(load.ledger.deletes.values())} deletions acknowledged")
    print(f"  imap: {imap.summary()}")
    if min(outcomes.count(Ledger.ACCEPTED), remote.count(Ledger.ACCEPTED)) < args.kills:
        wrong.append("too little was accepted for the test to mean anything")
    if min(imap.counts("acknowledged"), imap.counts("looks")) < args.kills:
        wrong.append("too little was done over IMAP for the test to mean anything")
    for line in wrong[:40]:
        print("WRONG:", line)
    print(f"{0 if wrong else args.kills} passed, {len(wrong)} failed")
    if wrong or args.keep:
        print(f"kept: {top}")
    else:
        shutil.rmtree(top)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
