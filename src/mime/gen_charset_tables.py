#!/usr/bin/env python3
"""Prints C tables for the CJK character sets that ICU does not have, taken from Python's own codecs.

jisx0213[plane][row][cell]: the code point in the low 21 bits; when a combining character follows, its place
in jisx0213_combining, counted from 1, stands above. johab[lead - 0x84][trail - 0x31]: the code point. 0: none.
"""

COMBINING = [0x309A, 0x0300, 0x0301, 0x02E5, 0x02E9]


def decode(raw, codec):
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError:
        return 0
    if len(text) == 1:
        return ord(text)
    if len(text) == 2 and ord(text[1]) in COMBINING:
        return ord(text[0]) | (COMBINING.index(ord(text[1])) + 1) << 21
    return 0


def emit(name, ctype, dims, values, per_line=12):
    print(f"static const {ctype} {name}{dims} = {{")
    for i in range(0, len(values), per_line):
        print("    " + " ".join(f"0x{v:x}," for v in values[i : i + per_line]))
    print("};")


def main():
    planes = []
    for prefix in (b"", b"\x8f"):
        for row in range(0xA1, 0xFF):
            for cell in range(0xA1, 0xFF):
                planes.append(decode(prefix + bytes([row, cell]), "euc_jis_2004"))
    johab = [decode(bytes([lead, trail]), "johab") for lead in range(0x84, 0xFA) for trail in range(0x31, 0xFF)]
    print("/* Made by gen_charset_tables.py. */")
    emit("jisx0213_combining", "uint16_t", f"[{len(COMBINING)}]", COMBINING)
    emit("jisx0213", "uint32_t", "[2 * 94 * 94]", planes)
    emit("johab", "uint16_t", "[118 * 206]", johab)


main()
