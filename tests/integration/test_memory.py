"""What an idle connection costs: the anonymous memory of the role, before and after two thousand of them."""
import socket
import ssl

from brantd import PASSWORD
from imap_clients import Wire

CONNECTIONS = 2000
PLAIN_BYTES_MAX = 8 * 1024
TLS_BYTES_MAX = 24 * 1024


def anonymous_bytes(pid):
    """User memory of a process that is its own: heap, stacks, copied pages."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f:
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no Anonymous in smaps_rollup")


def everything(brantd, name):
    return sum(anonymous_bytes(p.pid) for p in brantd.roles(name))


def measure(brantd, role, connect, limit):
    """Connects CONNECTIONS times and leaves them idle; the bytes of each."""
    warm = [connect() for _ in range(50)]  # what the first connections cost once and for all
    for c in warm:
        c.close()
    before = everything(brantd, role)
    kept = [connect() for _ in range(CONNECTIONS)]
    each = (everything(brantd, role) - before) / CONNECTIONS
    for c in kept:
        c.close()
    print(f"{role}: {each / 1024:.1f} KiB for each of {CONNECTIONS} idle connections")
    assert each <= limit, f"{each:.0f} bytes for each idle connection, at most {limit} were promised"


def greeted(port):
    s = socket.create_connection(("127.0.0.1", port), timeout=30)
    s.recv(512)
    return s


def encrypted(port, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    s = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=30))
    s.recv(512)
    return s


def test_idle_smtp_in_clear(own_brantd):
    measure(own_brantd, "brant-smtp", lambda: greeted(own_brantd.smtp_port), PLAIN_BYTES_MAX)


def test_idle_pop3_over_tls(own_brantd):
    measure(own_brantd, "brant-pop3", lambda: encrypted(own_brantd.base + 995, ssl.TLSVersion.TLSv1_3), TLS_BYTES_MAX)


def test_idle_pop3_over_tls_1_2(own_brantd):
    measure(own_brantd, "brant-pop3", lambda: encrypted(own_brantd.base + 995, ssl.TLSVersion.TLSv1_2), TLS_BYTES_MAX)


def test_idle_submission_over_tls(own_brantd):
    measure(own_brantd, "brant-smtp", lambda: encrypted(own_brantd.base + 465, ssl.TLSVersion.TLSv1_3), TLS_BYTES_MAX)


def test_imap_in_idle_over_tls(own_brantd):
    user = own_brantd.account()
    with Wire(own_brantd.base + 143) as c:
        c.ok(f"LOGIN {user} {PASSWORD}")
        message = b"Subject: x\r\n\r\nhello\r\n"
        for _ in range(10):
            c.ok(b"APPEND INBOX" + b"".join(b" {%d+}\r\n%s" % (len(message), message) for _ in range(100)))

    def idling():
        w = Wire(own_brantd.base + 993, tls=True)
        w.ok(f"LOGIN {user} {PASSWORD}")
        w.ok("SELECT INBOX")
        w.ok("FETCH 1:10 (FLAGS ENVELOPE BODY.PEEK[])")
        w.send(b"i IDLE\r\n")
        assert w.response().startswith(b"+")
        return w

    measure(own_brantd, "brant-imap", idling, TLS_BYTES_MAX)
