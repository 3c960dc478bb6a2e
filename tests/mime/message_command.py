#!/usr/bin/env python3
"""`brant message`: the JSON that is promised in src/mime/explain.h, the text for people, the exit status.

usage: message_command.py BRANT
"""

import json
import os
import subprocess
import sys
import tempfile

MESSAGE = b"""From: =?utf-8?q?J=C3=BCrgen?= <a@b.test>\r
To: Group: c@d.test, "E F" <e@f.test>;\r
Date: Mon, 23 Nov 2026 09:12:16 +0100\r
Subject: =?gb2312?b?1tDOxA==?=\r
Message-ID: <1@b.test>\r
MIME-Version: 1.0\r
Content-Type: Multipart/Mixed; Boundary="x y"\r
\r
--x y\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: quoted-printable\r
\r
caf=C3=A9 =\r
au lait\r
--x y\r
Content-Type: message/rfc822\r
\r
Subject: inner\r
\r
body\r
--x y\r
Content-Type: application/octet-stream; name*0*=utf-8''%e4%b8; name*1*=%ad\r
Content-Transfer-Encoding: base64\r
Content-Disposition: attachment; filename="a b.bin"\r
\r
aGVsbG8=*\r
"""


def run(brant, *args, data=b""):
    done = subprocess.run([brant, "message", *args], input=data, capture_output=True, timeout=60)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def check_json(document):
    assert document["size"] == len(MESSAGE), document["size"]
    headers = {h["name"]: h for h in document["headers"]}
    assert headers["Subject"]["value"] == "中文"
    assert headers["From"]["addresses"] == [{"name": "Jürgen", "address": "a@b.test"}]
    assert headers["To"]["addresses"] == [
        {"group": "Group", "addresses": [{"name": "", "address": "c@d.test"}, {"name": "E F", "address": "e@f.test"}]}
    ]
    assert headers["Date"]["date"] == {"unix": 1795421536, "offset_minutes": 60}
    assert headers["Message-ID"]["ids"] == ["1@b.test"]
    root = document["root"]
    assert (root["type"], root["subtype"], root["parameters"]) == ("multipart", "mixed", {"boundary": "x y"})
    text, message, binary = root["children"]
    assert (text["encoding"], text["size"], text["decoded_size"]) == ("quoted-printable", 20, 13), text
    assert text["lines"] == 1 and MESSAGE[text["body_offset"] :].startswith(b"caf=")
    inner = message["message"]
    assert inner["headers"][0]["value"] == "inner" and inner["root"]["type"] == "text"
    assert MESSAGE[inner["root"]["offset"] :].startswith(b"Subject: inner")
    assert binary["parameters"] == {"name": "中"}
    assert binary["disposition"] == {"type": "attachment", "parameters": {"filename": "a b.bin"}}
    assert binary["decoded_size"] == 5 and binary["section"] == "3"
    codes = {p["code"]: p for p in document["problems"]}
    assert set(codes) == {"bad-base64", "unterminated-multipart"}, codes
    assert MESSAGE[codes["bad-base64"]["offset"] :][:1] == b"*"


def main():
    brant = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "message.eml")
        with open(name, "wb") as f:
            f.write(MESSAGE)
        status, out, _ = run(brant, name, "--json")
        assert status == 0, status
        check_json(json.loads(out))
        assert run(brant, "-", "--json", data=MESSAGE)[1] == out
        status, out, _ = run(brant, name)
        assert status == 0 and "Subject: 中文" in out and "bad-base64" in out, out
        status, out, err = run(brant, os.path.join(folder, "none"), "--json")
        assert status == 1 and not out and "none" in err, (status, out, err)
        assert run(brant)[0] == 2
        assert run(brant, name, name)[0] == 2
        assert run(brant, name, "--wrong")[0] == 2
    print("8 cases: brant message")


main()
