"""Other people's IMAP clients, each driven through what it can do. Each ends with status 0 and says nothing on its standard
error, and what it left is compared byte for byte with what a second client sees."""
import contextlib
import glob
import imaplib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

import imap_clients
import peers
from brantd import ROOT
from imap_clients import Elsewhere, needs, state

HERE = os.path.dirname(os.path.abspath(__file__))
SPECIAL = sorted(imap_clients.SPECIAL)


@pytest.fixture(scope="module")
def server(request, tmp_path_factory):
    for server in imap_clients.start(tmp_path_factory.mktemp("imap")):
        if server.name == "brant" and not os.environ.get("BRANT_QUICK"):
            request.getfixturevalue("deaf")
        yield server


@pytest.fixture
def user(server):
    return server.account()


@pytest.fixture(params=["starttls", "secure"])
def how(request):
    return request.param


def message(subject, body=None):
    """With CRLF, lines that begin with dots, eight-bit bytes, and no line end at the end."""
    body = body or f"First line of {subject}\r\n.\r\n..dots\r\n\u00e4\u00f6\u00fc \u20ac\r\n" + "x" * 900 + "\r\nno end"
    return (f"From: A <a@example.org>\r\nTo: b@brant.test\r\nSubject: {subject}\r\nDate: Wed, 25 Nov 2026 01:00:00 +0000\r\n"
            f"Message-ID: <{subject}@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}").encode()


def ended(message):
    """As programs that store lines have it."""
    return message if message.endswith(b"\r\n") else message + b"\r\n"


def fill(server, user, mailbox, messages, flags=""):
    with server.raw(user) as c:
        for m in messages:
            c.append(mailbox, m, flags)


AS_ROOT = b"fetchmail: WARNING: Running as root is discouraged.\n"


def run(*args, stdin=None, env=None, timeout=60, tells=AS_ROOT, **more):
    """Status 0 and an empty standard error but for what it `tells` anyway (an expression); the standard output."""
    done = subprocess.run([str(a) for a in args], input=stdin, capture_output=True, timeout=timeout,
                          env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}, **more)
    assert done.returncode == 0 and not re.sub(tells, b"", done.stderr), f"{args}: {done.returncode}\n{done.stderr.decode()}\n{done.stdout[-3000:].decode()}"
    return done.stdout


def private(place, name, text):
    path = os.path.join(str(place), name)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o600)
    return path


def eventually(condition, seconds=15, what="it"):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {seconds} s")


# ---- curl ----

def test_curl(server, user, how, tmp_path):
    one, two, three = (message(s) for s in ("one", "two", "three"))
    fill(server, user, "INBOX", [one, two])
    base = [peers.program("curl"), "-sS", "--max-time", "30", "--cacert", server.ca, "--ssl-reqd", "-u", f"{user}:{server.password}"]
    url = f"imap://127.0.0.1:{server.port}/" if how == "starttls" else f"imaps://127.0.0.1:{server.tls_port}/"

    def curl(path="", *args, **more):
        return run(*base, url + path, *args, **more)

    listed = curl()
    for name in SPECIAL + ["INBOX"]:
        assert re.search(rb'^\* LIST \([^)]*\) "/" "?%s"?\r$' % name.encode(), listed, re.M), listed
    assert curl("INBOX/;UID=1") == one
    assert curl("INBOX/;MAILINDEX=2") == two
    assert curl("INBOX/;UID=2/;SECTION=TEXT") == two.split(b"\r\n\r\n", 1)[1]
    assert curl("INBOX/;UID=2/;SECTION=HEADER.FIELDS%20(SUBJECT)") == b"Subject: two\r\n\r\n"
    assert curl("INBOX/;UID=2/;SECTION=1/;PARTIAL=0.20") == b"First line of two\r\n."
    assert curl("INBOX?SUBJECT%20two") == b"* SEARCH 2\r\n"
    assert b"MESSAGES 2" in curl("", "-X", "STATUS INBOX (MESSAGES UIDNEXT)")
    curl("", "-X", "CREATE Curl/Inner")
    (tmp_path / "three").write_bytes(three)
    curl("Curl/Inner", "-T", tmp_path / "three")
    curl("INBOX", "-X", "UID STORE 1 +FLAGS.SILENT (\\Flagged $Work)")
    curl("INBOX", "-X", "UID COPY 1 Archive")
    curl("INBOX", "-X", "UID MOVE 2 Trash")
    curl("Trash", "-X", "STORE 1 +FLAGS.SILENT (\\Deleted)")
    assert b"* 1 EXPUNGE" in curl("Trash", "-X", "EXPUNGE")
    assert state(server, user) == {
        "INBOX": [(["$Work", "\\Flagged", "\\Seen"], one)], "Archive": [(["$Work", "\\Flagged", "\\Seen"], one)],
        "Curl/Inner": [(["\\Seen"], three)]}
    refused = subprocess.run([*base[:-1], f"{user}:wrong", url], capture_output=True, timeout=30)
    assert refused.returncode == 67, refused  # login denied


# ---- imaplib, looked at by curl ----

def imaplib_session(server, user, how):
    import ssl
    context = ssl.create_default_context(cafile=server.ca)
    if how == "secure":
        m = imaplib.IMAP4_SSL("localhost", server.tls_port, ssl_context=context, timeout=30)
    else:
        m = imaplib.IMAP4("localhost", server.port, timeout=30)
        assert m.starttls(context)[0] == "OK"
    return m


def good(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def test_imaplib(server, user, how):
    first, second = imaplib_session(server, user, how), imaplib_session(server, user, how)
    good(first.login(user, server.password))
    good(second.authenticate("PLAIN", lambda _: f"\0{user}\0{server.password}".encode()))
    sent = [message(f"m{n}") for n in range(5)]
    for n, m in enumerate(sent):
        good(first.append("INBOX", "(\\Seen)" if n % 2 else "", imaplib.Time2Internaldate(n * 86400 + 3600), m))
    assert good(first.select("INBOX")) == [b"5"]
    assert good(second.select("INBOX", readonly=True)) == [b"5"]
    assert good(first.search(None, "SEEN")) == [b"2 4"]
    assert good(first.search("UTF-8", "BODY", '"First line of m3"')) == [b"4"]
    assert good(first.uid("SEARCH", "SINCE", "3-Jan-1970"))[0].split() == [b"3", b"4", b"5"]
    for n, m in enumerate(sent):
        assert good(first.fetch(str(n + 1), "(BODY.PEEK[])"))[0][1] == m
        assert b"1970" in good(first.fetch(str(n + 1), "(INTERNALDATE)"))[0]
    good(first.store("1:2", "+FLAGS", "(\\Flagged kw)"))
    good(first.store("2", "-FLAGS", "(\\Seen)"))
    good(first.copy("1:3", "Archive"))
    good(first.create("Deep/Er"))
    good(first.rename("Deep/Er", "Deep/Est"))
    good(first.subscribe("Deep/Est"))
    assert any(b"Deep/Est" in line for line in good(first.lsub()))
    good(first.uid("MOVE", "5", "Deep/Est"))
    good(first.store("3", "+FLAGS", "\\Deleted"))
    assert good(first.expunge()) == [b"5", b"3"], "that of MOVE, and its own"
    good(second.noop())
    assert second.untagged_responses["EXPUNGE"] in ([b"5", b"3"], [b"3", b"4"]), "in one order or the other"
    second.store("1", "+FLAGS", "\\Seen")  # it only looks, and changes nothing
    good(first.create("Gone"))
    good(first.delete("Gone"))
    assert first.status("Gone", "(MESSAGES)")[0] == "NO"
    good(first.close())
    assert first.logout()[0] == "BYE"
    assert second.logout()[0] == "BYE"
    left = {"INBOX": [(["\\Flagged", "kw"], sent[0]), (["\\Flagged", "kw"], sent[1]), (["\\Seen"], sent[3])],
            "Archive": [(["\\Flagged", "kw"], sent[0]), (["\\Flagged", "kw"], sent[1]), ([], sent[2])],
            "Deep/Est": [([], sent[4])]}
    with server.raw(user) as c:
        for box, messages in left.items():
            c.ok(f'EXAMINE "{box}"')
            for n, (flags, text) in enumerate(messages):
                line = c.ok(f"FETCH {n + 1} (FLAGS)")[0]
                assert sorted(re.search(rb"\((?:.*?)FLAGS \((.*?)\)", line).group(1).decode().replace("\\Recent", "").split()) == flags
                assert run(peers.program("curl"), "-sS", "-u", f"{user}:{server.password}",
                           f"imap://127.0.0.1:{server.port}/{box}/;MAILINDEX={n + 1}") == text


# ---- fetchmail ----

def fetchmail_files(server, user, how, place, words, before=""):
    mda = private(place, "mda", f'#!/bin/sh\nexec cat >"$(mktemp {place}/new/XXXXXXXX)"\n')
    os.chmod(mda, 0o755)
    port, tls = (server.tls_port, "ssl") if how == "secure" else (server.port, "")
    return private(place, "fetchmailrc", f"set no bouncemail\nset invisible\n{before}"
                   f'poll localhost proto imap port {port} user "{user}" password "{server.password}" {tls} sslproto "TLS1.2+" '
                   f'sslcertck sslcertfile "{server.ca}" {words} no rewrite no mimedecode mda "{mda}"\n')


def fetchmail_command(place, rc, *more):
    return [peers.program("fetchmail"), "-f", rc, "--nosyslog", "--pidfile", f"{place}/pid", "--idfile", f"{place}/ids", *more]


def test_fetchmail(server, user, how, tmp_path):
    place = peers.maildir(str(tmp_path / "mail"))
    home = {"FETCHMAILHOME": place, "HOME": place}
    sent = [message(f"m{n}") for n in range(12)]
    fill(server, user, "INBOX", sent[:6])
    fill(server, user, "INBOX", sent[6:9], "\\Seen")
    fill(server, user, "Archive", sent[9:])
    rc = fetchmail_files(server, user, how, place, "keep")
    run(*fetchmail_command(place, rc, "-s"), env=home)
    assert sorted(peers.maildir_messages(place)) == sorted(map(ended, sent[:6])), "what is seen is not fetched"
    assert [flags for flags, _ in state(server, user)["INBOX"]] == [["\\Seen"]] * 9
    rc = fetchmail_files(server, user, how, place, 'fetchall nokeep folder "INBOX","Archive"')
    run(*fetchmail_command(place, rc, "-s"), env=home)
    assert sorted(peers.maildir_messages(place)) == sorted(map(ended, sent[:6] + sent))
    assert state(server, user) == {}


def test_fetchmail_idle(server, user, tmp_path):
    """It waits with IDLE, and new mail is there at once."""
    place = peers.maildir(str(tmp_path / "mail"))
    rc = fetchmail_files(server, user, "secure", place, "idle nokeep")
    waits = subprocess.Popen(fetchmail_command(place, rc, "-s"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env={**os.environ, "FETCHMAILHOME": place, "HOME": place, "LC_ALL": "C.UTF-8"})
    try:
        for n in range(3):
            time.sleep(0.5)
            text = message(f"idle{n}")
            server.deliver(user, text)
            eventually(lambda: any(m.endswith(ended(text)) for m in peers.maildir_messages(place)), 10, "mail by IDLE")
        eventually(lambda: state(server, user) == {}, 10, "its deletion")
    finally:
        waits.send_signal(signal.SIGTERM)
        out, err = waits.communicate(timeout=20)
    assert not err.replace(AS_ROOT, b"").replace(b"fetchmail: terminated with signal 15\n", b""), err


# ---- getmail ----

def test_getmail(server, user, tmp_path):
    """It refuses to deliver as root: then it runs as nobody."""
    sent = [message(f"m{n}") for n in range(8)]
    fill(server, user, "INBOX", sent[:5])
    fill(server, user, "Archive", sent[5:])
    with tempfile.TemporaryDirectory(prefix="brant-getmail-") as own:
        shutil.copy(server.ca, os.path.join(own, "ca.crt"))
        peers.maildir(os.path.join(own, "mail"))
        rc = private(own, "getmailrc", f"[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = localhost\nport = {server.tls_port}\n"
                     f"username = {user}\npassword = {server.password}\nca_certs = {own}/ca.crt\nmailboxes = ('INBOX', 'Archive')\n"
                     f"move_on_delete = Trash\n[destination]\ntype = Maildir\npath = {own}/mail/\n"
                     "[options]\nread_all = true\ndelete = true\nreceived = false\ndelivered_to = false\nverbose = 0\n")
        more = {}
        if os.geteuid() == 0:
            more = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            for folder, _, names in os.walk(own):
                for path in [folder] + [os.path.join(folder, n) for n in names]:
                    shutil.chown(path, "nobody", "nogroup")
        for _ in range(2):  # there is nothing left for the second time
            run(peers.program("getmail"), "--getmaildir", own, "--rcfile", rc, env={"HOME": own}, cwd=own, **more)
        got = peers.maildir_messages(os.path.join(own, "mail"))
    assert sorted(re.sub(rb"X-getmail-retrieved-from-mailbox: \w+\r\n", b"", m[m.index(b"From: A"):]) for m in got) == sorted(sent)
    left = state(server, user)
    assert set(left) == {"Trash"} and sorted(m for _, m in left["Trash"]) == sorted(sent)


# ---- ImapFlow ----

def imapflow():
    """Where it is installed, which is done once."""
    needs("node", "npm")
    place = os.path.join(ROOT, "build", "peers", "imapflow")
    if not os.path.exists(os.path.join(place, "node_modules", ".package-lock.json")):
        os.makedirs(place, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(HERE, "imapflow", name), place)
        done = subprocess.run(["npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=place,
                              capture_output=True, text=True, timeout=120)
        if done.returncode:
            pytest.skip("ImapFlow cannot be installed: " + done.stderr.strip()[-300:])
    return place


def test_imapflow(server, user, how):
    sent = [message(s) for s in ("one", "two", "three")]
    fill(server, user, "INBOX", sent)
    place = imapflow()
    port = server.tls_port if how == "secure" else server.port
    process = subprocess.Popen(["node", os.path.join(HERE, "imapflow", "client.js"), "localhost", str(port), server.ca, user,
                                server.password, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "NODE_PATH": os.path.join(place, "node_modules")})
    told, other = None, server.raw(user)
    late = message("late")
    asked = {
        "deliver": lambda: server.deliver(user, late),
        "flag": lambda: other.ok("SELECT INBOX") and other.ok("UID STORE 5 +FLAGS (\\Flagged)"),
        "expunge": lambda: other.ok("UID STORE 5 +FLAGS (\\Deleted)") and other.ok("UID EXPUNGE 5"),
        "change": lambda: [other.ok("UID STORE 1 FLAGS (\\Draft)"), other.ok("UID STORE 4 +FLAGS.SILENT (\\Deleted)"),
                           other.ok("EXPUNGE")],
    }
    watch = Elsewhere(lambda: process.wait(60))
    try:
        for line in process.stdout:
            told = json.loads(line)
            if "ask" in told:
                asked[told["ask"]]()
                process.stdin.write(b"done\n")
                process.stdin.flush()
        watch.join(70)
    finally:
        process.kill()
        out, err = process.communicate()
        other.close()
    assert process.returncode == 0 and not err, err.decode()
    assert sorted(told["names"]) == sorted([["INBOX", "\\Inbox"]] + [[name, "\\" + use] for name, use in imap_clients.SPECIAL.items()])
    assert [m[:3] for m in told["messages"]] == [[1, "one", "text/plain"], [2, "two", "text/plain"], [3, "three", "text/plain"],
                                                 [4, "four", "text/plain"]]
    assert [m[4].encode("latin-1") for m in told["messages"][:3]] == sent
    assert told["idle"][0] == 3 and "\\Flagged" in told["idle"][1] and told["idle"][2] < 5000
    assert told["back"]["changed"] == [[1, ["\\Draft"], True]]
    assert told["back"]["gone"] == [[4, True, True]]
    assert state(server, user) == {"INBOX": [(["\\Draft"], sent[0])], "Archive": [(["\\Answered"], sent[1])],
                                   "Flow/Other": [(["$Work", "\\Seen"], sent[0])]}


# ---- mbsync ----

class Mbsync:
    """A Maildir in a directory of its own, kept equal to an account."""

    def __init__(self, server, user, how, place):
        self.place, self.mail = str(place), os.path.join(str(place), "mail")
        os.makedirs(self.mail, exist_ok=True)
        where = f"Port {server.tls_port}\nSSLType IMAPS" if how == "secure" else f"Port {server.port}\nSSLType STARTTLS"
        self.rc = private(place, "mbsyncrc", f"FSync no\nIMAPAccount far\nHost localhost\n{where}\nUser {user}\nPass {server.password}\n"
                          f"CertificateFile {server.ca}\nSystemCertificates no\nTimeout 60\n\nIMAPStore far\nAccount far\n\nMaildirStore near\n"
                          f"Path {self.mail}/\nInbox {self.mail}/INBOX\nSubFolders Verbatim\n\nChannel all\nFar :far:\n"
                          "Near :near:\nPatterns *\nCreate Both\nRemove Both\nExpunge Both\nSyncState *\nCopyArrivalDate yes\n")

    def __call__(self, timeout=120):
        return run(peers.program("mbsync"), "-q", "-c", self.rc, "all", env={"HOME": self.place}, timeout=timeout)

    def folder(self, name):
        return os.path.join(self.mail, name)

    def files(self, name):
        return glob.glob(os.path.join(self.folder(name), "cur", "*")) + glob.glob(os.path.join(self.folder(name), "new", "*"))

    def add(self, name, messages):
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.folder(name), part), exist_ok=True)
        for n, m in enumerate(messages):
            with open(os.path.join(self.folder(name), "new", f"{time.time():.6f}.{n}_{random.getrandbits(32)}.here"), "wb") as f:
                f.write(m.replace(b"\r\n", b"\n"))

    def state(self):
        """As state() of a server: flags, message."""
        found = {}
        for name in os.listdir(self.mail):
            for path in self.files(name):
                letters = path.rpartition(":2,")[2] if ":2," in path else ""
                flags = sorted({"S": "\\Seen", "F": "\\Flagged", "R": "\\Answered", "D": "\\Draft", "T": "\\Deleted"}[c] for c in letters)
                with open(path, "rb") as f:
                    text = re.sub(rb"X-TUID: [^\n]*\n", b"", f.read().replace(b"\r\n", b"\n"))
                found.setdefault(name, []).append((flags, text.replace(b"\n", b"\r\n")))
        return {name: sorted(messages) for name, messages in found.items()}


def sorted_state(server, user):
    """What programs send may bear a mark of theirs; in no order."""
    return {box: sorted((flags, re.sub(rb"X-TUID: [^\r]*\r\n", b"", m)) for flags, m in messages)
            for box, messages in state(server, user).items()}


def test_mbsync(server, user, how, tmp_path):
    sync = Mbsync(server, user, how, tmp_path)
    sent = [message(f"m{n}", f"body {n}\r\n") for n in range(40)]
    fill(server, user, "INBOX", sent[:20])
    fill(server, user, "Archive", sent[20:30], "\\Seen \\Flagged")
    sync.add("INBOX", sent[30:35])
    sync.add("Nearby", sent[35:])
    sync()
    expected = {"INBOX": sorted(([], m) for m in sent[:20] + sent[30:35]), "Nearby": sorted(([], m) for m in sent[35:]),
                "Archive": sorted((["\\Flagged", "\\Seen"], m) for m in sent[20:30])}
    assert sync.state() == expected and sorted_state(server, user) == expected
    for path in sync.files("Archive"):  # flags and deletions go there
        os.rename(path, path.rpartition(":2,")[0] + ":2,RS")
    gone = sync.files("Nearby")[0]
    os.unlink(gone)
    with server.raw(user) as c:  # and come from there
        c.ok("SELECT INBOX")
        c.ok("STORE 1:10 +FLAGS (\\Answered)")
        c.ok("MOVE 11:12 Archive")
        c.ok("STORE 13 +FLAGS (\\Deleted)")
        c.ok("EXPUNGE")
        c.ok("CREATE Faraway")
        c.append("Faraway", sent[0])
    sync()
    left = sorted_state(server, user)
    assert sync.state() == left
    assert {box: len(messages) for box, messages in left.items()} == {"INBOX": 22, "Archive": 12, "Nearby": 4, "Faraway": 1}
    assert sum(flags == ["\\Answered", "\\Seen"] for flags, _ in left["Archive"]) == 10
    assert sum(flags == ["\\Answered"] for flags, _ in left["INBOX"]) == 10
    sync()
    assert sync.state() == left == sorted_state(server, user), "nothing is left to do"


@pytest.mark.slow
def test_mbsync_both_ways_while_another_client_moves_and_deletes(server, user, tmp_path):
    """5,000 messages, half of them on each side; then until both are at rest the same on both."""
    sync = Mbsync(server, user, "secure", tmp_path)
    sent = [message(f"m{n}", f"body {n}\r\n") for n in range(5000)]
    with server.raw(user) as c:
        for start in range(0, 2500, 100):  # MULTIAPPEND (RFC 3502)
            parts = b"".join(b" {%d+}\r\n%s" % (len(m), m) for m in sent[start:start + 100])
            c.ok(b"APPEND INBOX" + parts)
    sync.add("INBOX", sent[2500:])
    fate = random.Random(5000)
    gone, moved = set(), set()
    stop = []

    def meddle():
        """Moves some and deletes some, as long as mbsync is at it."""
        with server.raw(user) as c:
            c.ok("SELECT INBOX")
            while not stop:
                found = next(line for line in c.ok("UID SEARCH ALL") if line.startswith(b"* SEARCH"))
                uids = [int(n) for n in found.split()[2:]]
                some = fate.sample(uids, min(12, len(uids)))
                for kind, which in (("move", some[:6]), ("delete", some[6:])):
                    numbers = ",".join(map(str, which))
                    texts = {re.search(rb"<(m\d+)@", line).group(1).decode() for line in
                             c.ok(f"UID FETCH {numbers} (BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])") if b"<m" in line}
                    if kind == "move":
                        c.ok(f"UID MOVE {numbers} Archive")
                        moved.update(texts)
                    else:
                        c.ok(f"UID STORE {numbers} +FLAGS.SILENT (\\Deleted)")
                        c.ok(f"UID EXPUNGE {numbers}")
                        gone.update(texts)
                time.sleep(0.1)

    meddler = Elsewhere(meddle)
    start = time.monotonic()
    try:
        env = {**os.environ, "HOME": sync.place, "LC_ALL": "C.UTF-8"}
        for _ in range(2):  # what vanishes under it makes it complain, and try again the next time
            done = subprocess.run([peers.program("mbsync"), "-q", "-c", sync.rc, "all"], env=env, capture_output=True, timeout=90)
            assert done.returncode in (0, 1), done.stderr
    finally:
        stop.append(True)
        meddler.join()
    assert len(moved) >= 12 and len(gone) >= 12
    sync()
    sync()
    assert time.monotonic() - start < 90
    left = sorted_state(server, user)
    assert sync.state() == left

    def ids(box):
        return sorted(re.search(rb"<(m\d+)@", m).group(1).decode() for _, m in left[box])

    everything = {f"m{n}" for n in range(5000)}
    assert ids("Archive") == sorted(moved)
    assert ids("INBOX") == sorted(everything - moved - gone), "nothing is lost, nothing comes twice, nothing comes back"
    texts = {m for _, m in left["INBOX"] + left["Archive"]}
    assert texts <= set(sent)


# ---- OfflineIMAP ----

def test_offlineimap(server, user, tmp_path):
    """Without STARTTLS: behind it this version waits for the socket while TLS still has bytes, with every server."""
    needs("offlineimap")
    place = str(tmp_path)
    rc = private(place, "offlineimaprc", f"[general]\naccounts = a\nmetadata = {place}/meta\nfsync = false\n[Account a]\n"
                 f"localrepository = near\nremoterepository = far\n[Repository near]\ntype = Maildir\nlocalfolders = {place}/mail\nsep = .\n"
                 f"[Repository far]\ntype = IMAP\nremotehost = localhost\nremoteport = {server.tls_port}\n"
                 f"remoteuser = {user}\nremotepass = {server.password}\nssl = yes\nsslcacertfile = {server.ca}\n"
                 "auth_mechanisms = PLAIN, LOGIN\n")

    def sync():
        run(peers.program("offlineimap"), "-c", rc, "-o", "-u", "quiet", env={"HOME": place}, timeout=90)

    def near(name):
        return glob.glob(os.path.join(place, "mail", name, "*", "*:2,*"))

    def bodies(name):
        found = []
        for path in near(name):
            with open(path, "rb") as f:
                text = re.sub(rb"X-OfflineIMAP: [^\n]*\n", b"", f.read().replace(b"\r\n", b"\n"))
            found.append(text.replace(b"\n", b"\r\n"))
        return sorted(found)

    sent = [message(f"m{n}") for n in range(15)]
    fill(server, user, "INBOX", sent[:10])
    fill(server, user, "Archive", sent[10:12], "\\Seen")
    sync()
    assert bodies("INBOX") == sorted(sent[:10]) and bodies("Archive") == sorted(sent[10:12])
    assert all(path.endswith(":2,S") for path in near("Archive"))
    for n, m in enumerate(sent[12:]):
        with open(os.path.join(place, "mail", "Drafts", "new", f"{n}.x.here"), "wb") as f:
            f.write(m.replace(b"\r\n", b"\n"))
    first = next(p for p in near("INBOX") if sent[0].split(b"\r\n")[2] + b"\n" in open(p, "rb").read())
    os.rename(first, os.path.join(place, "mail", "INBOX", "cur", os.path.basename(first).rpartition(":2,")[0] + ":2,FRS"))
    with server.raw(user) as c:
        c.ok("SELECT INBOX")
        c.ok("UID STORE 2 +FLAGS (\\Seen)")
        c.ok("UID MOVE 3:4 Trash")
        c.ok("UID STORE 5 +FLAGS (\\Deleted)")
        c.ok("UID EXPUNGE 5")
    gone = next(p for p in near("INBOX") if sent[5].split(b"\r\n")[2] + b"\n" in open(p, "rb").read())
    os.unlink(gone)
    sync()
    sync()
    left = {box: sorted((flags, ended(re.sub(rb"X-OfflineIMAP: [^\r]*\r\n", b"", m))) for flags, m in messages)
            for box, messages in state(server, user).items()}
    assert left == {
        "INBOX": sorted([(["\\Answered", "\\Flagged", "\\Seen"], ended(sent[0])), (["\\Seen"], ended(sent[1]))] +
                        [([], ended(m)) for m in sent[6:10]]),
        "Archive": sorted((["\\Seen"], ended(m)) for m in sent[10:12]), "Trash": sorted(([], ended(m)) for m in sent[2:4]),
        "Drafts": sorted(([], ended(m)) for m in sent[12:])}
    for box in left:
        assert sorted(map(ended, bodies(box))) == sorted(m for _, m in left[box])


# ---- mutt, on a terminal ----

class Terminal:
    """A program in a tmux of its own; its exit status and its standard error are kept in files."""

    def __init__(self, place, *args):
        needs("tmux")
        self.place, self.socket = str(place), os.path.join(str(place), "tmux")
        command = " ".join(f"'{a}'" for a in args)
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30",
                  f"env HOME='{place}' LC_ALL=C.UTF-8 {command} 2>'{place}/err'; echo $? >'{place}/status'")

    def tmux(self, *args):
        return subprocess.run([peers.program("tmux"), "-S", self.socket, *args], capture_output=True, text=True, timeout=20,
                              env={**os.environ, "TMUX": ""})

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.tmux("kill-server")

    def screen(self):
        return self.tmux("capture-pane", "-p").stdout

    def see(self, pattern, seconds=15):
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.screen(), re.M):
            assert time.monotonic() < deadline, f"{pattern!r} does not show:\n{self.screen()}"
            time.sleep(0.05)

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def ends(self):
        eventually(lambda: os.path.exists(os.path.join(self.place, "status")), 20, "its end")
        with open(os.path.join(self.place, "status")) as status, open(os.path.join(self.place, "err")) as err:
            return int(status.read()), err.read()


def test_mutt(server, user, how, tmp_path):
    sent = [message(f"letter-{n}", f"body of {n}\r\n") for n in range(1, 7)]
    fill(server, user, "INBOX", sent)
    scheme, port = ("imaps", server.tls_port) if how == "secure" else ("imap", server.port)
    rc = private(tmp_path, "muttrc", f'set folder="{scheme}://localhost:{port}/"\nset imap_user="{user}"\nset imap_pass="{server.password}"\n'
                 'set spoolfile="+INBOX"\nset postponed="+Drafts"\nset record=""\nset imap_authenticators="plain"\nset ssl_force_tls=yes\n'
                 f'set ssl_starttls=yes\nset ssl_ca_certificates_file="{server.ca}"\nset certificate_file="{tmp_path}/none"\n'
                 'set imap_idle=yes\nset timeout=1\nset mail_check=1\nset sort=mailbox-order\nset confirmappend=no\nset delete=yes\n'
                 'set move=no\nset mark_old=no\nset wait_key=no\nset editor="true"\nset abort_unmodified=no\nset from="b@brant.test"\n'
                 'set use_envelope_from=no\nset realname="B"\nset postpone=yes\nset fast_reply=yes\nset quit=yes\nset imap_check_subscribed=no\n'
                 'set beep=no\nset beep_new=no\n')
    with Terminal(tmp_path, peers.program("mutt"), "-n", "-F", rc) as t:
        t.see(r"letter-6")
        t.keys("1", "Enter")
        t.keys("F")
        t.see(r"1 N ! .*letter-1")
        t.keys("2", "Enter", "C")
        t.see("Copy to mailbox")
        t.keys("C-u", "=Archive", "Enter")
        t.see(r"message\(?s?\)? ?copied|Copying|2 +N? .*letter-2")
        t.keys("3", "Enter", "s")
        t.see("Save to mailbox")
        t.keys("C-u", "=Archive", "Enter")
        t.see(r"3 +.?D.*letter-3")
        t.keys("4", "Enter", "d")
        t.see(r"4 +.?D.*letter-4")
        t.keys("5", "Enter", "Enter")
        t.see("body of 5")
        t.keys("i")
        t.see("letter-6")
        t.keys("$")
        eventually(lambda: len(state(server, user)["INBOX"]) == 4, 15, "the expunge")
        late = message("late-letter", "late\r\n")
        server.deliver(user, late)
        t.see("late-letter", 10)
        t.keys("m")
        t.see("^To:")
        t.keys("c@example.org", "Enter")
        t.see("^Subject:")
        t.keys("a draft", "Enter")
        t.see("Compose|y:Send")
        t.keys("P")
        t.see("postponed|letter-6")
        eventually(lambda: "Drafts" in state(server, user), 15, "the draft")
        t.keys("q")
        assert t.ends() == (0, "")
    left = state(server, user)
    new = [(flags, m) for flags, m in left["INBOX"] if m.endswith(late)]
    assert len(new) == 1 and [m for m in left["INBOX"] if m not in new] == [
        (["\\Flagged"], sent[0]), ([], sent[1]), (["\\Seen"], sent[4]), ([], sent[5])]
    assert left["Archive"] == [([], sent[1]), ([], sent[2])]
    (flags, draft), = left["Drafts"]
    assert b"Subject: a draft\r\n" in draft and b"To: c@example.org\r\n" in draft and set(flags) <= {"\\Draft", "\\Seen"}
    assert set(left) == {"INBOX", "Archive", "Drafts"}


# ---- InterIMAP: two servers ----

# Even when quiet, of what the two servers and its own notes of them have come to hold.
INTERIMAP_TELLS = (rb"Creating new schema in database file .*\n|(local|remote|database)(\([^)]*\))?: "
                   rb"(Created mailbox|Subscribe to|Unsubscribe to) .*\n")


def test_interimap(server, user, how, tmp_path):
    """Keeps two accounts equal by QRESYNC: one of the server under test, one of a Dovecot."""
    needs("interimap")
    near = imap_clients.Dovecot()
    try:
        mine = near.account()
        place = str(tmp_path)
        os.makedirs(os.path.join(place, "config", "interimap"))
        os.makedirs(os.path.join(place, "data", "interimap"), 0o700)
        far = (f"type = imaps\nport = {server.tls_port}\n" if how == "secure" else f"type = imap\nport = {server.port}\nSTARTTLS = YES\n")
        rc = private(place, "config/interimap/config", "database = pair.db\nlist-mailbox = *\n[local]\ntype = imap\nhost = 127.0.0.1\n"
                     f"port = {near.port}\nSTARTTLS = NO\nusername = {mine}\npassword = {near.password}\n"
                     f"[remote]\nhost = localhost\n{far}username = {user}\npassword = {server.password}\nSSL_CAfile = {server.ca}\n")

        def sync():
            run(peers.program("interimap"), "--quiet", "--config", rc, timeout=90, tells=INTERIMAP_TELLS,
                env={"HOME": place, "XDG_CONFIG_HOME": os.path.join(place, "config"), "XDG_DATA_HOME": os.path.join(place, "data")})

        def both():
            one, other = ({box: sorted(messages) for box, messages in state(*pair).items()} for pair in ((server, user), (near, mine)))
            return one, other

        sent = [message(f"m{n}") for n in range(60)]
        fill(server, user, "INBOX", sent[:30])
        fill(near, mine, "INBOX", sent[30:40], "\\Seen")
        fill(near, mine, "Archive", sent[40:50])
        fill(server, user, "Archive", sent[50:], "\\Flagged")
        sync()
        one, other = both()
        assert one == other and {box: len(m) for box, m in one.items()} == {"INBOX": 40, "Archive": 20}
        for which, account, uids in ((server, user, (1, 2, 3)), (near, mine, (5, 6, 7))):
            with which.raw(account) as c:
                c.ok("SELECT INBOX")
                c.ok(f"UID STORE {uids[0]} +FLAGS (\\Answered $Work)")
                c.ok(f"UID MOVE {uids[1]} Trash")
                c.ok(f"UID STORE {uids[2]} +FLAGS (\\Deleted)")
                c.ok(f"UID EXPUNGE {uids[2]}")
                c.append("Drafts", sent[0], "\\Draft")
        sync()
        one, other = both()
        assert one == other and {box: len(m) for box, m in one.items()} == {"INBOX": 36, "Archive": 20, "Trash": 2, "Drafts": 2}
        assert sum("\\Answered" in flags and "$Work" in flags for flags, _ in one["INBOX"]) == 2
        sync()
        assert both() == (one, other)
    finally:
        near.stop()
