"""Nothing is relayed: every known way to write a foreign recipient is refused at RCPT, from every sender."""
import pytest

from brantd import DOMAIN

OURS = DOMAIN
MESSAGE = b"Subject: relay\r\n\r\nrelay\r\n"

# Recipients that must not be accepted. Where the last domain is ours, nobody there has such a name.
RECIPIENTS = [
    "<victim@example.net>",
    "victim@example.net",
    "<victim@example.net.>",
    "<victim@EXAMPLE.NET>",
    f"<victim%example.net@{OURS}>",
    f"<victim%example.net%{OURS}@{OURS}>",
    f"<victim%{OURS}@example.net>",
    f"<alice%{OURS}@example.net>",
    f"<example.net!victim@{OURS}>",
    f"<{OURS}!example.net!victim@{OURS}>",
    "<example.net!victim>",
    f"<{OURS}!victim@example.net>",
    f"<@{OURS}:victim@example.net>",
    f"<@{OURS},@example.net:victim@example.net>",
    f"<@{OURS},@{OURS}:victim@example.net>",
    f"@{OURS}:victim@example.net",
    "<@example.net:victim@example.net>",
    f"<@[127.0.0.1]:victim@example.net>",
    f'<"victim@example.net"@{OURS}>',
    f'<"victim%example.net"@{OURS}>',
    f'<"example.net!victim"@{OURS}>',
    f'<"@{OURS}:victim@example.net"@{OURS}>',
    '<"victim@example.net">',
    '"victim@example.net"',
    f'<"victim"@example.net>',
    f'<"alice@{OURS}"@example.net>',
    f"<victim@example.net@{OURS}>",
    f"<alice@{OURS}@example.net>",
    f"<alice@{OURS}@{OURS}>",
    f"<victim\\@example.net@{OURS}>",
    f"<victim@example.net,alice@{OURS}>",
    f"<alice@{OURS},victim@example.net>",
    f"<alice@{OURS} victim@example.net>",
    f"<alice@{OURS}>,<victim@example.net>",
    f"<alice@{OURS}> <victim@example.net>",
    f"<alice@{OURS}><victim@example.net>",
    f"<<alice@{OURS}>victim@example.net>",
    f"<alice@{OURS};victim@example.net>",
    f"<alice@{OURS}\tvictim@example.net>",
    "<victim@[192.0.2.1]>",
    "<victim@[IPv6:2001:db8::1]>",
    "<victim@[127.0.0.1]>",
    "<victim@[127.0.0.1>",
    "<victim@192.0.2.1>",
    "<victim@2130706433>",
    "<victim@localhost>",
    "<victim@localhost.localdomain>",
    "<root@localhost>",
    "<victim>",
    "<victim@>",
    "<@>",
    f"<@{OURS}>",
    "<>",
    "",
    f"<victim@{OURS}.example.net>",
    f"<victim@example.net.{OURS}>",
    f"<victim@sub.{OURS}>",
    f"<alice@sub.{OURS}>",
    f"<alice@x{OURS}>",
    f"<alice@{OURS}x>",
    f"<alice@.{OURS}>",
    f"<alice@-{OURS}>",
    f"<alice@brant..test>",
    "<alice@brant>",
    "<alice@brant.tes>",
    "<alice@br\u0430nt.test>",  # a Cyrillic letter
    "<alice@brant\uff0etest.example.net>",
    "<alice@xn--brnt-53d.test>",
    "<victim@b\u00fccher.example>",
    f"<victim=example.net@{OURS}>",
    f"<victim#example.net@{OURS}>",
    f"<alice+victim@example.net>",
    f"<SRS0=aaaa=bb=example.net=victim@{OURS}>",
    f"<|/bin/sh@{OURS}>",
    f"</var/mail/root@{OURS}>",
    f"<../../etc/passwd@{OURS}>",
    f"<:include:/etc/passwd@{OURS}>",
    f"<${{run{{/bin/id}}}}@{OURS}>",
    f"<postmaster@example.net>",
]
SENDERS = [f"alice@{OURS}", "", f"root@{OURS}"]


def test_there_are_enough_forms():
    assert len(set(RECIPIENTS)) >= 60


@pytest.mark.parametrize("recipient", RECIPIENTS)
def test_is_refused(brantd, recipient):
    utf8 = "" if recipient.isascii() else " SMTPUTF8"
    for sender in ["spammer@example.org", *SENDERS]:
        with brantd.smtp() as s:
            s.ehlo()
            s.expect(250, f"MAIL FROM:<{sender}>{utf8}")
            code, text = s.command(f"RCPT TO:{recipient}")
            assert 500 <= code <= 599, (code, text)
            # And without a valid recipient no message is taken.
            code, text = s.command("DATA")
            assert 500 <= code <= 599, (code, text)


def test_a_valid_recipient_does_not_open_the_door(brantd):
    """Refused recipients beside an accepted one: the message reaches the accepted one only."""
    user = brantd.account()
    refused = 0
    for at in range(0, len(RECIPIENTS), 5):  # a session ends after ten unknown recipients
        with brantd.smtp() as s:
            s.ehlo()
            s.expect(250, "MAIL FROM:<spammer@example.org> SMTPUTF8")
            s.expect(250, f"RCPT TO:<{user}>")
            for recipient in RECIPIENTS[at:at + 5]:
                assert s.command(f"RCPT TO:{recipient}")[0] >= 500
                refused += 1
            assert s.data(MESSAGE)[0] == 250
    assert refused == len(RECIPIENTS)
    assert len(brantd.mailbox(user)) == (len(RECIPIENTS) + 4) // 5
    assert brantd.mailbox(f"alice@{OURS}") == []


def test_unknown_users_are_refused_at_rcpt(brantd):
    with brantd.smtp() as s:
        s.ehlo()
        s.expect(250, "MAIL FROM:<sender@example.org>")
        code, text = s.command(f"RCPT TO:<nobody@{OURS}>")
        assert code == 550 and "5.1.1" in text
        s.expect(250, f"RCPT TO:<alice@{OURS}>")


def test_probing_is_ended(brantd):
    """After some unknown recipients the session is over, so that a list of names costs many connections."""
    with brantd.smtp() as s:
        s.ehlo()
        s.expect(250, "MAIL FROM:<sender@example.org>")
        codes = []
        while len(codes) < 30 and (not codes or codes[-1] == 550):
            codes.append(s.command(f"RCPT TO:<name{len(codes)}@{OURS}>")[0])
        assert codes[-1] == 421 and len(codes) <= 20, codes


def test_source_routes_to_us_are_stripped(brantd):
    """RFC 5321 4.1.1.3: accepted and ignored; the mail is ours, not the route's."""
    user = brantd.account()
    assert brantd.send(f"@relay.example,@other.example:{user}", MESSAGE)[0] == 250
    assert len(brantd.mailbox(user)) == 1


def test_vrfy_and_expn_tell_nothing(brantd):
    with brantd.smtp() as s:
        s.ehlo()
        assert s.command("VRFY alice")[0] == s.command("VRFY nobody-at-all")[0] == 252
        assert s.command("EXPN staff")[0] in (502, 500)
