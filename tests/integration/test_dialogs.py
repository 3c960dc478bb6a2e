"""The dialogue files that also run against the bare engines, over TCP."""
import os

import pytest

from dialog import Dialog, SmtpDialog, files
from wire import TRACE


def params(paths):
    return [pytest.param(path, id=os.path.basename(path)[:-4]) for path in paths]


POP3 = params(p for p in files("pop3") if not Dialog(p).has(b"only engine"))
SMTP = params(p for p in files("smtp") if SmtpDialog(p).is_live())


def test_there_are_dialogues():
    assert len(POP3) >= 30
    assert len(SMTP) >= 60


@pytest.mark.parametrize("path", POP3)
def test_pop3(brantd, path):
    dialog = Dialog(path)
    user = brantd.account()
    sent = dialog.messages()
    for message in sent:
        assert brantd.send(user, message)[0] == 250
    dialog.play(brantd.pop3_port, user)
    gone = {int(n) for value in dialog.values(b"deletes") for n in value.split()}
    left = brantd.mailbox(user)
    kept = [m for n, m in enumerate(sent, 1) if n not in gone]
    assert len(left) == len(kept)
    for stored, message in zip(left, kept):
        assert stored.endswith(message) and TRACE.match(stored[:len(stored) - len(message)])


@pytest.mark.parametrize("path", SMTP)
def test_smtp(brantd, path):
    users = [f"{name}@brant.test" for name in ("alice", "bob", "carol")]
    for user in users:
        brantd.empty(user)
    SmtpDialog(path).play(brantd.smtp_port, lambda: [m for user in users for m in brantd.mailbox(user)])
