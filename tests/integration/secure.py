"""TLS from the client's side as the tests need it: every byte of it under control, certificates of an authority of
one's own, and the client's side of SASL.

pyOpenSSL, because Python's own ssl gives no keying material (tls-exporter), no renegotiation, and hides the socket."""
import base64
import ctypes
import hashlib
import hmac
import os
import random
import signal
import socket
import subprocess
import time

from OpenSSL import SSL

import wire
from brantd import PASSWORD

SERVICES = {"smtp": 25, "submission": 587, "submissions": 465, "pop3": 110, "pop3s": 995, "imap": 143, "imaps": 993}
VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
STARTTLS = {"smtp": "STARTTLS", "submission": "STARTTLS", "pop3": "STLS"}


def port(brantd, service):
    return brantd.base + SERVICES[service]


# ---- certificates ----

def openssl(*args, stdin=None):
    done = subprocess.run(["openssl", *args], input=stdin, capture_output=True, timeout=60)
    assert done.returncode == 0, f"openssl {' '.join(args)}: {done.stderr.decode()}"
    return done.stdout


class Authority:
    """A certificate authority in a directory; its certificates are good for a day."""

    def __init__(self, directory):
        self.directory = str(directory)
        os.makedirs(self.directory, exist_ok=True)
        self.count = 0
        self.certificate, self.key = self.path("authority.crt"), self.path("authority.key")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                "-subj", "/CN=Test authority", "-keyout", self.key, "-out", self.certificate,
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def path(self, name):
        return os.path.join(self.directory, name)

    def issue(self, names, kind="ec", use="serverAuth", days="1"):
        """(chain file, key file) of a certificate for these names: DNS names, or IP addresses of digits and dots."""
        self.count += 1
        stem = self.path(f"leaf-{self.count}")
        key = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["rsa:2048"]
        openssl("req", "-newkey", *key, "-nodes", "-subj", f"/CN={names[0]}", "-keyout", stem + ".key", "-out", stem + ".csr")
        alternatives = ",".join(("IP:" if n.replace(".", "").isdigit() else "DNS:") + n for n in names)
        with open(stem + ".ext", "w") as f:
            f.write(f"subjectAltName={alternatives}\nextendedKeyUsage={use}\nbasicConstraints=CA:FALSE\n"
                    "keyUsage=digitalSignature\n")
        openssl("x509", "-req", "-in", stem + ".csr", "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                "-days", days, "-extfile", stem + ".ext", "-out", stem + ".crt")
        return stem + ".crt", stem + ".key"


def crypt_hash(password, setting):
    """crypt(3) of this machine: the hash, or None when it does not know the setting."""
    lib = ctypes.CDLL("libcrypt.so.1")
    lib.crypt.restype = ctypes.c_char_p
    made = lib.crypt(password.encode(), setting.encode())
    return made.decode() if made and not made.startswith(b"*") else None


def fingerprint(path):
    """SHA-256 of the first certificate of a PEM file, in lower case."""
    text = openssl("x509", "-in", path, "-noout", "-fingerprint", "-sha256").decode()
    return text.split("=")[1].strip().replace(":", "").lower()


# ---- the configuration of a running server ----

def configure(brantd, changes, reload=True):
    """Sets keys of brant.conf: a value, a list of values for a key that repeats, None to take it out. Waits until
    they are in force; returns what the file was before, for restore()."""
    path = os.path.join(brantd.directory, "brant.conf")
    with open(path) as f:
        before = f.read()
    lines = [line for line in before.splitlines() if line.split("=")[0].strip() not in changes]
    for key, values in changes.items():
        for value in values if isinstance(values, list) else [] if values is None else [values]:
            lines.append(f"{key} = {value}")
    with open(path, "w") as f:
        f.write("\n".join(lines) + "\n")
    if reload:
        reread(brantd)
    return before


def restore(brantd, before):
    with open(os.path.join(brantd.directory, "brant.conf"), "w") as f:
        f.write(before)
    reread(brantd)


def reread(brantd, event="reloaded"):
    """SIGHUP, and waits for the event that answers it."""
    log = Log(brantd)
    brantd.process.send_signal(signal.SIGHUP)
    log.wait(f"event={event}")
    time.sleep(0.3)  # the roles take it up


class Log:
    """What the server's log says from now on. The lines of what ended just now may be under way: they are let in first,
    until nothing has come for a moment."""

    def __init__(self, brantd):
        self.path = os.path.join(brantd.directory, "log")
        self.start = os.path.getsize(self.path)
        for _ in range(20):
            time.sleep(0.05)
            size = os.path.getsize(self.path)
            if size == self.start:
                break
            self.start = size

    def lines(self, *words):
        """Lines that have all the words."""
        with open(self.path, "rb") as f:
            f.seek(self.start)
            text = f.read().decode("utf-8", "replace")
        return [line for line in text.splitlines() if all(w in line for w in words)]

    def wait(self, *words, count=1, timeout=10):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found = self.lines(*words)
            if len(found) >= count:
                return found
            time.sleep(0.02)
        raise AssertionError(f"the log does not have {count} of {words}:\n" + "\n".join(self.lines()[-40:]))


# ---- TLS ----

class Failed(Exception):
    """The handshake, or the TLS stream, failed; the text is OpenSSL's reason."""


def context(version=None, alpn=None, certificate=None, ciphers=None):
    c = SSL.Context(SSL.TLS_METHOD)
    if version:
        c.set_min_proto_version(VERSIONS[version])
        c.set_max_proto_version(VERSIONS[version])
    if alpn:
        c.set_alpn_protos(alpn)
    if certificate:
        c.use_certificate_chain_file(certificate[0])
        c.use_privatekey_file(certificate[1])
    if ciphers:
        c.set_cipher_list(ciphers.encode())
    return c


class TlsSocket:
    """Takes the place of a socket: TLS as a client over memory, so that what travels can be delayed, cut, added to."""

    def __init__(self, sock, version=None, alpn=None, certificate=None, ciphers=None, name="localhost", session=None,
                 handshake=True):
        self.sock = sock
        self.tls = SSL.Connection(context(version, alpn, certificate, ciphers), None)
        if name:
            self.tls.set_tlsext_host_name(name.encode())
        if session:
            self.tls.set_session(session)
        self.tls.set_connect_state()
        self.ended = False
        if handshake:
            self.handshake()

    def pending(self):
        """What TLS wants to have sent."""
        out = b""
        while True:
            try:
                out += self.tls.bio_read(65536)
            except SSL.WantReadError:
                return out

    def flush(self):
        out = self.pending()
        if out:
            self.sock.sendall(out)

    def fill(self):
        """Reads some of what the server sent. False: the TCP stream has ended."""
        data = self.sock.recv(65536)
        if data:
            self.tls.bio_write(data)
        return bool(data)

    def step(self, operation):
        while True:
            try:
                result = operation()
                self.flush()
                return result
            except SSL.WantReadError:
                self.flush()
                if not self.fill():
                    raise Failed("the connection ended") from None
            except SSL.ZeroReturnError:
                raise
            except SSL.Error as e:
                try:
                    self.flush()  # our alert
                except OSError:
                    pass
                raise Failed(str(e)) from e

    def handshake(self):
        try:
            self.step(self.tls.do_handshake)
        except ConnectionResetError as e:
            raise Failed("the connection was reset") from e

    def sendall(self, data):
        for at in range(0, len(data), 16384):
            self.step(lambda: self.tls.send(data[at:at + 16384]))

    def recv(self, size):
        """As of a socket; b"" after close_notify, and after the end of TCP without one (`ended` is then False)."""
        try:
            return self.step(lambda: self.tls.recv(size))
        except SSL.ZeroReturnError:
            self.ended = True
            return b""
        except Failed as e:
            if "the connection ended" in str(e):
                return b""
            raise

    def settimeout(self, seconds):
        self.sock.settimeout(seconds)

    def shutdown(self, how):
        self.sock.shutdown(how)

    def close_notify(self):
        self.tls.shutdown()
        self.flush()

    def close(self):
        self.sock.close()

    # what a handshake found

    version = property(lambda self: {"TLSv1.2": "1.2", "TLSv1.3": "1.3"}[self.tls.get_protocol_version_name()])

    def peer(self):
        """The server's certificate, DER."""
        from cryptography.hazmat.primitives.serialization import Encoding
        return self.tls.get_peer_certificate().to_cryptography().public_bytes(Encoding.DER)

    def names(self):
        certificate = self.tls.get_peer_certificate().to_cryptography()
        from cryptography import x509
        value = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return value.get_values_for_type(x509.DNSName)

    def binding(self, kind):
        if kind == "tls-exporter":  # RFC 9266
            return self.tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
        return hashlib.sha256(self.peer()).digest()  # RFC 5929 4.1, for a certificate signed with SHA-256


def greeted(brantd, service, **kwargs):
    """A session in clear that was greeted: wire.Smtp or wire.Pop3."""
    kind = wire.Pop3 if service.startswith("pop3") else wire.Smtp
    return kind(port(brantd, service), **kwargs)


def session(brantd, service, source=None, timeout=30, proxy=None, **tls):
    """A session under TLS, greeted and, where the protocol says so, having said EHLO: wire.Smtp or wire.Pop3, whose
    `sock` is a TlsSocket. `proxy`: bytes sent first."""
    kind = wire.Pop3 if service.startswith("pop3") else wire.Smtp
    c = kind.__new__(kind)
    wire.Connection.__init__(c, port(brantd, service), timeout=timeout, source=source)
    try:
        if proxy:
            c.send(proxy)
        if service in STARTTLS:
            greet(c)
            if kind is wire.Smtp:
                c.ehlo()
                c.expect(220, "STARTTLS")
            else:
                c.ok("STLS")
            c.sock = TlsSocket(c.sock, **tls)
        else:
            c.sock = TlsSocket(c.sock, **tls)
            greet(c)
        if kind is wire.Smtp:
            c.ehlo()
    except BaseException:
        c.close()
        raise
    return c


def greet(c):
    if isinstance(c, wire.Smtp):
        c.greeting = c.reply()
        assert c.greeting[0] == 220, c.greeting
    else:
        c.greeting = c.line()
        assert c.greeting.startswith(b"+OK"), c.greeting


# ---- SASL ----

def b64(data):
    return base64.b64encode(data).decode()


def plain(user, password, authzid=""):
    return f"{authzid}\0{user}\0{password}".encode()


def auth(c, mechanism, *responses, initial=True):
    """Plays an exchange; the last reply as (good, text). `responses`: bytes, or functions from the server's challenge
    to bytes; when they run out and the server still asks, the exchange is cancelled."""
    left = list(responses)
    line = f"AUTH {mechanism}"
    if initial and left:
        first = left.pop(0)
        line += " " + (b64(first) or "=")
    reply = auth_line(c, line)
    while reply[0] is None:
        if not left:
            return auth_line(c, "*")
        answer = left.pop(0)
        if callable(answer):
            answer = answer(base64.b64decode(reply[1]))
        reply = auth_line(c, b64(answer) if isinstance(answer, bytes) else answer)
    return reply


def auth_line(c, line):
    """Sends a line of an exchange: (None, challenge), (True, text) or (False, text)."""
    if isinstance(c, wire.Pop3):
        got = c.command(line).decode("utf-8")
        if got.startswith("+ ") or got == "+":
            return None, got[2:]
        return got.startswith("+OK"), got
    code, text = c.command(line)
    return (None, text) if code == 334 else (code == 235, f"{code} {text}")


def login(c, user, password=PASSWORD):
    good, text = auth(c, "PLAIN", plain(user, password))
    assert good, text
    return c


class Scram:
    """The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), with everything in it to be set wrong.

    flag: "n", "y" or "p=NAME"; data: what it is bound to; header: the gs2-header in client-final, where not the same."""

    def __init__(self, user, password, flag="n", data=b"", header=None, authzid=""):
        self.password = password
        self.gs2 = f"{flag},{'a=' + authzid if authzid else ''},".encode()
        self.sent_gs2 = self.gs2 if header is None else header
        self.data = data
        self.nonce = "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=24))
        name = user.replace("=", "=3D").replace(",", "=2C")
        self.bare = f"n={name},r={self.nonce}".encode()
        self.salt, self.iterations, self.signature, self.error = None, None, None, None

    def first(self):
        return self.gs2 + self.bare

    def final(self, challenge):
        fields = dict(f.split("=", 1) for f in challenge.decode().split(","))
        assert fields["r"].startswith(self.nonce) and len(fields["r"]) > len(self.nonce)
        self.salt, self.iterations = base64.b64decode(fields["s"]), int(fields["i"])
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), self.salt, self.iterations)
        client = hmac.digest(salted, b"Client Key", "sha256")
        without = f"c={b64(self.sent_gs2 + self.data)},r={fields['r']}".encode()
        message = self.bare + b"," + challenge + b"," + without
        self.signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        proof = bytes(a ^ b for a, b in zip(client, hmac.digest(hashlib.sha256(client).digest(), message, "sha256")))
        return without + b",p=" + b64(proof).encode()

    def end(self, challenge):
        """The server's last word: its signature is checked, an error is kept."""
        if challenge.startswith(b"e="):
            self.error = challenge[2:].decode()
        else:
            assert challenge == b"v=" + b64(self.signature).encode(), "the server does not know the password"
        return b""

    def login(self, c, mechanism="SCRAM-SHA-256"):
        return auth(c, mechanism, self.first(), self.final, self.end)


def scram_plus(c, user, password=PASSWORD, kind="tls-exporter"):
    return Scram(user, password, f"p={kind}", c.sock.binding(kind)).login(c, "SCRAM-SHA-256-PLUS")


# ---- messages ----

def message(sender, to, subject, body=b"text\r\n", extra=""):
    return (f"From: <{sender}>\r\nTo: <{to}>\r\nSubject: {subject}\r\n{extra}"
            f"Date: Mon, 23 Nov 2026 09:00:00 +0000\r\nMessage-ID: <{subject}@brant.test>\r\n\r\n").encode() + body


def submit(c, sender, recipients, data):
    """One message in a session that is logged in; the last reply."""
    for line in [f"MAIL FROM:<{sender}>"] + [f"RCPT TO:<{r}>" for r in ([recipients] if isinstance(recipients, str)
                                                                          else recipients)]:
        reply = c.command(line)
        if reply[0] != 250:
            return reply
    return c.data(data)


def headers(stored):
    """[(name in lower case, value)] of a stored message."""
    import email
    import email.policy
    parsed = email.message_from_bytes(stored, policy=email.policy.compat32)
    return [(name.lower(), value) for name, value in parsed.items()]


def unix_smtp(path, lmtp=False, timeout=30):
    """wire.Smtp over a Unix socket."""
    c = wire.Smtp.__new__(wire.Smtp)
    c.sock = socket.socket(socket.AF_UNIX)
    c.sock.settimeout(timeout)
    c.sock.connect(path)
    c.buffer = b""
    greet(c)
    return c
