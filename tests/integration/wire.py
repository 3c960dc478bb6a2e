"""Small clients that see and send exact bytes, which smtplib and poplib do not."""
import re
import socket

TRACE = re.compile(rb"Return-Path: <[^\r\n]*>\r\nReceived: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*\Z")


class Closed(Exception):
    """The server ended the connection."""


class Connection:
    def __init__(self, port, timeout=30, source=None):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout,
                                             source_address=(source, 0) if source else None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as e:
            raise Closed from e

    def more(self):
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError as e:
            raise Closed from e
        if not data:
            raise Closed
        self.buffer += data

    def until(self, end):
        """The bytes up to and with `end`."""
        at, seen = self.buffer.find(end), 0
        while at < 0:
            seen = max(0, len(self.buffer) - len(end) + 1)
            self.more()
            at = self.buffer.find(end, seen)
        at += len(end)
        got, self.buffer = self.buffer[:at], self.buffer[at:]
        return got

    def line(self):
        return self.until(b"\r\n")[:-2]

    def rest(self):
        """Everything up to the end of the stream, which must come."""
        try:
            while True:
                self.more()
        except Closed:
            got, self.buffer = self.buffer, b""
            return got


def dot_stuffed(message):
    """RFC 5321 4.5.2, with the end of data."""
    if message.startswith(b"."):
        message = b"." + message
    return message.replace(b"\r\n.", b"\r\n..") + b".\r\n"


class Smtp(Connection):
    def __init__(self, port, greet=True, **kwargs):
        super().__init__(port, **kwargs)
        self.greeting = self.reply() if greet else None

    def __exit__(self, kind, value, trace):
        if kind is None:
            try:
                self.command("QUIT")
            except (Closed, OSError):
                pass
        self.close()

    def reply(self):
        """(code, the texts of its lines joined)."""
        texts = []
        while True:
            line = self.line()
            assert re.match(rb"[2-5][0-9][0-9][ -]", line + b" "), f"not a reply: {line!r}"
            texts.append(line[4:].decode("utf-8"))
            if line[3:4] != b"-":
                return int(line[:3]), "\n".join(texts)

    def command(self, line):
        self.send(line.encode() + b"\r\n" if isinstance(line, str) else line + b"\r\n")
        return self.reply()

    def expect(self, code, line):
        got = self.command(line)
        assert got[0] == code, f"{line}: {got}"
        return got

    def ehlo(self, name="client.example"):
        return self.expect(250, f"EHLO {name}")

    def data(self, message):
        """DATA with a message that ends with CRLF; the final reply."""
        self.expect(354, "DATA")
        self.send(dot_stuffed(message))
        return self.reply()


class Pop3(Connection):
    def __init__(self, port, user=None, password=None, **kwargs):
        super().__init__(port, **kwargs)
        self.greeting = self.line()
        if user:
            self.ok(f"USER {user}")
            self.ok(f"PASS {password}")

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.ok("QUIT")
        self.close()

    def command(self, line):
        self.send(line.encode() + b"\r\n")
        return self.line()

    def ok(self, line):
        got = self.command(line)
        assert got.startswith(b"+OK"), f"{line}: {got!r}"
        return got

    def multi(self):
        """The bytes of a multi-line response, unstuffed, without its end."""
        if self.buffer[:3] == b".\r\n" or (len(self.buffer) < 3 and self.until_at_least(3) == b".\r\n"):
            self.buffer = self.buffer[3:]
            return b""
        got = self.until(b"\r\n.\r\n")[:-3]
        return (b"\r\n" + got).replace(b"\r\n..", b"\r\n.")[2:]

    def until_at_least(self, size):
        while len(self.buffer) < size:
            self.more()
        return self.buffer[:size]

    def stat(self):
        _, count, size = self.ok("STAT").split()
        return int(count), int(size)

    def retr(self, number):
        """A message as it is stored; its size must be what LIST says."""
        size = int(self.ok(f"LIST {number}").split()[2])
        self.ok(f"RETR {number}")
        got = self.multi()
        assert len(got) == size, f"message {number}: {len(got)} octets came, LIST says {size}"
        return got

    def uidl(self):
        self.ok("UIDL")
        return [line.split()[1] for line in self.multi().split(b"\r\n")[:-1]]


def as_sent(stored, message):
    """Asserts that a stored message is the trace header and then exactly the bytes that were sent."""
    assert stored.endswith(message), f"changed: {stored[-200:]!r}, sent: {message[-200:]!r}"
    prefix = stored[:len(stored) - len(message)]
    assert TRACE.match(prefix), f"in front of the message stands {prefix[:500]!r}"
