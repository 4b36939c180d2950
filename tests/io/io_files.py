"""Files built byte by byte, honest and hostile, for the tests of apheleia.io."""

from __future__ import annotations

import struct
import zlib

import numpy as np

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
PNG_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, depth, colour, raw, *extra, interlace=0, after=b""):
    start = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    parts = [png_chunk(b"IHDR", start), *extra, png_chunk(b"IDAT", zlib.compress(raw)), after, png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _paeth(a, b, c):
    p = a + b - c
    pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
    return a if pa <= pb and pa <= pc else b if pb <= pc else c


def filtered(samples, kinds):
    """The slow twin of PNG's row filters: row i gets filter kinds[i % len(kinds)]."""
    step = samples.shape[-1] * samples.itemsize
    data = np.ascontiguousarray(samples, dtype=samples.dtype.newbyteorder(">"))
    rows = data.view(np.uint8).reshape(len(samples), -1).astype(int)
    out, above = b"", np.zeros(rows.shape[1], dtype=int)
    for index, row in enumerate(rows):
        kind = kinds[index % len(kinds)]
        line = []
        for i, value in enumerate(row):
            a, b, c = (row[i - step] if i >= step else 0), above[i], (above[i - step] if i >= step else 0)
            line.append((value - (0, a, b, (a + b) // 2, _paeth(a, b, c))[kind]) % 256)
        out += bytes([kind, *line])
        above = row
    return out


def png_of(samples, kinds=(0,), interlace=0, *extra):
    """A PNG of an array (Y, X, 1 to 4 samples) of uint8 or uint16."""
    height, width, count = samples.shape
    passes = [samples] if not interlace else [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7]
    raw = b"".join(filtered(part, kinds) for part in passes if part.size)
    return png(width, height, 8 * samples.itemsize, PNG_COLOUR[count], raw, *extra, interlace=interlace)


def tiff_tag(tag, kind, values):
    return tag, kind, values


def tiff(pages, order="<", big=False):
    """A TIFF of pages, each a pair (list of (tag, type, values), pixel bytes).

    Strip offsets (tag 273) are added where they are missing; their counts (279) too.
    """
    codes = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 7: "B", 8: "h", 11: "f", 12: "d", 16: "Q"}
    offset_code, inline, count_code = ("Q", 8, "Q") if big else ("I", 4, "H")
    mark = b"II" if order == "<" else b"MM"
    start = mark + (struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42))
    out = start + struct.pack(order + offset_code, len(start) + inline)
    for number, (tags, pixels) in enumerate(pages):
        tags = list(tags)
        named = {tag for tag, _, _ in tags}
        pixel_offset_at = None
        if 279 not in named and 325 not in named:
            tags.append((279, 4, [len(pixels)]))
        if 273 not in named and 324 not in named:
            tags.append((273, 4, [None]))
        tags.sort()
        head = len(out) + struct.calcsize(order + count_code) + len(tags) * (12 + 2 * (inline - 4)) + inline
        body, table = b"", b""
        for tag, kind, values in tags:
            if values == [None]:
                pixel_offset_at = len(table)
                values = [0]
            packed = b"".join(struct.pack(order + codes[kind], *(v if isinstance(v, tuple) else (v,))) for v in values)
            count = len(values)
            if len(packed) > inline:
                place = struct.pack(order + offset_code, head + len(body))
                body += packed
            else:
                place = packed.ljust(inline, b"\0")
            table += struct.pack(order + "HH" + offset_code, tag, kind, count) + place
        if pixel_offset_at is not None:
            at = pixel_offset_at + 4 + inline
            table = table[:at] + struct.pack(order + "I", head + len(body)).ljust(inline, b"\0") + table[at + inline :]
        end = head + len(body) + len(pixels)
        following = end if number + 1 < len(pages) else 0
        out += struct.pack(order + count_code, len(tags)) + table + struct.pack(order + offset_code, following) + body + pixels
    return out


def tiff_tags(width, height, bits=8, samples=1, compression=1, photometric=None, **extra):
    photometric = (2 if samples >= 3 else 1) if photometric is None else photometric
    tags = [(256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * samples), (259, 3, [compression])]
    tags += [(262, 3, [photometric]), (277, 3, [samples]), (278, 4, [height])]
    return tags + [(int(key[1:]), kind, values) for key, (kind, values) in extra.items()]


def lzw(data):
    """TIFF's LZW with literals only, cleared before the code grows beyond nine bits."""
    codes = []
    for start in range(0, len(data), 200):
        codes += [256, *data[start : start + 200]]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def npy(header: str | bytes, data: bytes = b"", version=1):
    text = header.encode("latin-1") if isinstance(header, str) else header
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def npy_header(descr="<f8", shape=(2, 2), order=False):
    return f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape!r}, }}\n"
