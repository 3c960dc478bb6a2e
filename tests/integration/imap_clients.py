"""Servers that IMAP clients are pointed at, and a small client of our own that sees exact bytes.

Two servers look alike here: brant, and Debian's Dovecot run by an ordinary user from a directory of its own. A test of a
client that passes on both says that the client was driven rightly. BRANT_IMAP_SERVER=dovecot takes Dovecot wherever a
test would take brant, BRANT_IMAP_SERVER=engine the engine without a store on disk."""
import contextlib
import imaplib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import pytest

import secure
from brantd import DOMAIN, PASSWORD, ROOT, Brantd, is_free

DOVECOT = "/usr/sbin/dovecot"
PROBE = os.environ.get("BRANT_IMAP_PROBE", os.path.join(ROOT, "build", "src", "imap", "imap_probe"))
SPECIAL = {"Drafts": "Drafts", "Sent": "Sent", "Junk": "Junk", "Trash": "Trash", "Archive": "Archive"}

DOVECOT_CONF = """
protocols = imap
listen = 127.0.0.1
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/log
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
ssl = yes
ssl_cert = <{chain}
ssl_key = <{key}
ssl_dh =
disable_plaintext_auth = no
login_trusted_networks = 127.0.0.0/8
mail_location = {format}:{dir}/mail/%u
mail_max_userip_connections = 100
mail_fsync = never
imap_hibernate_timeout = 0
service imap-login {{
  chroot =
  process_min_avail = 1
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service imap {{
  process_limit = 100
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={dir}/home/%u allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = /
{mailboxes}
}}
"""


def needs(*programs):
    for name in programs:
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed")


# ---- servers ----

class Server:
    """Where IMAP is: `host`, `port`, `tls_port`, `ca` (a PEM file), and accounts with `password`."""
    name = "?"
    host, password = "127.0.0.1", PASSWORD
    port = tls_port = 0
    ca = None

    def account(self):
        """A new account; its name."""
        raise NotImplementedError

    def deliver(self, user, message):
        """Mail arrives in INBOX, by another way than IMAP where there is one."""
        raise NotImplementedError

    def imap(self, user=None, **options):
        """A session of imaplib, logged in."""
        conn = imaplib.IMAP4(self.host, self.port, **options)
        if user:
            conn.login(user, self.password)
        return conn

    def raw(self, user=None, **options):
        conn = Wire(self.port, **options)
        if user:
            conn.ok(f"LOGIN {user} {self.password}")
        return conn


class Dovecot(Server):
    """Dovecot in the foreground, everything of it in a directory of its own, gone when it is stopped."""
    name = "dovecot"

    def __init__(self, directory=None, mail_format="sdbox", options=""):
        if not os.path.exists(DOVECOT):
            pytest.skip("Dovecot is not installed")
        self.dir = tempfile.mkdtemp(prefix="brant-dovecot-", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.count = 0
        authority = secure.Authority(os.path.join(self.dir, "authority"))
        self.ca = authority.certificate
        chain, key = authority.issue(["localhost", "127.0.0.1"])
        self.port, self.tls_port = self.free_pair()
        user, group = ("nobody", "nogroup") if os.geteuid() == 0 else self.me()
        boxes = "".join(f"  mailbox {box} {{\n    auto = create\n    special_use = \\{use}\n  }}\n" for box, use in SPECIAL.items())
        with open(os.path.join(self.dir, "dovecot.conf"), "w") as f:
            f.write(DOVECOT_CONF.format(dir=self.dir, user=user, group=group, chain=chain, key=key, imap=self.port,
                                        imaps=self.tls_port, password=self.password, format=mail_format,
                                        mailboxes=boxes) + options)
        for place in ("run", "state", "mail", "home"):
            os.mkdir(os.path.join(self.dir, place))
        if os.geteuid() == 0:
            for folder, _, names in os.walk(self.dir):
                for path in [folder] + [os.path.join(folder, n) for n in names]:
                    shutil.chown(path, user, group)
        drop = {"user": user, "group": group, "extra_groups": []} if os.geteuid() == 0 else {}
        self.process = subprocess.Popen([DOVECOT, "-F", "-c", os.path.join(self.dir, "dovecot.conf")], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", **drop)
        self.wait()

    @staticmethod
    def me():
        import grp
        import pwd
        return pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name

    @staticmethod
    def free_pair():
        for base in range(31100 + os.getpid() % 60 * 10, 32700, 3):
            if is_free(base) and is_free(base + 1):
                return base, base + 1
        raise RuntimeError("no free ports")

    def wait(self, seconds=20):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError("Dovecot ended: " + self.process.stderr.read().decode() + self.log())
            with contextlib.suppress(OSError, EOFError), Wire(self.port, timeout=2) as c:
                if c.greeting.startswith(b"* OK"):
                    return
            time.sleep(0.05)
        raise RuntimeError("Dovecot does not greet: " + self.log())

    def log(self):
        with contextlib.suppress(OSError), open(os.path.join(self.dir, "log")) as f:
            return "".join(f.readlines()[-40:])
        return ""

    def account(self):
        self.count += 1
        return f"t{self.count}@{DOMAIN}"

    def deliver(self, user, message):
        with self.raw(user) as c:
            c.append("INBOX", message)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Brant(Server):
    """`brant demo`, with a certificate for localhost of an authority of the test's own."""
    name = "brant"

    def __init__(self, directory):
        self.brantd = Brantd(os.path.join(directory, "demo")).start()
        self.port, self.tls_port = self.brantd.base + 143, self.brantd.base + 993
        authority = secure.Authority(os.path.join(directory, "authority"))
        self.ca = authority.certificate
        chain, key = authority.issue(["localhost", "mx.brant.test", "127.0.0.1"])
        secure.configure(self.brantd, {"tls.certificate": f"{chain} {key}", "auth.source_failures": "10000",
                                       "auth.account_failures": "1000", "auth.failure_delay": "20 ms"})

    def account(self):
        return self.brantd.account()

    def deliver(self, user, message):
        status, text = self.brantd.send(user, message if message.endswith(b"\r\n") else message + b"\r\n")
        assert status == 250, text

    def log(self):
        return self.brantd.log_tail()

    def stop(self):
        wrong = self.brantd.stop()
        assert not wrong, "\n".join(wrong) + "\n" + self.brantd.log_tail()


class Engine(Server):
    """The bare engine behind TCP, a store in memory for each connection: for trying what needs one connection."""
    name, password = "engine", PASSWORD

    def __init__(self):
        self.listener = socket.create_server((self.host, 0), backlog=1000)
        self.port, self.processes, self.ended = self.listener.getsockname()[1], [], False
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.ended:
            with contextlib.suppress(OSError):
                sock, _ = self.listener.accept()
                self.processes.append(subprocess.Popen([PROBE, str(sock.fileno())], pass_fds=[sock.fileno()]))
                sock.close()

    def account(self):
        return "alice@brant.test"

    def log(self):
        return ""

    def stop(self):
        self.ended = True
        self.listener.close()
        statuses = set()
        for p in self.processes:
            try:
                statuses.add(p.wait(5))
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        assert statuses <= {0}, "it died"


class Deaf:
    """Sessions of a server of its own that ask for much and never read: they are to be sent away when they have taken none of the
    output for two minutes. Begun early, so that a test at the end need not wait so long."""
    COUNT, SECONDS = 3, 120

    def __init__(self, directory):
        self.server = Brant(directory)
        self.user = self.server.account()
        with self.server.raw(self.user) as c:
            c.append("INBOX", b"Subject: much\r\n\r\n" + b"text\r\n" * 500000)
        self.sessions = []
        for _ in range(self.COUNT):
            c = self.server.raw(self.user)
            c.ok("SELECT INBOX")
            c.send(b"".join(b"r%d FETCH 1 BODY.PEEK[]\r\n" % n for n in range(100)))
            self.sessions.append(c)
        self.started = time.monotonic()

    def sent_away(self):
        """The lines of the log about their ends."""
        path = os.path.join(self.server.brantd.directory, "log")
        with open(path) as f:
            return [line for line in f if "event=imap-close" in line and "reason=timeout" in line]

    def stop(self):
        for c in self.sessions:
            c.close()
        self.server.stop()


def start(directory):
    """The server under test; a fixture's body."""
    which = os.environ.get("BRANT_IMAP_SERVER")
    server = Dovecot() if which == "dovecot" else Engine() if which == "engine" else Brant(str(directory))
    try:
        yield server
    finally:
        server.stop()


# ---- a client that sees every byte ----

class Refused(Exception):
    """The tagged response was not OK."""


class Ended(Exception):
    """The server ended the connection."""


class Wire:
    """One connection. `sock`: a socket that is connected already."""

    def __init__(self, port=None, sock=None, timeout=30, greet=True, tls=False):
        self.sock = sock or socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.sock.settimeout(timeout)
        if tls:
            self.secure()
        self.buffer, self.tags = bytearray(), 0
        self.greeting = self.response() if greet else None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    def close(self):
        self.sock.close()

    def secure(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.sock = context.wrap_socket(self.sock)

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError) as e:
            raise Ended from e

    def more(self):
        try:
            data = self.sock.recv(1 << 18)
        except (ConnectionResetError, ssl.SSLError) as e:
            raise Ended from e
        if not data:
            raise Ended
        self.buffer += data

    def response(self):
        """One response with its literals, without the last CRLF."""
        end = 0
        while True:
            at = self.buffer.find(b"\r\n", end)
            while at < 0:
                seen = max(end, len(self.buffer) - 1)
                self.more()
                at = self.buffer.find(b"\r\n", seen)
            m = re.search(rb"\{(\d+)\}$", self.buffer[max(end, at - 30):at])
            if not m:
                line = bytes(self.buffer[:at])
                del self.buffer[:at + 2]
                return line
            end = at + 2 + int(m.group(1))
            while len(self.buffer) < end:
                self.more()

    def rest(self):
        """Everything up to the end of the stream, which must come."""
        try:
            while True:
                self.more()
        except Ended:
            got = bytes(self.buffer)
            self.buffer.clear()
            return got

    def tag(self):
        self.tags += 1
        return b"w%d" % self.tags

    def until(self, tag):
        """The untagged responses before the tagged one, and that one's text."""
        untagged = []
        while True:
            line = self.response()
            if line.startswith(tag + b" "):
                return untagged, line[len(tag) + 1:]
            untagged.append(line)

    def run(self, command):
        tag = self.tag()
        self.send(tag + b" " + (command if isinstance(command, bytes) else command.encode()) + b"\r\n")
        return self.until(tag)

    def ok(self, command):
        untagged, tagged = self.run(command)
        if not tagged.startswith(b"OK"):
            raise Refused(f"{command}: {tagged}")
        return untagged

    def refused(self, command, word=None):
        """The text of a NO or BAD."""
        _, tagged = self.run(command)
        assert tagged.split(b" ")[0] in ([word] if word else [b"NO", b"BAD"]), f"{command}: {tagged}"
        return tagged

    def append(self, mailbox, message, flags="", date=""):
        tag = self.tag()
        more = "".join(f" {word}" for word in (f"({flags})" if flags else "", f'"{date}"' if date else "") if word)
        self.send(tag + f' APPEND "{mailbox}"{more} {{{len(message)}}}\r\n'.encode())
        line = self.response()
        while not line.startswith((b"+", tag)):
            line = self.response()
        if line.startswith(b"+"):
            self.send(message + b"\r\n")
            _, line = self.until(tag)
        if not line.startswith(b"OK"):
            raise Refused(f"APPEND {mailbox}: {line}")
        return line

    def capabilities(self):
        for line in self.ok("CAPABILITY"):
            if line.startswith(b"* CAPABILITY "):
                return set(line[13:].decode().split(" "))
        raise AssertionError("no capabilities")

    def count(self, mailbox):
        """How many messages there are."""
        m = re.search(rb"\(MESSAGES (\d+)\)", b" ".join(self.ok(f'STATUS "{mailbox}" (MESSAGES)')))
        return int(m.group(1))

    def bye(self):
        self.ok("LOGOUT")
        self.close()


# ---- the state of an account as a second client sees it ----

def quoted(name):
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def mailboxes(conn):
    """Names that can be selected, by imaplib."""
    status, lines = conn.list()
    assert status == "OK", lines
    found = []
    for line in lines:
        m = re.fullmatch(rb'\((.*?)\) "/" (?:"(.*)"|([^"]+))', line)
        assert m, line
        if b"\\Noselect" not in m.group(1) and b"\\NonExistent" not in m.group(1):
            found.append((m.group(2) or m.group(3)).decode())
    return sorted(found)


def contents(conn, mailbox, recent=False):
    """[(flags, message)] in the order of arrival, by imaplib."""
    status, answer = conn.select(quoted(mailbox), readonly=True)
    assert status == "OK", answer
    count = int(answer[0])
    found = []
    if count:
        status, lines = conn.fetch("1:*", "(FLAGS BODY.PEEK[])")
        assert status == "OK", lines
        for line in lines:
            if isinstance(line, tuple):
                found.append([line[0], line[1]])
            elif found:
                found[-1][0] += line  # what stands behind the literal
        assert len(found) == count, f"{mailbox}: {len(found)} of {count}"
    result = []
    for head, message in found:
        flags = imaplib.ParseFlags(head)
        result.append((sorted(f.decode() for f in flags if recent or f != b"\\Recent"), message))
    conn.unselect() if "UNSELECT" in conn.capabilities else None
    return result


def state(server, user):
    """{mailbox: [(flags, message)]} of what holds anything."""
    conn = server.imap(user)
    try:
        conn.capabilities = tuple(conn.capability()[1][0].decode().upper().split())
        found = {box: contents(conn, box) for box in mailboxes(conn)}
        return {box: messages for box, messages in found.items() if messages}
    finally:
        conn.logout()


class Elsewhere(threading.Thread):
    """Does something meanwhile; join() raises what went wrong in it."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.trouble = work, None
        self.start()

    def run(self):
        try:
            self.work()
        except BaseException as e:  # noqa: B902 it is raised where it is waited for
            self.trouble = e

    def join(self, timeout=120):
        super().join(timeout)
        assert not self.is_alive(), "it goes on and on"
        if self.trouble:
            raise self.trouble
