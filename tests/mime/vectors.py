#!/usr/bin/env python3
"""Runs the MIME engine over the public test sets of mail: header fields, whole messages, charsets.

usage: vectors.py PROBE [SET…]     SET: fields mime4j cpython jsmime charsets
The sets lie in $BRANT_VECTORS, or in ../shared/vectors beside the source tree; without them the exit status is
77 (skipped). Prints how many cases ran; a set that is there but holds no case is a failure. -v lists differences.
"""

import datetime
import email
import email.policy
import hashlib
import ipaddress
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree

VERBOSE = "-v" in sys.argv


class Probe:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, kind, raw):
        self.process.stdin.write(kind.encode() + b" " + raw.hex().encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the probe died")
        return json.loads(line)


class Score:
    def __init__(self, name):
        self.name, self.good, self.kept, self.bad = name, 0, 0, 0

    def case(self, label, got, want, reason=None):
        if got == want:
            self.good += 1
        elif reason:
            self.kept += 1
            if VERBOSE:
                print(f"  kept {self.name} {label}: {reason}")
        else:
            self.bad += 1
            print(f"  DIFFERS {self.name} {label}\n    got  {got}\n    want {want}")

    def finish(self):
        total = self.good + self.kept + self.bad
        print(f"{self.name}: {total} cases, {self.good} equal, {self.kept} kept differences, {self.bad} unexplained")
        return total > 0 and self.bad == 0


def key(text):
    return hashlib.sha256(text.encode()).hexdigest()[:8]


# ---- header fields ----

# Differences that are kept on purpose: the first eight hexadecimal digits of SHA-256 of the header text, or of the
# file's name.
BASE64_MESSAGE = "RFC 2045 6.4 forbids base64 for message/rfc822: an opaque leaf, reported"
NO_COLON = "a line without colon in a header is skipped and reported; other parsers begin the body there"
NO_SPACE = "no white space stands before the encoded word, so none is shown (RFC 5322 invents none)"
WHOLE_ID = "the id is the whole word (RFC 5321 4.4: atom), also with a slash"
TWO_DIGITS = "RFC 5322 4.3: years 00 to 49 are 2000 to 2049"
TWO_DIGITS_AND_FOR = TWO_DIGITS + "; a clause behind the date is none"
NAMED_ZONE = "RFC 5322 4.3: PST is -0800, PDT -0700"
KEPT = {
    "7fb9f66c": "RFC 5322 3.2.2: the folded line end is removed before the backslash is looked at",
    "fcc4c547": "RFC 2231 4.1: only the first segment names a charset",
    "09e6bd9e": "RFC 2047 6.2: white space between two encoded words is not shown",
    "c8d44e3c": "RFC 2231 3: such parameter names mean nothing",
    "950963fd": "no zone and no date: too many numbers",
    "aceee3a1": NO_SPACE,
    "6c92dabe": NO_SPACE,
    "5f404469": NO_SPACE,
    "cc1b23d7": "an empty encoded word shows as nothing",
    "fedc5e5a": WHOLE_ID,
    "ddc15eeb": WHOLE_ID,
    "c8d0c815": WHOLE_ID,
    "d2ae917c": NAMED_ZONE,
    "31cacb07": NAMED_ZONE,
    "0c8fa76c": TWO_DIGITS,
    "141b6c57": TWO_DIGITS,
    "1b12e8a5": TWO_DIGITS_AND_FOR,
    "9dfe2eea": "the first by clause counts",
    "9594ec4f": "the whole word is the name the client gave",
    "0bc0f7a3": "fractions of a second do not set the seconds to 0",
    "96347a99": "a comment is no from clause",
    "f242db38": "a comment is no from clause",
    "bad8ad47": BASE64_MESSAGE,  # bad-newlines-multiple-parts-base64
    "f39f7890": BASE64_MESSAGE,  # base64encoded-rfc822message-nested
    "fd9d91c4": BASE64_MESSAGE,  # base64encoded-rfc822message
    "8a1eb45f": NO_COLON,  # malformedHeaderStartsBody-nocrlfcrlf
    "de638ad2": NO_COLON,  # malformedHeaderStartsBody-noheader
    "b39b4351": "RFC 2046 5.1.2: behind the end of an inner multipart the same boundary is the outer one's",  # msg_15.txt
    "eee835e1": "RFC 2046 5.1.2: behind the end of an inner multipart the same boundary is the outer one's",  # msg_39.txt
    "f089fe42": "a boundary right behind a boundary ends an empty part",  # msg_37.txt
    "b68038f9": BASE64_MESSAGE,  # message-encoded
    "3154a7da": "RFC 2046 5.1.1: a line that begins with an open boundary is one, whatever follows",  # multipart-complex2
}


def value_of(header):
    """The field's value: up to the first line end that is no fold."""
    return re.split(r"\r?\n(?![ \t])", header, 1)[0].encode() if header[:1] != "\n" else header.strip().encode()


def name_of(item):
    name, comment = item["name"], item["comment"]
    if name and comment:
        return f"{name} ({comment})"
    return name or comment or None


def address_of(item):
    return item["local"] + ("@" + item["domain"] if item["domain"] else "")


def address_groups(items):
    groups, current = [], None
    for item in items:
        if item["kind"] == "group":
            current = (name_of(item), [])
            groups.append(current)
        elif item["kind"] == "end":
            current = None
        else:
            if current is None:
                current = (None, [])
                groups.append(current)
            current[1].append((name_of(item), address_of(item)))
    return groups


def address_wanted(expected):
    """The same form. White space and comments inside an address mean nothing (RFC 5322 3.4.1, 4.4), a route is
    not part of it, and a comment alone is no address."""
    if expected is None:
        return []
    raw = expected.get("Group") or [{"name": None, "addresses": expected["List"]}]
    groups = []
    for group in raw:
        members = []
        for one in group["addresses"]:
            if one["address"] is None:
                continue
            address = re.sub(r"\([^)]*\)|\s+", "", one["address"])
            members.append((one["name"].strip() if one["name"] else None, re.sub(r"^@[^:]*:", "", address)))
        if members or group["name"]:
            groups.append((re.sub(r" \(.*\)$", "", group["name"]) if group["name"] else None, members))
    return groups


def run_address(probe, cases, score):
    for case in cases:
        got = address_groups(probe.ask("address", value_of(case["header"]))["list"])
        score.case(key(case["header"]) + " " + repr(case["header"]), got, address_wanted(case["expected"]),
                   KEPT.get(key(case["header"])))


def content_wanted(expected):
    if expected is None:
        return None
    return (expected["c_type"].lower(), (expected.get("c_subtype") or "").lower(),
            sorted(map(tuple, expected.get("attributes") or [])))


def run_content(probe, cases, score):
    for case in cases:
        answer = probe.ask("content", value_of(case["header"]))
        got = None
        if answer["type"]:
            params = []
            for name, value, language in answer["params"]:
                params.append((name, value))
                if language:
                    params.append((name + "-language", language))
            got = (answer["type"], answer["subtype"], sorted(params))
        score.case(key(case["header"]) + " " + repr(case["header"]), got, content_wanted(case["expected"]),
                   KEPT.get(key(case["header"])))


def date_wanted(d):
    if d is None:
        return None
    offset = (d["tz_hour"] * 60 + d["tz_minute"]) * (-1 if d["tz_before_gmt"] else 1)
    try:
        moment = datetime.datetime(d["year"], d["month"], d["day"], d["hour"], d["minute"], d["second"])
    except ValueError:
        return "impossible"
    return (int((moment - datetime.datetime(1970, 1, 1)).total_seconds()) - offset * 60, offset)


def date_got(answer):
    return (answer["unix"], answer["offset"]) if "unix" in answer else None


def run_date(probe, cases, score):
    for case in cases:
        got = date_got(probe.ask("date", value_of(case["header"])))
        score.case(key(case["header"]) + " " + repr(case["header"]), got, date_wanted(case["expected"]),
                   KEPT.get(key(case["header"])))


def run_ids(probe, cases, score):
    for case in cases:
        got = probe.ask("ids", value_of(case["header"]))["ids"]
        want = [re.sub(r"\([^)]*\)|\s+", "", i) for i in case["expected"] or []]
        score.case(key(case["header"]) + " " + repr(case["header"]), got, want, KEPT.get(key(case["header"])))


def run_words(probe, cases, score):
    for case in cases:
        got = probe.ask("words", value_of(case["header"]))["text"]
        score.case(key(case["header"]) + " " + repr(case["header"]), got, case["expected"],
                   KEPT.get(key(case["header"])))


def run_list(probe, cases, score):
    for case in cases:
        text = probe.ask("words", value_of(case["header"]))["text"]
        got = [item.strip() for item in text.split(",") if item.strip()]
        score.case(key(case["header"]) + " " + repr(case["header"]), got, case["expected"],
                   KEPT.get(key(case["header"])))


def host_of(value):
    if not value:
        return ""
    return str(value.get("Name") or value.get("IpAddr")).lower()


def address_text(text):
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    return str(getattr(address, "ipv4_mapped", None) or address)


def received_pair(answer, want):
    """Both sides reduced to what both tell: clauses, the address of the peer, the date."""
    got, wanted = {}, {}
    for name in ("from", "by"):
        if want.get(name):
            got[name], wanted[name] = answer[name].rstrip(".").lower(), host_of(want[name]).rstrip(".")
    for name, ours in (("id", "id"), ("for_", "for"), ("via", "via")):
        if want.get(name):
            got[name], wanted[name] = answer[ours], want[name]
    if want.get("with"):  # the expected value is a protocol picked out of the clause
        clause = answer["with"].lower().replace("-tls", "s")
        got["with"], wanted["with"] = want["with"].lower() in clause, True
    if want.get("from_ip"):
        got["from_ip"], wanted["from_ip"] = answer.get("from_ip", ""), address_text(want["from_ip"])
    got["date"], wanted["date"] = date_got(answer), date_wanted(want.get("date"))
    if wanted["date"] == "impossible":
        del got["date"], wanted["date"]
    return got, wanted


def run_received(probe, cases, score):
    for case in cases:
        answer = probe.ask("received", value_of(case["header"]))
        got, want = received_pair(answer, case["expected"])
        score.case(key(case["header"]) + " " + repr(case["header"]), got, want, KEPT.get(key(case["header"])))


def run_fields(probe, root):
    runners = {"address": run_address, "content_type": run_content, "date": run_date, "id": run_ids,
               "list": run_list, "received": run_received, "unstructured": run_words}
    good = True
    for name, runner in runners.items():
        score = Score("fields/" + name)
        for path in sorted(root.rglob(name + ".json")):
            runner(probe, json.loads(path.read_text()), score)
        good = score.finish() and good
    return good


# ---- whole messages ----

def leaves(part):
    if "message" in part:
        return leaves(part["message"]["root"])
    if part["children"]:
        return [leaf for child in part["children"] for leaf in leaves(child)]
    return [part]


def tree(part):
    if "message" in part:
        return ["message", tree(part["message"]["root"])]
    if part["type"] == "multipart" and ("boundary" in part["parameters"] or part["children"]):
        return ["multipart"] + [tree(child) for child in part["children"]]
    return ["body"]


def xml_tree(element):
    for child in element:
        if child.tag == "multipart":
            return ["multipart"] + [xml_tree(part) for part in child if part.tag == "body-part"]
        if child.tag == "message":
            return ["message", xml_tree(child)]
    return ["body"]


def xml_names(element):
    header = element.find("header")
    return [field.text.split(":")[0].strip() for field in header] if header is not None else []


def run_mime4j(probe, root):
    shape, decoded, fields = Score("mime4j/structure"), Score("mime4j/bodies"), Score("mime4j/fields")
    for path in sorted(root.rglob("*.msg")):
        answer = probe.ask("message", path.read_bytes())
        shape.case(path.name + " portions", answer["same"], True)
        xml = path.with_suffix(".xml")
        if not xml.exists():
            continue
        text = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f]", "", xml.read_text(encoding="latin-1"))
        want = ElementTree.fromstring(text)
        shape.case(path.name, tree(answer["explain"]["root"]), xml_tree(want), KEPT.get(key(path.stem)))
        fields.case(path.name, [f["name"] for f in answer["explain"]["headers"]], xml_names(want),
                    KEPT.get(key(path.stem)))
        outline = ElementTree.parse(path.with_name(path.stem + "_decoded.xml"))
        files = [path.with_name(e.attrib["name"]) for e in outline.iter() if e.tag.endswith("-body")]
        bodies = [bytes.fromhex(h) for h in answer["bodies"]]
        got = [b.replace(b"\r\n", b"\n") for b in bodies]
        decoded.case(path.name, got, [f.read_bytes().replace(b"\r\n", b"\n") for f in files],
                     KEPT.get(key(path.stem)))
    return all([shape.finish(), fields.finish(), decoded.finish()])


def python_types(message):
    """Types of all parts in order, the enclosed messages' too. Python also takes apart message/delivery-status,
    message/external-body and the like, which are opaque here."""
    types = [message.get_content_type()]
    if message.is_multipart() and (types[0].startswith("multipart/") or types[0] in ("message/rfc822", "message/global")):
        for child in message.get_payload():
            types += python_types(child)
    return types


def our_types(part):
    types = [part["type"] + "/" + part["subtype"]]
    inside = [part["message"]["root"]] if "message" in part else part["children"]
    for child in inside:
        types += our_types(child)
    return types


def run_messages(probe, root, name, pattern):
    portions, types = Score(name + "/portions"), Score(name + "/types")
    for path in sorted(p for p in root.rglob(pattern) if p.is_file() and p.name not in ("SOURCE.txt", "LICENSE")):
        raw = path.read_bytes()
        answer = probe.ask("message", raw)
        portions.case(path.name, answer["same"], True)
        want = python_types(email.message_from_bytes(raw))
        types.case(path.name, our_types(answer["explain"]["root"]), want, KEPT.get(key(path.name)))
    return all([portions.finish(), types.finish()])


def run_charsets(probe, root):
    score = Score("charsets")
    for path in sorted(root.rglob("*-utf8.txt")):
        name = path.name[: -len("-utf8.txt")]
        answer = probe.ask("charset:" + name, path.with_name(name + ".txt").read_bytes())
        score.case(name, answer.get("text"), path.read_bytes().decode())
    return score.finish()


def unpacked(folder, scratch):
    for archive in folder.glob("*.tar.xz"):
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(scratch)
        return pathlib.Path(scratch)
    return folder


def main():
    words = [w for w in sys.argv[1:] if w != "-v"]
    source = os.environ.get("BRANT_SOURCE_ROOT", str(pathlib.Path(__file__).resolve().parents[2]))
    vectors = pathlib.Path(os.environ.get("BRANT_VECTORS") or pathlib.Path(source, "../shared/vectors"))
    if not vectors.is_dir():
        print(f"no vectors in {vectors}: skipped")
        return 77
    probe = Probe(words[0])
    sets = {
        "fields": ("mime/fields", run_fields),
        "mime4j": ("mime/mime4j", run_mime4j),
        "cpython": ("mime/cpython", lambda p, r: run_messages(p, r, "cpython", "msg_*.txt")),
        "jsmime": ("mime/jsmime", lambda p, r: run_messages(p, r, "jsmime", "*")),
        "charsets": ("charsets", run_charsets),
    }
    good, ran = True, 0
    for name in words[1:] or sets:
        folder = vectors / sets[name][0]
        if not folder.is_dir():
            print(f"{name}: not there")
            continue
        with tempfile.TemporaryDirectory() as scratch:
            good = sets[name][1](probe, unpacked(folder, scratch)) and good
        ran += 1
    if not ran:
        return 77
    return 0 if good else 1


sys.exit(main())
