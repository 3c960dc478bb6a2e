"""The dialogue files that also run against the bare engines, over TCP."""
import os

import pytest

from dialog import Dialog, files
from wire import TRACE


def dialogs(protocol):
    return [pytest.param(path, id=os.path.basename(path)[:-4]) for path in files(protocol)
            if not Dialog(path).has(b"engine-only")]


def test_there_are_dialogues():
    assert len(dialogs("pop3")) >= 30
    assert len(dialogs("smtp")) >= 30


@pytest.mark.parametrize("path", dialogs("pop3"))
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
