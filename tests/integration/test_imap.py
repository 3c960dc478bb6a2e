"""brant-imap as it runs: both ports, several sessions on one mailbox, a store that is killed, drain and reload, the public
scripts, and many clients at once."""
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from brantd import PASSWORD
from imap_clients import Wire
from secure import b64, configure
from test_edges import isolated

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
IMAP = os.path.join(ROOT, "tests", "imap")
MESSAGE = b"From: a@brant.test\r\nSubject: %s\r\nMessage-ID: <%s@brant.test>\r\n\r\nText of %s.\r\n"


def message(name, size=0):
    word = name.encode()
    return MESSAGE % (word, word, word) + (b"x" * 76 + b"\r\n") * (size // 78)


def connect(brantd, user=None, tls=False):
    c = Wire(brantd.base + (993 if tls else 143), tls=tls)
    if user:
        c.ok(f"LOGIN {user} {PASSWORD}")
    return c


def read(c, uid):
    """The bytes of a message, each literal in its place."""
    answer = b"".join(c.ok(f"UID FETCH {uid} (BODY.PEEK[])"))
    m = re.search(rb"BODY\[\] \{(\d+)\}\r\n", answer)
    return answer[m.end():m.end() + int(m.group(1))]


def texts(lines):
    return b"\n".join(lines)


# ---- logging in ----

@pytest.mark.parametrize("tls", [False, True])
def test_login(brantd, tls):
    user = brantd.account()
    with connect(brantd, tls=tls) as c:
        assert c.greeting.startswith(b"* OK [CAPABILITY IMAP4rev1")
        assert (b"STARTTLS" in c.greeting) != tls
        c.refused(f"LOGIN {user} wrong", b"NO")
        c.ok(f"LOGIN {user} {PASSWORD}")
        names = texts(c.ok('LIST "" * RETURN (SPECIAL-USE)'))
        for use in (b"\\Drafts", b"\\Sent", b"\\Junk", b"\\Trash", b"\\Archive"):
            assert use in names
        c.bye()


def test_starttls_and_what_comes_behind_it(brantd):
    user = brantd.account()
    with connect(brantd) as c:
        c.send(b"a STARTTLS\r\nb LOGIN nobody nothing\r\n")
        assert c.response().startswith(b"a OK")
        c.secure()
        assert b"STARTTLS" not in texts(c.ok("CAPABILITY"))
        c.ok("AUTHENTICATE PLAIN " + b64(f"\0{user}\0{PASSWORD}".encode()))
        c.ok("SELECT INBOX")
        c.bye()


def test_an_app_password_opens_what_it_is_for(brantd):
    user = brantd.account()
    made = {p: brantd.cli("app-password", "add", user, p, "--protocols", p) for p in ("imap", "pop3")}
    secret = {p: next(w for w in out.split() if len(w.replace("-", "")) >= 16) for p, out in made.items()}
    with connect(brantd) as c:
        c.refused(f"LOGIN {user} {secret['pop3']}", b"NO")
        c.ok(f"LOGIN {user} {secret['imap']}")


# ---- one session ----

def test_what_is_appended_is_read_copied_moved_and_expunged(brantd):
    user = brantd.account()
    with connect(brantd, user) as c:
        told = c.append("INBOX", message("one"), "\\Seen $Work", "01-Feb-2024 10:00:00 +0000")
        uidvalidity = re.search(rb"\[APPENDUID (\d+) 1\]", told).group(1)
        large = message("two", 3 << 20)
        c.append("INBOX", large)
        selected = texts(c.ok("SELECT INBOX"))
        assert b"* 2 EXISTS" in selected and b"UIDVALIDITY " + uidvalidity in selected and b"$Work" in selected
        assert read(c, 1) == message("one") and read(c, 2) == large
        first = texts(c.ok("FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"))
        assert b"$Work" in first and b'" 1-Feb-2024 10:00:00 +0000"' in first and b'"one"' in first
        assert texts(c.ok('SEARCH BODY "text of two"')) == b"* SEARCH 2"
        assert b"\\Flagged" in texts(c.ok("STORE 2 +FLAGS (\\Flagged other)"))
        c.ok("COPY 1:2 Archive")
        assert c.count("Archive") == 2
        c.ok("MOVE 2 Trash")
        assert c.count("Trash") == 1
        c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
        assert texts(c.ok("EXPUNGE")) == b"* 1 EXPUNGE"
        assert c.count("INBOX") == 0
        c.ok("SELECT Trash")
        assert b"\\Flagged" in texts(c.ok("FETCH 1 FLAGS")) and read(c, 1) == large
        c.refused("COPY 1 nowhere", b"NO")
        c.refused("SELECT nowhere", b"NO")
        c.bye()


def test_mailboxes_are_made_renamed_and_removed(brantd):
    with connect(brantd, brantd.account()) as c:
        c.ok("CREATE work/2024/spring")
        c.refused("CREATE work/2024", b"NO")
        c.append("work/2024", message("kept"))
        c.ok("SUBSCRIBE work/2024")
        c.ok("RENAME work job")
        names = texts(c.ok('LIST "" "job/*"'))
        assert b"job/2024" in names and b"job/2024/spring" in names
        assert c.count("job/2024") == 1
        assert b"work/2024" in texts(c.ok('LSUB "" *'))
        c.ok("DELETE job/2024/spring")
        c.refused("DELETE INBOX", b"NO")
        c.ok('CREATE "&U,BTFw-/.."')
        assert b"&U,BTFw-/.." in texts(c.ok('LIST "" "&U,BTFw-/*"'))


def test_an_append_to_a_full_account_or_to_nowhere(brantd):
    user = brantd.account(quota="100 KiB")
    with connect(brantd, user) as c:
        c.send(b"a APPEND nowhere {10000000}\r\n")
        assert c.response().startswith(b"a NO [TRYCREATE]")  # before anything large was sent
        with pytest.raises(Exception, match="OVERQUOTA"):
            c.append("INBOX", message("large", 200 << 10))
        c.append("INBOX", message("small"))
        assert c.count("INBOX") == 1


# ---- several sessions ----

def test_idle_hears_what_others_do(brantd):
    user = brantd.account()
    with connect(brantd, user, tls=True) as idle, connect(brantd, user) as other:
        idle.ok("SELECT INBOX")
        idle.send(b"i IDLE\r\n")
        assert idle.response().startswith(b"+")
        assert brantd.send(user, b"Subject: delivered\r\n\r\n\r\n")[0] == 250
        assert idle.response() == b"* 1 EXISTS"
        assert idle.response() == b"* 1 RECENT"
        other.ok("SELECT INBOX")
        other.ok("STORE 1 FLAGS (\\Seen new)")
        assert b"new" in idle.response()  # FLAGS
        assert b"new" in idle.response()  # PERMANENTFLAGS
        assert re.fullmatch(rb"\* 1 FETCH \(.*\\Seen.*\)", idle.response())
        other.append("INBOX", message("second"))
        assert idle.response() == b"* 2 EXISTS"
        other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
        other.ok("EXPUNGE")
        while b"EXPUNGE" not in (line := idle.response()):
            pass
        assert line == b"* 1 EXPUNGE"
        idle.send(b"DONE\r\n")
        assert idle.until(b"i")[1].startswith(b"OK")


def test_a_mailbox_removed_by_another_session(brantd):
    user = brantd.account()
    with connect(brantd, user) as idle, connect(brantd, user) as other:
        other.ok("CREATE short")
        idle.ok("SELECT short")
        idle.send(b"i IDLE\r\n")
        assert idle.response().startswith(b"+")
        other.ok("DELETE short")
        assert b"* BYE" in idle.rest()


# ---- a store that dies ----

def kill_store(brantd):
    store, = brantd.roles("brant-store")
    brantd.kill_role(store)


def test_the_store_is_killed_during_idle(own_brantd):
    user = own_brantd.account()
    with connect(own_brantd, user) as idle, connect(own_brantd, user) as other:
        other.append("INBOX", message("before"))
        idle.ok("SELECT INBOX")
        idle.send(b"i IDLE\r\n")
        assert idle.response().startswith(b"+")
        for n in range(3):
            kill_store(own_brantd)
            other.append("INBOX", message(f"behind-{n}"))
            while (line := idle.response()) != b"* %d EXISTS" % (n + 2):
                assert b"BYE" not in line
        idle.send(b"DONE\r\n")
        assert idle.until(b"i")[1].startswith(b"OK")
        assert read(idle, 4) == message("behind-2")


def test_the_store_is_killed_while_messages_are_read(own_brantd):
    user = own_brantd.account()
    sent = [message(f"number-{n}", 1 << 20) for n in range(8)]
    with connect(own_brantd, user) as c:
        for m in sent:
            c.append("INBOX", m)
        c.ok("SELECT INBOX")
        done = threading.Event()

        def kill():
            while not done.wait(0.4):
                kill_store(own_brantd)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            until, rounds = time.monotonic() + 6, 0
            while time.monotonic() < until:
                answers = c.ok("UID FETCH 1:* (BODY.PEEK[])")
                bodies = [a[a.index(b"}\r\n") + 3:-1] for a in answers if b"BODY[]" in a]
                assert bodies == sent
                rounds += 1
        finally:
            done.set()
            killer.join()
        assert rounds > 0
        c.bye()


def test_what_was_answered_while_the_store_was_killed_is_true(own_brantd):
    """Appends, flags, copies and moves, each answered OK or NO: what was answered OK is there, once."""
    user = own_brantd.account()
    done, appended = threading.Event(), []

    def kill():
        while not done.wait(0.3):
            kill_store(own_brantd)

    killer = threading.Thread(target=kill)
    with connect(own_brantd, user) as c:
        c.ok("SELECT INBOX")
        killer.start()
        try:
            until, n = time.monotonic() + 8, 0
            while time.monotonic() < until:
                n += 1
                try:
                    c.append("INBOX", message(f"m{n}"), "\\Flagged" if n % 2 else "")
                    appended.append(f"m{n}")
                except Exception as e:
                    assert "UNAVAILABLE" in str(e), e
        finally:
            done.set()
            killer.join()
        c.ok("NOOP")
        subjects = re.findall(rb"Subject: (m\d+)", texts(c.ok("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")))
        counts = {s.decode(): subjects.count(s) for s in subjects}
        assert all(counts.get(s) == 1 for s in appended), [s for s in appended if counts.get(s) != 1]
        assert all(count == 1 for count in counts.values())
        moved = 0
        killer = threading.Thread(target=kill)
        done.clear()
        killer.start()
        try:
            for uid in range(1, 40):
                _, tagged = c.run(f"UID MOVE {uid} Archive")
                moved += tagged.startswith(b"OK")
        finally:
            done.set()
            killer.join()
        c.ok("NOOP")
        total = c.count("INBOX") + c.count("Archive")
        assert total == len(subjects), "a message was lost or made twice"
        assert moved > 0


# ---- drain, reload, limits ----

def test_a_stop_says_good_bye(own_brantd):
    user = own_brantd.account()
    with connect(own_brantd, user) as idle, connect(own_brantd) as stranger:
        idle.ok("SELECT INBOX")
        idle.send(b"i IDLE\r\n")
        assert idle.response().startswith(b"+")
        own_brantd.process.send_signal(signal.SIGTERM)
        assert b"* BYE [UNAVAILABLE]" in idle.rest()
        assert b"* BYE [UNAVAILABLE]" in stranger.rest()


def test_a_reload_changes_limits_and_keeps_sessions(own_brantd):
    user = own_brantd.account()
    with connect(own_brantd, user) as c:
        c.ok("SELECT INBOX")
        configure(own_brantd, {"imap_max_sessions": "2", "max_message_size": "100 KiB", "max_header_size": "64 KiB"})
        c.ok("NOOP")
        with connect(own_brantd) as second:
            assert b"OK" in second.greeting
            second.ok(f"LOGIN {user} {PASSWORD}")
            assert "APPENDLIMIT=102400" in second.capabilities()
            with connect(own_brantd) as third:
                assert third.greeting.startswith(b"* BYE [UNAVAILABLE]")
            second.bye()
        c.ok("NOOP")




def test_one_connection_per_process(own_brantd):
    user = own_brantd.account()
    isolated(own_brantd, "imap")
    for n in range(3):
        before = {p.pid for p in own_brantd.roles("brant-imap")}
        with connect(own_brantd, user) as c:
            c.append("INBOX", message(f"m{n}"))
            assert c.count("INBOX") == n + 1
            assert {p.pid for p in own_brantd.roles("brant-imap")} == before
            c.bye()
        until = time.monotonic() + 5
        while {p.pid for p in own_brantd.roles("brant-imap")} & before and time.monotonic() < until:
            time.sleep(0.05)
        assert not {p.pid for p in own_brantd.roles("brant-imap")} & before


def test_a_client_that_floods_and_never_reads_blocks_nobody(brantd):
    user = brantd.account()
    with connect(brantd, user) as greedy, connect(brantd, user) as other:
        greedy.append("INBOX", message("large", 1 << 20))
        greedy.ok("SELECT INBOX")
        greedy.sock.settimeout(5)
        try:
            greedy.sock.sendall(b"f FETCH 1 BODY[]\r\n" * 10000)
        except (TimeoutError, OSError):
            pass
        start = time.monotonic()
        other.ok("SELECT INBOX")
        other.ok("FETCH 1 BODY[]")
        assert time.monotonic() - start < 10


# ---- the public scripts, and many at once, on the real thing ----

def tool(*args, timeout):
    done = subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return done.stdout


def test_the_scripts_of_imaptest(brantd):
    vectors = os.path.join(ROOT, "..", "shared", "vectors", "imap")
    if not os.path.isdir(os.environ.get("BRANT_VECTORS", vectors)):
        pytest.skip("the vectors are not at hand")
    out = tool(os.path.join(IMAP, "imaptest.py"), "--server", f"127.0.0.1:{brantd.base + 143}", brantd.account(), PASSWORD,
               timeout=300)
    assert re.search(r"\b0 failed", out), out


def test_twenty_clients_at_once_believe_what_they_are_told(brantd):
    """BRANT_STRESS_SECONDS for longer."""
    out = tool(os.path.join(IMAP, "stress.py"), "--server", f"127.0.0.1:{brantd.base + 143}", brantd.account(), PASSWORD,
               "--seconds", os.environ.get("BRANT_STRESS_SECONDS", "12"), timeout=1200)
    commands = int(re.search(r"(\d+) commands of 20 clients", out)[1])
    assert commands > 200 and out.endswith(" 0 wrong\n"), out
