"""ENVELOPE and BODYSTRUCTURE of every message of the public suites equal Dovecot's, started in the same test, or the
difference is in the list below with the reason. Compared without regard to case where case means nothing."""
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest

import imap_clients
from brantd import ROOT

sys.path.insert(0, os.path.join(ROOT, "tests", "imap"))

from imaptest import NIL, parse_args  # noqa: E402

VECTORS = pathlib.Path(os.environ.get("BRANT_VECTORS") or os.path.join(ROOT, "..", "shared", "vectors")) / "mime"
PATTERNS = ("cpython/msg_*.txt", "jsmime/*", "mime4j/**/*.msg", "mime4j/more/mbox/**/*")


# ---- reasons: whether a difference (theirs, ours) at a place is of that kind ----

def no_placeholder(where, theirs, ours):
    """RFC 3501 7.4.2: a NIL host is group syntax, so what is missing is empty. Dovecot writes a word of its own there."""
    return where == "address" and theirs in ("MISSING_DOMAIN", "MISSING_MAILBOX", "SYNTAX_ERROR") and ours == ""


def whole_phrase(where, theirs, ours):
    """What stands in angle brackets and is no addr-spec (RFC 5322 3.4.1): Dovecot shows its first word, we all."""
    return where == "address" and ours.startswith(theirs)


def unfolding(where, theirs, ours):
    """RFC 5322 2.2.3: unfolding takes CRLF away and nothing else. Dovecot makes one space of any white space."""
    return where == "envelope" and theirs != ours and re.sub(r"\s+", " ", ours) == theirs


def space_at_the_end(where, theirs, ours):
    """RFC 5322 3.3, 3.6.4: white space behind a date or a message identifier is CFWS, no part of it."""
    return where == "envelope" and theirs.rstrip(" ") == ours


def default_type(where, theirs, ours):
    """RFC 2045 5.2: a Content-Type that is not valid is read as text/plain; charset=us-ascii. Dovecot's type is empty, which
    the grammar of neither RFC has."""
    return theirs[:2] == ["", ""] and ours[:3] == ["text", "plain", ["charset", "us-ascii"]]


def no_boundary(where, theirs, ours):
    """RFC 2046 5.1.1: a multipart must have a boundary. Dovecot shows one with an empty part, and the text cannot be fetched; we
    show bytes of no known type."""
    return isinstance(theirs[0], list) and theirs[0][6:8] == ["0", "0"] and ours[:2] == ["application", "octet-stream"]


def encoded_message(where, theirs, ours):
    """RFC 2046 5.2.1: message/rfc822 has no transfer encoding but 7bit, 8bit and binary; RFC 2045 6.4: what cannot be
    decoded is application/octet-stream. Dovecot parses the encoded bytes: a message that is empty. message/global may be encoded
    (RFC 6532 3.5), but then has no structure (RFC 9051 9: media-message)."""
    return theirs[0] == "message" and theirs[5].lower() in ("base64", "quoted-printable") and \
        ours[:2] == ["application", "octet-stream"] and ours[6] == theirs[6]


def percent(where, theirs, ours):
    """RFC 2231 4.1: one extended value is made of the segments; attribute-char has neither space nor apostrophe."""
    head, _, tail = ours.rpartition("'")
    return theirs.startswith(head) and ours.replace("%27", "'").replace("%20", " ") == theirs.replace("%20", " ")


def one_charset(where, theirs, ours):
    """RFC 2231 4: "charset*" is the charset. Dovecot adds a second one."""
    return [a for a in theirs if a not in ("charset", "us-ascii")] == ours and "charset*" in ours


def extended_boundary(where, theirs, ours):
    """RFC 2231 4: any parameter can be written so, the boundary too. Dovecot sees none, and an empty part."""
    return len(theirs) == 6 and theirs[0][6:8] == ["0", "0"] and theirs[1:] == ours[-5:] and len(ours) > 6


def long_boundary(where, theirs, ours):
    """RFC 2046 5.1.1: a boundary has 70 characters and does not end in a space. This one has hundreds and does: the message
    says itself where it is cut in two. Dovecot cuts at the line that lacks the space."""
    return ours[-4][0] == "boundary" and len(ours[-4][1]) > 70 and len(ours) < len(theirs)


def last_line_end(where, theirs, ours):
    """RFC 2046 5.1.1: the CRLF before a delimiter belongs to the delimiter, also when the line before it ends an inner
    multipart. Dovecot counts it to the body."""
    return where in ("octets", "lines") and int(theirs) - int(ours) == (2 if where == "octets" else 1)


EXPLAINED = {
    "cpython/msg_05.txt": [no_placeholder],
    "cpython/msg_14.txt": [default_type],
    "cpython/msg_15.txt": [no_placeholder],
    "cpython/msg_25.txt": [no_boundary],
    "cpython/msg_27.txt": [unfolding],
    "cpython/msg_29.txt": [percent],
    "cpython/msg_32.txt": [one_charset],
    "cpython/msg_33.txt": [extended_boundary],
    "cpython/msg_41.txt": [no_boundary],
    "cpython/msg_43.txt": [no_placeholder],
    "jsmime/bug505221": [no_placeholder, whole_phrase],
    "jsmime/message-encoded": [encoded_message],
    "jsmime/mime-torture": [default_type, last_line_end, space_at_the_end],
    "mime4j/testmsgs/bad-newlines-multiple-parts-base64.msg": [encoded_message],
    "mime4j/testmsgs/base64encoded-rfc822message-nested.msg": [encoded_message],
    "mime4j/testmsgs/base64encoded-rfc822message.msg": [encoded_message],
    "mime4j/testmsgs/basic-plain-very-long-lines.msg": [no_placeholder],
    "mime4j/testmsgs/basic-plain-with-bad-header-separator.msg": [no_placeholder, space_at_the_end],
    "mime4j/testmsgs/basic-plain.msg": [no_placeholder],
    "mime4j/testmsgs/obsolete.msg": [unfolding],
    "mime4j/testmsgs/very-long-boundary.msg": [long_boundary],
    "mime4j/testmsgs/very-very-long-boundary.msg": [long_boundary],
}


# ---- comparing ----

def same(theirs, ours):
    if isinstance(theirs, list) and isinstance(ours, list):
        return len(theirs) == len(ours) and all(map(same, theirs, ours))
    if theirs is NIL or ours is NIL:
        return theirs is ours
    return isinstance(theirs, str) and isinstance(ours, str) and theirs.lower() == ours.lower()


def plain(value):
    """For the reasons above: lists, str and None."""
    return [plain(v) for v in value] if isinstance(value, list) else None if value is NIL else str(value)


def address_differences(theirs, ours):
    for a, b in zip(theirs, ours):
        for one, other in zip(a, b):
            if not same(one, other):
                yield "address", one, other


def envelope_differences(theirs, ours):
    for n, (a, b) in enumerate(zip(theirs, ours)):
        if same(a, b):
            continue
        if 2 <= n <= 7 and isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            yield from address_differences(a, b)
        else:
            yield "envelope", a, b


def structure_differences(theirs, ours):
    """Differences as deep as the two have the same form."""
    if same(theirs, ours):
        return
    multipart = isinstance(theirs[0], list)
    if len(theirs) != len(ours) or multipart != isinstance(ours[0], list):
        yield "structure", theirs, ours
        return
    parts = next(n for n, x in enumerate(theirs) if isinstance(x, str)) if multipart else 0
    message = not multipart and str(theirs[0]).lower() == "message" and isinstance(theirs[7], list)
    for n, (a, b) in enumerate(zip(theirs, ours)):
        if same(a, b):
            continue
        if n < parts and isinstance(b, list):
            yield from structure_differences(a, b)
        elif message and n == 7:
            yield from envelope_differences(a, b)
        elif message and n == 8:
            yield from structure_differences(a, b)
        elif n == 2 and isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            yield from (("parameter", x, y) for x, y in zip(a, b) if not same(x, y))
        elif n == 0 or (n == 1 and not multipart):
            yield "structure", theirs, ours  # the type: all of it is different
            return
        else:
            yield {6: "octets", 7: "lines", 9: "lines"}.get(n, "field"), a, b


def differences(theirs, ours):
    yield from envelope_differences(theirs[0], ours[0])
    yield from structure_differences(theirs[1], ours[1])


def explained_by(reasons, difference):
    where, theirs, ours = difference[0], plain(difference[1]), plain(difference[2])
    for reason in reasons:
        try:
            if reason(where, theirs, ours):
                return reason
        except (TypeError, AttributeError, IndexError, ValueError):
            pass  # not of the form that the reason is about
    return None


# ---- the two ----

def messages():
    if not VECTORS.is_dir():
        pytest.skip(f"no vectors in {VECTORS}")
    found = {}
    for pattern in PATTERNS:
        for path in sorted(VECTORS.glob(pattern)):
            if path.is_file() and path.name not in ("SOURCE.txt", "LICENSE"):
                text = path.read_bytes().replace(b"\0", b"")  # what APPEND cannot carry
                found[str(path.relative_to(VECTORS))] = re.sub(rb"\r?\n", b"\r\n", text)
    return found


class Told:
    """One mailbox by IMAP: what the server says of a message that is put into it."""

    def __init__(self, wire):
        self.wire, self.count = wire, 0
        wire.ok("SELECT INBOX")

    def __call__(self, message):
        self.wire.append("INBOX", message)
        self.count += 1
        self.wire.ok("NOOP")
        lines = [line for line in self.wire.ok(f"FETCH {self.count} (ENVELOPE BODYSTRUCTURE BODY RFC822.SIZE)")
                 if line.startswith(b"* %d FETCH" % self.count) and b"BODYSTRUCTURE" in line]
        items = parse_args(lines[0][2:])[2]
        given = dict(zip(items[::2], items[1::2]))
        assert int(given["RFC822.SIZE"]) == len(message)
        assert same(given["BODY"], self.basic(given["BODYSTRUCTURE"])), "BODY is BODYSTRUCTURE without its extension data"
        return given["ENVELOPE"], given["BODYSTRUCTURE"]

    @classmethod
    def basic(cls, part):
        if isinstance(part[0], list):
            kinds = [n for n, x in enumerate(part) if isinstance(x, str)]
            return [cls.basic(p) for p in part[:kinds[0]]] + [part[kinds[0]]]
        kind = str(part[0]).lower()
        if kind == "message" and isinstance(part[7], list):
            return part[:8] + [cls.basic(part[8]), part[9]]
        return part[:8] if kind == "text" else part[:7]


@pytest.fixture(scope="module")
def dovecot():
    server = imap_clients.Dovecot()
    yield server
    server.stop()


@pytest.fixture(params=["engine", "server"])
def ours(request, tmp_path):
    """The engine alone with a store in memory, and the server."""
    if request.param == "server":
        server = imap_clients.Brant(str(tmp_path))
        with server.raw(server.account()) as wire:
            yield Told(wire)
        server.stop()
        return
    if not os.path.exists(imap_clients.PROBE):
        pytest.skip(f"{imap_clients.PROBE} is not built")
    mine, its = socket.socketpair()
    process = subprocess.Popen([imap_clients.PROBE, str(its.fileno())], pass_fds=[its.fileno()])
    its.close()
    with imap_clients.Wire(sock=mine) as wire:
        wire.ok("LOGIN alice@brant.test brant-demo")
        yield Told(wire)
    assert process.wait(20) == 0


def compare(dovecot, ours, cases, explained):
    theirs = Told(dovecot.raw(dovecot.account()))
    wrong = []
    for name, message in cases.items():
        reasons, used = explained.get(name, []), set()
        for difference in differences(theirs(message), ours(message)):
            reason = explained_by(reasons, difference)
            used.add(reason)
            if not reason:
                wrong.append(f"{name}: {difference[0]}: Dovecot {difference[1]!r:.300}, ours {difference[2]!r:.300}")
        wrong += [f"{name}: {r.__name__} explains nothing" for r in reasons if r not in used]
    theirs.wire.close()
    assert not wrong, "\n".join(wrong)


def test_as_dovecot(dovecot, ours):
    cases = messages()
    assert len(cases) > 60
    compare(dovecot, ours, cases, {name: reasons for name, reasons in EXPLAINED.items() if name in cases})


HEADERS = {  # both must say the same of these
    "groups": "From: A Group:Ed Jones <joe@where.test>,joe@where2.test,John <jdoe@one.test>;\nTo: undisclosed-recipients:;\n"
              "Cc: a:b@c;, d@e, f:;\nSender: \nReply-To:\n",
    "rfc 5322 A.5": "From: Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>\nTo:A Group(Some people)\n     :Chris Jones "
                    "<c@(Chris's host.)public.example>,\n         joe@example.org,\n  John <jdoe@one.test> (my dear friend); (the "
                    "end of the group)\nCc:(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;\n",
    "source routes": "From: a@b\nCc: <@a,@b:c@d>\nTo: Mary <@node.test:mary@example.net>\n",
    "quoted": 'From: "Joe \\"Q\\" Public" <"john q"@example.com>\nTo: "a@b" <c@d>, "x y"@z\n',
    "literals": "From: a@[127.0.0.1]\nTo: a@[IPv6:::1]\nCc: a.b.c@d\n",
    "encoded words": "From: =?utf-8?q?J=C3=B6rg?= <j@x>\nSubject: =?utf-8?b?w7Y=?=\n =?utf-8?q?x?=\nTo: =?utf-8?q?a=2C_b?= "
                     "=?utf-8?q?c?= <b@c>\n",
    "eight bits": "From: J\u00f6rg <j@x>\nSubject: \u00f6\u00e4\nTo: j\u00f6@x\u00e4.de\n",
    "sender is from": "From: a@b, c@d\nFrom: e@f\nSubject:\nDate:\nIn-Reply-To: <3@x> <4@x>\nMessage-ID: <1@x>\n",
    "reply-to": "From: a@b\nSender: s@b\nReply-To: r@b, t@b\n",
    "colon": "Subject : x\nFROM: a@b\n",
    "transfer encoding": "Content-Type: image/png\nContent-Transfer-Encoding: (c) BASE64 (c)\n",
    "comments": 'Content-Type: text/html (comment); (c) charset (c) = (c) "utf-8" (c)\n',
    "parameters": 'Content-Type: application/x; a="q\\"x"; B=c; format=flowed\n',
    "segments": "Content-Type: text/plain; name*0=abc; name*1=def\n",
    "extended": "Content-Type: text/plain; name*=utf-8''%c3%b6\n",
    "gap": "Content-Type: text/plain; name*1=def; name*0=abc; name*3=x\n",
    "external": "Content-Type: message/external-body; access-type=x\n",
    "report": "Content-Type: message/delivery-status\n",
    "disposition": 'Content-Disposition: attachment; filename="a b.txt"; size=100\n',
    "disposition extended": "Content-Disposition: attachment; filename*0*=utf-8''a; filename*1=b\n",
    "languages": "Content-Language: (c) en, de-DE (d)\n",
    "the rest": "Content-ID: <a@b>\nContent-Description: foo \"bar\" \\ baz\nContent-Location: http://x/y\nContent-MD5: "
                "Q2hlY2sgSW50ZWdyaXR5IQ==\n",
}
B = "Content-Type: multipart/mixed; boundary=b; x=y\nContent-Language: a,b\nContent-Location: z\n\n"
MULTIPARTS = {
    "no delimiter": B + "text\n",
    "one": B + "pre\n--b\n\nhi\n--b--\nepi\n--b\n\nno\n",
    "not closed": B + "--b\n\nhi",
    "only opened": B + "--b\n",
    "only closed": B + "--b--\n",
    "empty parts": B + "--b\n--b\n\n--b\n\n\n--b--\n",
    "header alone": B + "--b\nContent-Type: text/html\n--b--\n",
    "white space": B + "--b  \n\nhi\n--b \t\nX: y\n\nz\n--b--  \n",
    "digest": "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\nhi\n--b\nContent-Type: text/plain\n\ny\n--b--\n",
    "messages": B + "--b\nContent-Type: message/rfc822\n\nSubject: x\nFrom: a@b\n\nhi\n--b\nContent-Type: message/rfc822\n\n--b\n"
                    "Content-Type: message/rfc822\n\nSubject: only\n--b--\n",
    "message": 'Content-Type: message/rfc822\n\nSubject: x\nContent-Type: multipart/alternative; boundary="c c"\n\n--c c\n\na\n'
               "--c c\nContent-Type: text/html\n\nb\n--c c--\n",
    "left open inside": B + "--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\na\n--c\n\nb\n--b\n\nz\n--b--\n",
    "prefix": B + "--b\nContent-Type: multipart/alternative; boundary=bb\n\n--bb\n\na\n--bb--\n--b\n\nz\n--b--\n",
    "the same again": B + "--b\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\na\n--b--\n--b\n\nz\n--b--\n",
    "extension data": B + "--b\nContent-Type: text/plain\nContent-ID: <a>\nContent-Language: en\nContent-Disposition: inline; "
                          "filename=x\nContent-Location: y\nContent-MD5: z\n\nhi\n--b--\n",
    "quoted boundary": 'Content-Type: multipart/mixed; boundary="a\\"b"\n\n--a"b\n\nhi\n--a"b--\n',
    "nothing": "\n",
    "no header": "body without header\nmore\n",
    "no body": "Subject: x",
}


def test_forms_as_dovecot(dovecot, ours):
    """Fields and frames that the suites do not have."""
    cases = {name: f"MIME-Version: 1.0\n{text}\nbody\nlast" for name, text in HEADERS.items()}
    cases.update({name: "MIME-Version: 1.0\n" + text for name, text in MULTIPARTS.items()})
    compare(dovecot, ours, {name: text.replace("\n", "\r\n").encode() for name, text in cases.items()}, {})
