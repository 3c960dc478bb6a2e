"""The tests' own clients: SCRAM against the example of RFC 7677, channel bindings against OpenSSL's own program, AUTH
against a server that says what a script says."""
import base64
import hashlib
import re
import socket
import subprocess
import threading

import pytest

import secure
import wire


def example(user="user", nonce="rOprNGfwEbeRWgbNEkqO", **more):
    c = secure.Scram(user, "pencil", **more)
    c.bare = c.bare.replace(c.nonce.encode(), nonce.encode())
    c.nonce = nonce
    return c


def test_scram_example_of_rfc_7677():
    c = example()
    assert c.first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert c.final(b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096") == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    assert c.end(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") == b""


def test_scram_notices_a_server_without_the_verifier():
    c = example()
    c.final(b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
    with pytest.raises(AssertionError):
        c.end(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


def test_scram_flags_and_names():
    c = example("a=b,c", "n", flag="p=tls-exporter", data=b"\1\2")
    assert c.first() == b"p=tls-exporter,,n=a=3Db=2Cc,r=n"
    final = c.final(b"r=nx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
    assert final.startswith(b"c=" + base64.b64encode(b"p=tls-exporter,,\1\2") + b",r=nx,p=")


class OpenSsl:
    """`openssl s_server` for one handshake; it prints the keying material that it exports."""

    def __init__(self, certificate, *options):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.process = subprocess.Popen(
            ["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", certificate[0], "-key", certificate[1],
             "-naccept", "1", "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while b"ACCEPT" not in self.process.stdout.readline():
            assert self.process.poll() is None

    def keying_material(self):
        out, _ = self.process.communicate(timeout=20)
        return bytes.fromhex(re.search(rb"Keying material: ([0-9A-F]+)", out).group(1).decode())


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return secure.Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_channel_bindings(authority, kind, version):
    certificate = authority.issue(["mx.brant.test"], kind)
    server = OpenSsl(certificate)
    with wire.Connection(server.port) as c:
        c.sock = secure.TlsSocket(c.sock, version=version, name="mx.brant.test")
        assert c.sock.version == version
        exported = c.sock.binding("tls-exporter")
        end_point = c.sock.binding("tls-server-end-point")
        c.sock.close_notify()
    if version == "1.3":  # with 1.2 an empty context and none give different material, and nobody asks for it
        assert exported == server.keying_material()
    else:
        server.process.communicate(timeout=20)
    der = secure.openssl("x509", "-in", certificate[0], "-outform", "DER")
    assert end_point == hashlib.sha256(der).digest()
    assert end_point.hex() == secure.fingerprint(certificate[0])


def scripted(*script):
    """A server on a port that says a line and hears one, in turn; the port and the lines it heard."""
    listener, heard = socket.create_server(("127.0.0.1", 0)), []

    def serve():
        with listener, listener.accept()[0] as s, s.makefile("rwb") as f:
            s.settimeout(20)
            for line in script:
                f.write(line + b"\r\n")
                f.flush()
                heard.append(f.readline()[:-2])

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1], heard


def b64(text):
    return base64.b64encode(text)


def test_auth_of_smtp():
    port, heard = scripted(b"220 x", b"334 ", b"235 x", b"334 " + b64(b"Username:"), b"334 " + b64(b"Password:"), b"535 x",
                           b"235 x", b"334 ", b"501 x", b"221 x")
    with wire.Smtp(port) as s:
        assert secure.auth(s, "PLAIN", secure.plain("u", "p"), initial=False) == (True, "235 x")
        assert secure.auth(s, "LOGIN", b"u", lambda challenge: challenge.lower(), initial=False) == (False, "535 x")
        assert secure.auth(s, "EXTERNAL", b"")[0]
        assert secure.auth(s, "X") == (False, "501 x")
    assert heard[:9] == [b"AUTH PLAIN", b64(b"\0u\0p"), b"AUTH LOGIN", b64(b"u"), b64(b"password:"), b"AUTH EXTERNAL =",
                          b"AUTH X", b"*", b"QUIT"]


def test_auth_of_pop3():
    port, heard = scripted(b"+OK x", b"+ ", b"+OK x", b"+ " + b64(b"Username:"), b"-ERR x", b"+OK x")
    with wire.Pop3(port) as p:
        assert secure.auth(p, "PLAIN", secure.plain("u", "p"), initial=False) == (True, "+OK x")
        assert secure.auth(p, "LOGIN", b"u", initial=False) == (False, "-ERR x")
    assert heard[:5] == [b"AUTH PLAIN", b64(b"\0u\0p"), b"AUTH LOGIN", b64(b"u"), b"QUIT"]
