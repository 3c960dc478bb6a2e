#!/usr/bin/env python3
"""Runs the public SMTP chat scripts (smtp/dialogs/test/**/*.cmy of the vectors) against the bare engine.

usage: test_smtp_chats.py SMTP_PROBE

The scripts were written for a server whose domain is `testserver` with the account `user`; those names are
replaced. Replies are compared by the first digit of their code: texts and the choice between, say, 521 and 550 are
each server's own. Scripts that need another program are counted as not applicable; TLS is only pretended, as it is to the engine.
"""
import ast
import os
import pathlib
import re
import subprocess
import sys
import threading

MESSAGE_BYTES_MAX = 1024 * 1024  # what the scripts assume

# Replies on which we differ on purpose: what the script wants, what we say, and why.
DIFFERENT = [
    ("554 5.6.0 Error parsing message", "250",
     "a message whose header has a malformed line is stored as it came; readers cope"),
]


def evaluate(node):
    """The value of an expression of string literals, numbers, + and *."""
    if isinstance(node, ast.Expression):
        return evaluate(node.body)
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int)):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mult)):
        left, right = evaluate(node.left), evaluate(node.right)
        return left + right if isinstance(node.op, ast.Add) else left * right
    raise ValueError("expression not understood")


class Session:
    def __init__(self, probe, *more):
        self.process = subprocess.Popen([probe, str(MESSAGE_BYTES_MAX), *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.timer = threading.Timer(10, self.process.kill)
        self.timer.start()

    def send(self, data):
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the engine closed; what it said is still to be read

    def line(self):
        return self.process.stdout.readline().decode("ascii").rstrip("\r\n")

    def reply(self):
        line = self.line()
        while line[3:4] == "-":
            line = self.line()
        return line

    def close(self):
        self.timer.cancel()
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.stdout.close()
        self.process.wait()


def ours(text):
    return text.replace("user@testserver", "alice@brant.test").replace("testserver", "brant.test")


def applies(lines):
    return (any("tcp_connect" in line or "tls_connect" in line for line in lines)
            and not any(re.search(r" [|]?= |tcp_listen|unix_listen", line) for line in lines))


def expect(wanted, got):
    for pattern, code, _ in DIFFERENT:
        if wanted == pattern and got.startswith(code):
            return True
    return wanted[:1].isdigit() and got[:1] == wanted[:1]


def run(path, probe):
    """The first surprise as text, or None."""
    session = None
    try:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            _, _, rest = line.partition(" ")
            word, _, argument = rest.partition(" ")
            if word in ("tcp_connect", "tls_connect", "close"):
                if session:
                    session.close()
                more = ["tls"] if word == "tls_connect" else []
                session = Session(probe, *more) if word != "close" else None
            elif word == "->":
                session.send(ours(argument).encode() + b"\r\n")
            elif word == "~>":
                session.send(ours(evaluate(ast.parse(argument.strip(), mode="eval"))).encode("latin-1"))
            elif word == "<...":
                got = session.line()
                while got and not got.startswith(argument):
                    got = session.line()
                if not got:
                    return f"line {number}: {argument!r} never came"
            elif word in ("<-", "<~"):
                got = session.reply()
                if not expect(argument.strip(), got):
                    return f"line {number}: wanted {argument!r}, got {got!r}"
            else:
                return f"line {number}: {word!r} not understood"
    finally:
        if session:
            session.close()
    return None


def main():
    probe = sys.argv[1]
    root = pathlib.Path(os.environ.get("BRANT_SOURCE_ROOT", "."))
    vectors = pathlib.Path(os.environ.get("BRANT_VECTORS", root / "../shared/vectors"))
    folder = vectors / "smtp/dialogs"
    if not folder.is_dir():
        print("the scripts are not here: skipped")
        return 77
    cases = other = failed = 0
    for path in sorted(folder.rglob("*.cmy")):
        if not applies(path.read_text("utf-8").splitlines()):
            other += 1
            continue
        cases += 1
        surprise = run(path, probe)
        if surprise:
            failed += 1
            print(f"{path.relative_to(folder)}: {surprise}")
    print(f"{cases} scripts run, {other} not applicable, {failed} failed")
    return 1 if failed or not cases else 0


sys.exit(main())
