"""COMPRESS=DEFLATE (RFC 4978) on the running server, with Python's zlib at the other end."""
import imaplib
import os
import socket
import ssl
import time
import zlib

import pytest

from brantd import PASSWORD


class Compressed:
    """A session that compresses from COMPRESS on."""

    def __init__(self, brantd, account, tls=False):
        raw = socket.create_connection(("127.0.0.1", brantd.base + (993 if tls else 143)), timeout=20)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            raw = context.wrap_socket(raw)
        self.socket, self.text = raw, b""
        self.squeeze = self.inflate = None
        self.until(b"* OK")
        assert b"OK" in self.ask("l", f"LOGIN {account} {PASSWORD}")

    def send(self, data, flush=zlib.Z_SYNC_FLUSH):
        if self.squeeze:
            data = self.squeeze.compress(data) + self.squeeze.flush(flush)
        self.socket.sendall(data)

    def receive(self):
        data = self.socket.recv(65536)
        if data and self.inflate:
            data = self.inflate.decompress(data)
        return data

    def until(self, line):
        """All to the end of the next line that begins so."""
        at = 0
        while True:
            while (end := self.text.find(b"\n", at)) >= 0:
                found = self.text[at:end + 1].startswith(line)
                at = end + 1
                if found:
                    said, self.text = self.text[:at], self.text[at:]
                    return said
            data = self.receive()
            if not data:
                raise EOFError(self.text[-1000:])
            self.text += data

    def start(self):
        self.squeeze = zlib.compressobj(6, zlib.DEFLATED, -15)
        self.inflate = zlib.decompressobj(-15)

    def compress(self):
        assert b"OK" in self.ask("z", "COMPRESS DEFLATE")
        assert not self.text
        self.start()

    def ask(self, tag, command):
        self.send(f"{tag} {command}\r\n".encode())
        return self.until(f"{tag} ".encode())

    def rest(self):
        """All that still comes."""
        self.socket.settimeout(20)
        try:
            while data := self.receive():
                self.text += data
        except OSError:
            pass
        return self.text


def log_of(brantd):
    with open(os.path.join(brantd.directory, "log"), encoding="utf-8", errors="replace") as f:
        return f.read()


@pytest.mark.parametrize("tls", [False, True])
def test_a_session(brantd, tls):
    c = Compressed(brantd, brantd.account("squeezed-tls" if tls else "squeezed"), tls)
    assert b"COMPRESS=DEFLATE" in c.ask("a", "CAPABILITY")
    c.compress()
    assert b"COMPRESS=DEFLATE" not in c.ask("b", "CAPABILITY")
    assert b"b2 NO [COMPRESSIONACTIVE]" in c.ask("b2", "COMPRESS DEFLATE")
    noise = os.urandom(150000).hex().encode()
    body = b"\r\n".join(noise[i:i + 76] for i in range(0, len(noise), 76))
    message = b"Subject: much\r\n\r\n" + body + b"\r\n"
    c.send(b"d APPEND INBOX {%d+}\r\n" % len(message))
    for i in range(0, len(message), 7001):
        c.send(message[i:i + 7001], (zlib.Z_SYNC_FLUSH, zlib.Z_PARTIAL_FLUSH)[i % 2])
    c.send(b"\r\n")
    assert b"d OK" in c.until(b"d ")
    c.ask("e", "SELECT INBOX")
    said = c.ask("f", "FETCH 1 BODY.PEEK[]")
    assert message in said and b"f OK" in said
    assert b"g OK" in c.ask("g", "LOGOUT")
    assert not c.rest()


def test_what_stands_behind_the_command_is_compressed(brantd):
    account = brantd.account("eager")
    for cut in range(0, 45, 3):
        c = Compressed(brantd, account)
        squeeze = zlib.compressobj(6, zlib.DEFLATED, -15)
        data = b"z COMPRESS DEFLATE\r\n" + squeeze.compress(b"a NOOP\r\nb NOOP\r\n") + squeeze.flush(zlib.Z_SYNC_FLUSH)
        c.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        c.socket.sendall(data[:cut])
        c.socket.sendall(data[cut:])
        plain = b""
        while b"\r\n" not in plain:  # the response, byte for byte
            plain += c.socket.recv(1)
        assert plain.startswith(b"z OK")
        c.start()
        assert b"b OK" in c.until(b"b ")
        c.socket.close()


def test_idle(brantd):
    account = brantd.account("watching")
    c = Compressed(brantd, account)
    c.ask("s", "SELECT INBOX")
    c.compress()
    c.send(b"i IDLE\r\n")
    c.until(b"+ ")
    other = imaplib.IMAP4("127.0.0.1", brantd.base + 143)
    other.login(account, PASSWORD)
    other.append("INBOX", None, None, b"Subject: new\r\n\r\nnew\r\n")
    c.until(b"* 1 EXISTS")
    c.send(b"DONE\r\n")
    c.until(b"i OK")
    other.logout()


def test_not_before_login(brantd):
    with socket.create_connection(("127.0.0.1", brantd.base + 143), timeout=20) as s:
        s.recv(1000)
        s.sendall(b"a COMPRESS DEFLATE\r\n")
        assert s.recv(1000).startswith(b"a BAD")


@pytest.mark.parametrize("what", ["bomb", "noise"])
def test_hostile(brantd, what):
    c = Compressed(brantd, brantd.account(f"hostile-{what}"))
    c.compress()
    before = log_of(brantd).count("inflate-failed")
    c.send(b"a NOOP\r\n" + b"b APPEND INBOX {9000000+}\r\n")
    if what == "bomb":
        c.send(bytes(9000000))
    else:
        c.socket.sendall(b"\xff" * 1000)
    said = c.rest()
    assert b"a OK" in said
    c.socket.close()
    deadline = time.monotonic() + 10
    while log_of(brantd).count("inflate-failed") == before and time.monotonic() < deadline:
        time.sleep(0.05)
    log = log_of(brantd)
    assert log.count("inflate-failed") == before + 1
    assert ("expands too much" if what == "bomb" else "damaged") in log
    # Nobody else notices.
    other = Compressed(brantd, brantd.account(f"beside-{what}"))
    other.compress()
    assert b"n OK" in other.ask("n", "NOOP")
