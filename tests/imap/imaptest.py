#!/usr/bin/env python3
"""Plays scripts in the language of Dovecot's imaptest (imap/imaptest of the vectors).

usage: imaptest.py --probe IMAP_PROBE [SCRIPT…]            against the bare engine with a store in memory; "IMAP_PROBE stingy"
                                                           is one that gives one thing at a time
       imaptest.py --server HOST:PORT USER PASSWORD [SCRIPT…]  against a running server

Without scripts: all of $BRANT_VECTORS/imap/imaptest, or ../shared/vectors beside the source tree; when there are none
it says so and the exit status is 77. A script that needs a capability that is not announced is skipped.

The language: a header of settings, an empty line, then commands. A command may have the expected condition before it
("ok", "no", "bad", "\"\"" for any) or behind its responses; "* …" are untagged responses that must come, "! …" that must
not, "? …" that may; "tagN" pipelines; a number before it names the connection. $name takes a value or is compared with the
one taken before; $N is message N's number after the expunges so far; "$!…" directs how a list is compared; {{{ … }}} is a
literal, with CRLF between its lines.
"""
import argparse
import os
import pathlib
import re
import socket
import subprocess
import sys

TIMEOUT = 20
MAILBOX = "imaptest"


class Failure(Exception):
    pass


# ---- tokens ----

class Nil:
    def __repr__(self):
        return "NIL"


NIL = Nil()


def parse_args(data):
    """bytes to a list of str (atoms and strings), NIL and lists. What begins with a quote is a string."""
    stack, pos = [[]], 0
    while pos < len(data):
        c = data[pos:pos + 1]
        if c == b" ":
            pos += 1
        elif c == b"(":
            stack.append([])
            pos += 1
        elif c == b")":
            if len(stack) == 1:
                raise Failure(f"unbalanced: {data!r}")
            inner = stack.pop()
            stack[-1].append(inner)
            pos += 1
        elif c == b'"':
            text = bytearray()
            pos += 1
            while data[pos:pos + 1] != b'"':
                if pos >= len(data):
                    raise Failure(f"unclosed string: {data!r}")
                if data[pos:pos + 1] == b"\\":
                    pos += 1
                text += data[pos:pos + 1]
                pos += 1
            pos += 1
            stack[-1].append(Str(text.decode("latin-1")))
        else:
            m = re.compile(rb"~?\{(\d+)\+?\}\r?\n").match(data, pos)
            if m:
                end = m.end() + int(m.group(1))
                stack[-1].append(Str(data[m.end():end].decode("latin-1")))
                pos = end
                continue
            m = re.compile(rb"[^ ()\r\n]+").match(data, pos)
            if not m:
                raise Failure(f"cannot be parsed at {pos}: {data!r}")
            atom = m.group(0).decode("latin-1")
            stack[-1].append(NIL if atom.upper() == "NIL" else Atom(atom))
            pos = m.end()
    if len(stack) != 1:
        raise Failure(f"unbalanced: {data!r}")
    return stack[0]


class Str(str):
    pass


class Atom(str):
    pass


def astring(arg):
    return "NIL" if arg is NIL else arg if isinstance(arg, str) else None


# ---- comparing ----

class Matcher:
    def __init__(self, variables, seqmap):
        self.variables, self.seqmap = variables, seqmap
        self.added = []

    def relative(self, number):
        if number < 1 or number > len(self.seqmap):
            return "<out of range>"
        return str(self.seqmap[number - 1]) if self.seqmap[number - 1] else "<expunged>"

    def expand(self, text, given):
        """The expected text with its variables, taking values from what was given; None: it cannot fit."""
        out, pos, at = "", 0, 0
        while pos < len(text):
            if text[pos] != "$" or text[pos + 1:pos + 2] == "$":
                pos += text[pos] == "$"
                if given[at:at + 1].upper() != text[pos].upper():
                    return None
                out += text[pos]
                pos += 1
                at += 1
                continue
            m = re.compile(r"\$\{([^}]*)\}|\$(\w*)").match(text, pos)
            name = m.group(1) if m.group(1) is not None else m.group(2)
            pos = m.end()
            if name.isdigit():
                value = self.relative(int(name))
            elif name and name in self.variables:
                value = self.variables[name]
            else:
                stop = text[pos:pos + 1]
                end = at
                while end < len(given) and (not stop or given[end].upper() != stop.upper()):
                    end += 1
                value = given[at:end]
                if name:
                    self.variables[name] = value
                    self.added.append(name)
            out += value
            if not given.startswith(value, at):
                return None
            at += len(value)
        return out

    def args(self, match, args, limit=None, prefix=False):
        """Whether the arguments fit; then how many were used, else None."""
        used = 0
        for i, want in enumerate(match):
            if limit is not None and used == limit:
                break
            have = args[used] if used < len(args) else None
            if want is NIL:
                if have is not NIL:
                    return None
            elif isinstance(want, list):
                if not isinstance(have, list) or not self.list(want, have):
                    return None
            elif want == "$" and isinstance(have, list):
                pass
            elif want == "$]":
                while used < len(args) and astring(args[used]) is not None and "]" not in astring(args[used]):
                    used += 1
            else:
                text = astring(have) if have is not None else None
                if text is None:
                    return None
                expanded = self.expand(want, text)
                if expanded is None:
                    return None
                if prefix and i + 1 == len(match):
                    if not text.upper().startswith(expanded.upper()):
                        return None
                elif text.upper() != expanded.upper():
                    return None
            used += 1
        if prefix or limit is not None or used == len(args):
            return used
        return None

    def list(self, match, args):
        unordered, chain, noextra, ignores, bans = False, 1, None, [], []
        while match and isinstance(match[0], Atom) and match[0].startswith("$!"):
            directive = match[0][2:]
            match = match[1:]
            if directive.startswith("unordered"):
                unordered = True
                noextra = False if noextra is None else noextra
                if "=" in directive:
                    chain = int(directive.split("=")[1])
            elif directive == "ordered":
                unordered = False
            elif directive in ("extra", "noextra"):
                noextra = directive == "noextra"
            elif directive.startswith("ignore="):
                ignores.append(directive[7:].upper())
            elif directive.startswith("ban="):
                bans.append(directive[4:].upper())
        if not unordered:
            return self.args(match, args) is not None
        if len(args) % chain:
            return False
        matched = set()
        for i in range(0, len(match), chain):
            for j in range(0, len(args), chain):
                if self.args(match[i:i + chain], args[j:j + chain], chain) is not None:
                    matched.add(j)
                    break
            else:
                return False
        for j in range(0, len(args), chain):
            text = astring(args[j])
            if j in matched or text is None:
                continue
            if noextra and text.upper() not in ignores:
                return False
            if not noextra and text.upper() in bans:
                return False
        return True

    def fits(self, match, args, prefix=False):
        self.added = []
        if self.args(match, args, prefix=prefix) is not None:
            return True
        for name in self.added:
            self.variables.pop(name, None)
        return False


def add_directives(args):
    """What imaptest adds to lists of certain responses when the script directs nothing."""
    def directed(items):
        return items and isinstance(items[0], Atom) and items[0].startswith("$!")

    if not args or not isinstance(args[0], str):
        return args
    name = str(args[0]).lower()
    if (name.startswith("$") or name[:1].isdigit()) and len(args) > 1 and isinstance(args[1], str):
        name = str(args[1]).lower()
    args = list(args)
    if name in ("list", "lsub") and len(args) > 1 and isinstance(args[1], list) and not directed(args[1]):
        args[1] = [Atom("$!unordered")] + args[1]
    if name == "status" and len(args) > 2 and isinstance(args[2], list) and not directed(args[2]):
        args[2] = [Atom("$!unordered=2")] + args[2]
    if name == "fetch" and len(args) > 2 and isinstance(args[2], list) and not directed(args[2]):
        items = list(args[2])
        for i in range(0, len(items) - 1, 2):
            if str(items[i]).lower() == "flags" and isinstance(items[i + 1], list) and not directed(items[i + 1]):
                items[i + 1] = [Atom("$!unordered"), Atom("$!noextra"), Atom("$!ignore=\\recent"),
                                Atom("$!ignore=$HasAttachment"), Atom("$!ignore=$HasNoAttachment")] + items[i + 1]
        args[2] = [Atom("$!unordered=2")] + items
    return args


# ---- scripts ----

class Command:
    def __init__(self, line, text, reply, tag):
        self.line, self.text, self.reply, self.tag = line, text, reply, tag


class Group:
    def __init__(self, connection):
        self.connection = connection
        self.commands, self.untagged = [], []
        self.ordered = False

    def pending(self):
        return [c for c in self.commands if c.reply is None]


class Script:
    def __init__(self, path):
        self.path, self.name = path, path.name
        self.capabilities, self.connections, self.messages, self.state = [], 1, 0, "selected"
        self.users = {}
        self.groups = []
        own = pathlib.Path(str(path) + ".mbox")
        self.mbox = own if own.exists() else path.parent / "default.mbox"
        self.parse(path.read_bytes())

    def parse(self, data):
        header = True
        for number, line in self.lines(data):
            if line == b"":
                header = False
            elif line.startswith(b"#"):
                pass
            elif header:
                self.setting(line.decode())
            else:
                self.command_line(number, line)

    @staticmethod
    def lines(data):
        """Logical lines: literals in place."""
        rows = data.split(b"\n")
        i = 0
        while i < len(rows):
            line, number = rows[i], i + 1
            i += 1
            while line.endswith(b"{{{"):
                binary = line.endswith(b"~{{{")
                line = line[:-4 if binary else -3]
                body = []
                while not rows[i].startswith(b"}}}"):
                    body.append(rows[i])
                    i += 1
                text = (b"\n" if binary else b"\r\n").join(body) if not binary else b"\n".join(body)
                line += (b"~" if binary else b"") + b"{%d}\r\n" % len(text) + text + rows[i][3:]
                i += 1
            yield number, line

    def setting(self, line):
        key, value = (part.strip() for part in line.split(":", 1))
        key = key.lower()
        if key == "capabilities":
            self.capabilities = value.split()
        elif key == "connections":
            self.connections = int(value)
        elif key == "messages":
            self.messages = None if value == "all" else int(value)
        elif key == "state":
            self.state = value.lower()
        elif key.startswith("user "):
            self.users[int(key[5:])] = value
        elif key != "ignore_extra_untagged":
            raise Failure(f"unknown setting {key}")

    @staticmethod
    def condition(line):
        """tag, condition, rest"""
        m = re.match(rb"tag(\d+) ", line, re.I)
        tag = 0
        if m and int(m.group(1)):
            tag, line = int(m.group(1)), line[m.end():]
        m = re.match(rb'(ok|no|bad|"")(?= |$)', line, re.I)
        if not m:
            return tag, None, line
        return tag, m.group(1).decode().lower(), line[m.end():].lstrip(b" ") if line[m.end():][:1] == b" " else line[m.end():]

    def command_line(self, number, line):
        group = self.groups[-1] if self.groups else None
        if group:
            if line == b"!ordered":
                group.ordered = True
                return
            if line[:2] in (b"* ", b"! ", b"? "):
                group.untagged.append((chr(line[0]), number, add_directives(parse_args(line[2:]))))
                return
            if group.pending():
                rest = line
                m = re.match(rb"(\d+) ", line)
                if self.connections > 1 and m:
                    rest = line[m.end():]
                tag, condition, _ = self.condition(rest)
                if condition is not None:
                    waiting = [c for c in group.pending() if c.tag == tag]
                    if not waiting:
                        raise Failure(f"line {number}: a reply to no command")
                    waiting[0].reply = parse_args(re.sub(rb"^tag\d+ ", b"", rest) if tag else rest)
                    return
        connection = 0
        if self.connections > 1:
            m = re.match(rb"(\d+) ", line)
            if not m:
                raise Failure(f"line {number}: the connection is missing")
            connection, line = int(m.group(1)) - 1, line[m.end():]
        tag, condition, text = self.condition(line)
        if not group or not group.pending():
            group = Group(connection)
            self.groups.append(group)
        group.commands.append(Command(number, text, None if condition is None else [Atom(condition)], tag))


def mbox_messages(path):
    """(date of the From line, message with CRLF) of each."""
    result = []
    for part in re.split(rb"(?m)^From ", path.read_bytes())[1:]:
        first, _, body = part.partition(b"\n")
        m = re.search(rb"(\w{3}) +(\w{3}) +(\d+) (\d+:\d+:\d+) (\d{4})(?: ([+-]\d{4}))?", first)
        date = None
        if m:
            date = b"%2d-%s-%s %s %s" % (int(m.group(3)), m.group(2), m.group(5), m.group(4), m.group(6) or b"+0000")
        result.append((date, re.sub(rb"\r?\n", b"\r\n", body)))
    return result


# ---- connections ----

class Connection:
    def __init__(self, sock):
        self.sock, self.buffer = sock, b""
        self.exists, self.tags = 0, 0
        sock.settimeout(TIMEOUT)

    def fill(self):
        data = self.sock.recv(65536)
        if not data:
            raise Failure("the connection was closed")
        self.buffer += data

    def response(self):
        """One response with its literals, without the last CRLF."""
        end = 0
        while True:
            at = self.buffer.find(b"\r\n", end)
            while at < 0:
                self.fill()
                at = self.buffer.find(b"\r\n", end)
            m = re.search(rb"\{(\d+)\}$", self.buffer[end:at])
            if not m:
                line, self.buffer = self.buffer[:at], self.buffer[at + 2:]
                return line
            end = at + 2 + int(m.group(1))
            while len(self.buffer) < end:
                self.fill()

    def tag(self):
        self.tags += 1
        return f"1.{self.tags}"

    def send(self, tag, text):
        """Literals of the text are sent when the server asks for them."""
        data = tag.encode() + b" " + text + b"\r\n"
        while True:
            m = re.search(rb"\{(\d+)\}\r\n", data)
            if not m:
                self.sock.sendall(data)
                return []
            self.sock.sendall(data[:m.end()])
            early = []
            while True:
                line = self.response()
                if line.startswith(b"+"):
                    break
                early.append(line)
                if line.startswith(tag.encode() + b" "):
                    return early
            end = m.end() + int(m.group(1))
            self.sock.sendall(data[m.end():end])
            data = data[end:]

    def note(self, line):
        """Keeps count of the messages."""
        m = re.match(rb"\* (\d+) (EXISTS|EXPUNGE)\b", line, re.I)
        if m and m.group(2).upper() == b"EXISTS":
            self.exists = int(m.group(1))
        elif m:
            self.exists -= 1

    def run(self, text):
        """Sends, returns the untagged responses and the tagged one."""
        tag = self.tag()
        lines = self.send(tag, text)
        untagged = []
        while True:
            line = lines.pop(0) if lines else self.response()
            if line.startswith(tag.encode() + b" "):
                return untagged, line[len(tag) + 1:]
            self.note(line)
            untagged.append(line)

    def ok(self, text):
        untagged, tagged = self.run(text)
        if not tagged.upper().startswith(b"OK"):
            raise Failure(f"{text!r}: {tagged!r}")
        return untagged


class Player:
    def __init__(self, script, connect, user, password):
        self.script, self.user, self.password = script, user, password
        self.conns = connect(script.connections)
        self.messages = mbox_messages(script.mbox)
        self.next_message = 0
        self.variables = {"mailbox": MAILBOX, "mailbox_url": MAILBOX, "user": user, "username": user.split("@")[0],
                          "domain": user.split("@")[-1], "password": password}

    def append_text(self, text=b""):
        """The rest of an APPEND without a message."""
        date, body = self.messages[self.next_message % len(self.messages)]
        self.next_message += 1
        return (text or MAILBOX.encode()) + (b' "%s"' % date if date else b"") + b" {%d}\r\n" % len(body) + body

    def prepare(self):
        """False: a capability is missing."""
        greeting = [c.response() for c in self.conns]
        if self.script.state == "nonauth":
            return all(b"OK" in g for g in greeting)
        for c in self.conns:
            c.ok(b'LOGIN "%s" "%s"' % (self.user.encode(), self.password.encode()))
        first = self.conns[0]
        have = b" ".join(first.ok(b"CAPABILITY")).upper().split()
        if any(c.upper().encode() not in have for c in self.script.capabilities):
            return False
        self.clear(first)
        if self.script.state == "auth":
            return True
        first.ok(b"CREATE " + MAILBOX.encode())
        if self.script.state == "created":
            return True
        count = len(self.messages) if self.script.messages is None else self.script.messages
        for _ in range(count):
            first.ok(b"APPEND " + self.append_text())
        if self.script.state == "selected":
            for c in self.conns:
                c.ok(b"SELECT " + MAILBOX.encode())
        return True

    @staticmethod
    def clear(conn):
        names = {"list": [], "lsub": []}
        for kind in names:
            for line in conn.ok(kind.upper().encode() + b' "" "' + MAILBOX.encode() + b'*"'):
                args = parse_args(line[2:])
                if str(args[0]).lower() == kind:
                    names[kind].append(astring(args[3]))
        for name in sorted(names["list"], reverse=True):
            conn.run(b'DELETE "' + name.encode() + b'"')
        for name in names["lsub"]:
            conn.run(b'UNSUBSCRIBE "' + name.encode() + b'"')

    def substitute(self, text, seqmap):
        matcher = Matcher(self.variables, seqmap)

        def value(m):
            if m.group(0) == b"$$":
                return b"$"
            name = (m.group(1) or m.group(2)).decode()
            if name.isdigit():
                return matcher.relative(int(name)).encode()
            if name not in self.variables:
                raise Failure(f"unset variable {name}")
            return self.variables[name].encode("latin-1")
        return re.sub(rb"\$\$|\$\{([^}]*)\}|\$(\w+)", value, text)

    def command_bytes(self, command, seqmap):
        text = self.substitute(command.text, seqmap)
        if re.fullmatch(rb"append( +\S+)?", text, re.I):
            return b"APPEND " + self.append_text(text[7:].strip())
        return text

    def group(self, group):
        conn = self.conns[group.connection]
        seqmap = list(range(1, conn.exists + 1))
        tags, lines = {}, []
        for command in group.commands:
            tag = conn.tag()
            tags[tag.encode()] = command
            lines += conn.send(tag, self.command_bytes(command, seqmap))
        found = [False] * len(group.untagged)
        while tags:
            line = lines.pop(0) if lines else conn.response()
            tag, _, rest = line.partition(b" ")
            if tag in tags:
                self.tagged(tags.pop(tag), tag, rest, seqmap)
                continue
            if tag != b"*":
                raise Failure(f"unexpected: {line!r}")
            self.untagged(group, found, rest, seqmap, next(iter(tags)).decode())
            conn.note(line)
            m = re.match(rb"(\d+) EXPUNGE", rest, re.I)
            if m:
                gone = int(m.group(1))
                seqmap[:] = [0 if n == gone else n - 1 if n > gone else n for n in seqmap]
        for got, (kind, number, args) in zip(found, group.untagged):
            if kind == "*" and not got:
                raise Failure(f"line {number}: missing: {args}")

    def tagged(self, command, tag, rest, seqmap):
        want = command.reply
        if want == ['""'] or want == [""]:
            return
        self.variables["tag"] = tag.decode()
        args = self.loose(rest)
        if not Matcher(self.variables, seqmap).fits(want, args, prefix=True):
            raise Failure(f"line {command.line}: {command.text.decode('latin-1')!r}: wanted {want}, got {rest!r}")

    @staticmethod
    def loose(rest):
        """A status response: its text need not parse."""
        try:
            return parse_args(rest)
        except Failure:
            return [Atom(w) for w in rest.decode("latin-1").split(" ")]

    def untagged(self, group, found, rest, seqmap, tag):
        status = re.match(rb"(ok|no|bad|bye)\b", rest, re.I)
        args = self.loose(rest) if status else parse_args(rest)
        for i, (kind, number, want) in enumerate(group.untagged):
            if found[i]:
                continue
            self.variables["tag"] = tag
            if Matcher(self.variables, seqmap).fits(want, args, prefix=bool(status)):
                if kind == "!":
                    raise Failure(f"line {number}: must not come: {rest!r}")
                found[i] = True
                if group.ordered:
                    break
            elif group.ordered and kind == "*":
                break

    def play(self):
        """True, or False when it was skipped."""
        if not self.prepare():
            return False
        for group in self.script.groups:
            self.group(group)
        return True

    def close(self):
        for c in self.conns:
            c.sock.close()


class Probe:
    """The engine in a process of its own, all connections on one store."""

    def __init__(self, program):
        self.command, self.process = program.split(), None

    def __call__(self, count):
        pairs = [socket.socketpair() for _ in range(count)]
        fds = [theirs.fileno() for _, theirs in pairs]
        self.process = subprocess.Popen([*self.command, *map(str, fds)], pass_fds=fds)
        for _, theirs in pairs:
            theirs.close()
        return [Connection(ours) for ours, _ in pairs]

    def stop(self):
        if self.process:
            if self.process.wait(timeout=TIMEOUT):
                raise Failure(f"the probe ended with {self.process.returncode}")
            self.process = None


class Server:
    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.address = (host, int(port))

    def __call__(self, count):
        return [Connection(socket.create_connection(self.address, timeout=TIMEOUT)) for _ in range(count)]

    def stop(self):
        pass


def play_one(path, connect, user, password):
    """"passed", "skipped", or what was wrong."""
    player = None
    try:
        player = Player(Script(path), connect, user, password)
        result = "passed" if player.play() else "skipped"
    except (Failure, socket.timeout, OSError, IndexError) as e:
        result = f"{type(e).__name__}: {e}"
    finally:
        if player:
            player.close()
    try:
        connect.stop()
    except (Failure, subprocess.TimeoutExpired) as e:
        result = str(e)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--probe")
    where.add_argument("--server", nargs=3, metavar=("ADDRESS", "USER", "PASSWORD"))
    parser.add_argument("scripts", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    scripts = options.scripts
    if not scripts:
        source = os.environ.get("BRANT_SOURCE_ROOT") or pathlib.Path(__file__).resolve().parents[2]
        folder = pathlib.Path(os.environ.get("BRANT_VECTORS") or pathlib.Path(source, "../shared/vectors")) / "imap/imaptest"
        if not folder.is_dir():
            print(f"no scripts in {folder}: skipped")
            return 77  # to meson: a test left out
        scripts = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix not in (".mbox", ".txt"))
    connect = Probe(options.probe) if options.probe else Server(options.server[0])
    user, password = options.server[1:] if options.server else ("alice@brant.test", "brant-demo")
    counts = {"passed": 0, "skipped": 0, "failed": 0}
    for path in scripts:
        result = play_one(path, connect, user, password)
        counts[result if result in counts else "failed"] += 1
        print(f"{path.name}: {result}")
    print(f"{sum(counts.values())} scripts: " + ", ".join(f"{n} {word}" for word, n in counts.items()))
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
