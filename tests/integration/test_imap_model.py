"""10,000 random sequences of commands from three connections agree with a model of the mailboxes (tests/imap/model.py): SERVER of them with
the whole system, the rest with the bare engine, as they would take the better part of an hour; `make faults` runs more of both."""
import os
import subprocess

import pytest

from brantd import BRANT, ROOT

SEQUENCES = 10000
SERVER = 300


@pytest.mark.slow
def test_random_sequences_agree():
    script = os.path.join(ROOT, "tests", "faults", "imap_model_run.py")
    done = subprocess.run(["/usr/bin/python3", script, "--live", str(SERVER), "--bare", str(SEQUENCES - SERVER)], capture_output=True,
                          text=True, timeout=1200, env={**os.environ, "BRANT_BIN": BRANT}, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
