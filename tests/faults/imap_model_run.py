#!/usr/bin/python3
"""Random commands of three connections against the model (tests/imap/model.py), many sequences at once.

    imap_model_run.py [--live N] [--bare N] [--seed S]

`--live`: sequences against a brant demo of its own, in its three accounts at once, each with three connections; `--bare`: against
the engine with a store in memory, which takes a tenth of the time. Every sequence has a seed of its own.
"""
import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from system import PASSWORD, ROOT, System  # noqa: E402

MODEL = os.path.join(ROOT, "tests", "imap", "model.py")
PROBE = os.environ.get("BRANT_IMAP_PROBE", os.path.join(ROOT, "build", "src", "imap", "imap_probe"))
ACCOUNTS = ("alice@brant.test", "bob@brant.test", "carol@brant.test")
# Not what this is about: everybody comes from one address.
CONFIG = {"auth.source_failures": "10000", "auth.account_failures": "1000"}


def start(where, sequences, seed):
    return subprocess.Popen(["/usr/bin/python3", MODEL, *where, "--sequences", str(sequences), "--seed", str(seed)],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def results(running):
    """Waits for all; what is wrong."""
    wrong = []
    for process in running:
        out = process.communicate()[0]
        if process.returncode:
            wrong.append(out[-6000:])
    return wrong


def shares(count, parts):
    return [n for n in (count // parts + (i < count % parts) for i in range(parts)) if n]


def live(count, seed):
    top = tempfile.mkdtemp(prefix="brant-model-")
    os.chmod(top, 0o755)
    system = System(os.path.join(top, "demo"))
    running = []
    try:
        system.start()
        system.configure(CONFIG)
        running = [start(["--server", f"127.0.0.1:{system.imap_port}", account, PASSWORD], n, seed + 1000000 * i)
                   for i, (account, n) in enumerate(zip(ACCOUNTS, shares(count, len(ACCOUNTS))))]
        wrong = results(running)
        checked = system.cli("store", "check", "--deep", timeout=300)
        if checked.returncode:
            wrong.append(f"store check: {checked.stdout}{checked.stderr}")
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()
        status = system.stop() if system.process else 0
    if status:
        wrong.append(f"brant demo ended with {status}")
    if wrong:
        print(f"kept: {top}")
    else:
        shutil.rmtree(top)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", type=int, default=300)
    parser.add_argument("--bare", type=int, default=9700)
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 24)
    print(f"model: {args.live} sequences against a server, {args.bare} against the bare engine, seed {seed}", flush=True)
    wrong = results([start(["--probe", PROBE], n, seed + 1000000 * (3 + i)) for i, n in enumerate(shares(args.bare, 2))])
    wrong += live(args.live, seed) if args.live else []
    for text in wrong:
        print("WRONG:", text)
    print(f"{args.live + args.bare if not wrong else 0} passed, {len(wrong)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
