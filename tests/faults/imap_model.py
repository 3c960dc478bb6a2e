"""What mailboxes must hold after commands that were answered, and may hold after commands that were not.

A State is what one user of an account knows of the mailboxes that are his alone. A Command changes it. While every command is
answered there is one State; each one that is not answered leaves several, as commands take effect whole and in order. What a fresh
session then sees (Seen, by name) has to be one of them: nothing acknowledged is missing, nothing else is there, nothing in part.
History remembers what may never happen again: a UID for another message, a MODSEQ or UIDNEXT that goes back.
"""
import copy
import re


class Message:
    def __init__(self, token, flags, uid=None):
        self.token, self.flags, self.uid = token, frozenset(flags), uid  # uid None: the answer did not come


class Box:
    def __init__(self):
        self.validity = self.ident = None
        self.messages = []  # in order of UID


class State:
    def __init__(self):
        self.boxes, self.subscribed = {}, set()

    def copy(self):
        other = State()
        other.subscribed = set(self.subscribed)
        for name, box in self.boxes.items():
            other.boxes[name] = copy.copy(box)
            other.boxes[name].messages = [copy.copy(m) for m in box.messages]
        return other


class Seen:
    """A mailbox as a session saw it."""

    def __init__(self):
        self.validity = self.uidnext = self.modseq = 0
        self.ident = None
        self.messages = []  # (uid, token, flags, modseq), in order


def parse_set(text):
    numbers = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        low, high = sorted((int(first), int(last or first)))
        numbers += range(low, high + 1)
    return numbers


def format_set(numbers):
    """A sequence set, with ranges where numbers follow each other."""
    runs = []
    for n in sorted(set(numbers)):
        if runs and runs[-1][1] == n - 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ",".join(f"{a}:{b}" if a != b else str(a) for a, b in runs)


# ---- commands ----

class Command:
    """`line`: what is sent behind the tag. `steps`: how many parts it may have been done in when there was no answer.
    `may_be_silent`: its OK may be without UIDs when the store died before it answered and had to be asked again."""
    steps, may_be_silent = 1, False

    def __init__(self, line):
        self.line = line

    def apply(self, state, steps=None):
        """Changes the state; `steps`: only so many of its parts."""

    def answered(self, state, untagged, tagged):
        """Takes UIDs out of an OK; what is wrong with it, or None. `untagged`: of all that was sent together."""


class Append(Command):
    may_be_silent = True

    def __init__(self, line, name, messages):
        super().__init__(line)
        self.name, self.messages = name, messages

    def apply(self, state, steps=None):
        state.boxes[self.name].messages += [Message(token, flags) for token, flags in self.messages]

    def answered(self, state, untagged, tagged):
        m = re.search(rb"\[APPENDUID (\d+) (\S+)\]", tagged)
        if not m:
            return f"no APPENDUID: {tagged!r}"
        box, uids = state.boxes[self.name], parse_set(m[2].decode())
        box.validity = box.validity or int(m[1])
        if len(uids) != len(self.messages) or int(m[1]) != box.validity:
            return f"APPENDUID of {len(self.messages)} messages in {box.validity}: {tagged!r}"
        for message, uid in zip(box.messages[-len(uids):], uids):
            message.uid = uid
        return None


class Store(Command):
    def __init__(self, line, name, uids, action, flags):
        super().__init__(line)
        self.name, self.uids, self.action, self.flags = name, set(uids), action, frozenset(flags)

    def apply(self, state, steps=None):
        for message in state.boxes[self.name].messages:
            if message.uid in self.uids:
                message.flags = self.flags if not self.action else message.flags | self.flags if self.action == "+" \
                    else message.flags - self.flags


class Copy(Command):
    """COPY and MOVE."""

    def __init__(self, line, name, uids, target, move):
        super().__init__(line)
        self.name, self.uids, self.target, self.move = name, set(uids), target, move
        self.may_be_silent = move

    def chosen(self, state):
        return [m for m in state.boxes[self.name].messages if m.uid in self.uids]

    def apply(self, state, steps=None):
        chosen = self.chosen(state)
        self.sources = [m.uid for m in chosen]
        if self.move:
            state.boxes[self.name].messages = [m for m in state.boxes[self.name].messages if m.uid not in self.uids]
        state.boxes[self.target].messages += [Message(m.token, m.flags) for m in chosen]

    def answered(self, state, untagged, tagged):
        told = b" ".join(u for u in untagged if b"COPYUID" in u) if self.move else tagged  # RFC 6851 4.3
        pairs, target = {}, state.boxes[self.target]
        for validity, first, second in re.findall(rb"\[COPYUID (\d+) (\S+) (\S+)\]", told):
            sources = parse_set(first.decode())
            if self.move and not set(sources) & set(self.sources):
                continue  # of a move that was sent with it
            pairs.update(zip(sources, parse_set(second.decode())))
            target.validity = target.validity or int(validity)
            if int(validity) != target.validity:
                return f"COPYUID names UIDVALIDITY {int(validity)}, it is {target.validity}"
        if sorted(pairs) != sorted(self.sources):
            return f"COPYUID of {sorted(self.sources)}: {told!r}"
        for message, source in zip(target.messages[len(target.messages) - len(self.sources):], self.sources):
            message.uid = pairs[source]
        return None


class Expunge(Command):
    """EXPUNGE, and UID EXPUNGE with `uids`."""

    def __init__(self, line, name, uids=None):
        super().__init__(line)
        self.name, self.uids = name, None if uids is None else set(uids)

    def apply(self, state, steps=None):
        box = state.boxes[self.name]
        box.messages = [m for m in box.messages
                        if "\\Deleted" not in m.flags or (self.uids is not None and m.uid not in self.uids)]


class Create(Command):
    def __init__(self, line, name):
        super().__init__(line)
        self.name = name

    def apply(self, state, steps=None):
        state.boxes[self.name] = Box()


class Delete(Command):
    def __init__(self, line, name):
        super().__init__(line)
        self.name = name

    def apply(self, state, steps=None):
        del state.boxes[self.name]


class Rename(Command):
    """With all that lies beneath."""

    def __init__(self, line, name, target):
        super().__init__(line)
        self.name, self.target = name, target

    def apply(self, state, steps=None):
        for name in [n for n in state.boxes if n == self.name or n.startswith(self.name + "/")]:
            state.boxes[self.target + name[len(self.name):]] = state.boxes.pop(name)


class RenameInbox(Command):
    """RFC 3501 6.3.5: the mail goes into a new mailbox. Two steps: the mailbox, then the mail."""
    steps = 2

    def __init__(self, line, target):
        super().__init__(line)
        self.target = target

    def apply(self, state, steps=None):
        state.boxes[self.target] = Box()
        if steps != 1:
            state.boxes[self.target].messages = [Message(m.token, m.flags) for m in state.boxes["INBOX"].messages]
            state.boxes["INBOX"].messages = []


class Subscribe(Command):
    def __init__(self, line, name, subscribed):
        super().__init__(line)
        self.name, self.subscribed = name, subscribed

    def apply(self, state, steps=None):
        if self.subscribed:
            state.subscribed.add(self.name)
        else:
            state.subscribed.discard(self.name)


def undecided(states, command):
    """The states in which it has not taken effect, then those in which it has, in part or whole."""
    more = []
    for steps in range(1, command.steps + 1):
        for state in states:
            state = state.copy()
            command.apply(state, steps)
            more.append(state)
    return more


# ---- comparing ----

def difference(state, seen, subscribed):
    """What keeps the state from being what was seen, or None."""
    if set(state.boxes) != set(seen):
        return f"mailboxes missing {sorted(set(state.boxes) - set(seen))}, too many {sorted(set(seen) - set(state.boxes))}"
    if state.subscribed != subscribed:
        return f"subscribed {sorted(subscribed)}, should be {sorted(state.subscribed)}"
    for name, box in state.boxes.items():
        wrong = box_difference(box, seen[name])
        if wrong:
            return f"{name}: {wrong}"
    return None


def box_difference(box, seen):
    if box.validity not in (None, seen.validity):
        return f"UIDVALIDITY {seen.validity}, was {box.validity}"
    if box.ident not in (None, seen.ident):
        return f"MAILBOXID {seen.ident}, was {box.ident}"
    want, have = box.messages, seen.messages
    if len(want) != len(have):
        return f"{len(have)} messages, should be {len(want)}; {tokens_apart(want, have)}"
    for m, (uid, token, flags, _) in zip(want, have):
        if m.uid not in (None, uid) or m.token != token:
            return f"UID {uid} is {token}, should be UID {m.uid} {m.token}"
        if m.flags != flags:
            return f"flags of UID {uid} are {sorted(flags)}, should be {sorted(m.flags)}"
    return None


def tokens_apart(want, have):
    wanted, there = sorted(m.token for m in want), sorted(token for _, token, _, _ in have)
    for token in list(wanted):
        if token in there:
            wanted.remove(token)
            there.remove(token)
    return f"missing {wanted[:5]}, too many {there[:5]}"


def adopt(seen, subscribed):
    """The state that was seen."""
    state = State()
    state.subscribed = set(subscribed)
    for name, one in seen.items():
        box = state.boxes[name] = Box()
        box.validity, box.ident = one.validity, one.ident
        box.messages = [Message(token, flags, uid) for uid, token, flags, _ in one.messages]
    return state


class History:
    """What was ever seen or acknowledged, by name and UIDVALIDITY."""

    def __init__(self):
        self.uids = {}     # (name, validity, uid) -> token
        self.marks = {}    # (name, validity) -> (uidnext, modseq)
        self.changes = {}  # (name, validity, uid) -> (modseq, flags)

    def uid(self, name, validity, uid, token):
        known = self.uids.setdefault((name, validity, uid), token)
        if known != token:
            return [f"{name}: UID {uid} of UIDVALIDITY {validity} was {known} and is {token}"]
        return []

    def acknowledged(self, state, name):
        """The UIDs in a state that an answer told of."""
        box = state.boxes.get(name)
        if not box or box.validity is None:
            return []
        return [w for m in box.messages if m.uid for w in self.uid(name, box.validity, m.uid, m.token)]

    def seen(self, name, one):
        """What is wrong with a mailbox, compared with what was seen of it before."""
        key = name, one.validity
        uidnext, modseq = self.marks.get(key, (0, 0))
        wrong = []
        if one.uidnext < uidnext:
            wrong.append(f"{name}: UIDNEXT {one.uidnext} was {uidnext}")
        if one.modseq < modseq:
            wrong.append(f"{name}: HIGHESTMODSEQ {one.modseq} was {modseq}")
        self.marks[key] = max(uidnext, one.uidnext), max(modseq, one.modseq)
        for uid, token, flags, changed in one.messages:
            wrong += self.uid(name, one.validity, uid, token)
            if uid >= one.uidnext:
                wrong.append(f"{name}: UID {uid} is there, UIDNEXT is {one.uidnext}")
            if changed > one.modseq:
                wrong.append(f"{name}: UID {uid} has MODSEQ {changed}, the highest is {one.modseq}")
            was, had = self.changes.get((*key, uid), (0, flags))
            if changed < was or (flags != had and changed == was):
                wrong.append(f"{name}: UID {uid} has MODSEQ {changed} and {sorted(flags)}, had {was} and {sorted(had)}")
            self.changes[(*key, uid)] = changed, flags
        return wrong
