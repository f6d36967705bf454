"""Unpacks Rob Northen compression, method 1: literal bytes and copies of earlier bytes, in Huffman codes; used by games of the 1990s."""

from __future__ import annotations

HEADER = 18  # bytes: RNC, method, u32 bytes unpacked, u32 packed, two u16 checksums, u8 slack, u8 blocks, big-endian
Codes = dict[tuple[int, int], int]  # number of bits, code -> bits of the value


def unpack(data: bytes) -> bytes:
    """Unpack bytes. Raises ValueError if `data` is damaged or truncated."""
    if data[:4] != b"RNC\1":
        raise ValueError("it does not begin as RNC of method 1")
    size, blocks = int.from_bytes(data[4:8], "big"), data[17]
    bits, out = _Bits(data, HEADER), bytearray()
    try:
        bits.take(2)
        for _ in range(blocks):
            lengths, distances, repeats = _codes(bits), _codes(bits), _codes(bits)
            for remaining in range(bits.take(16) - 1, -1, -1):
                out += bits.take_bytes(_value(bits, lengths))
                if remaining:
                    distance = _value(bits, distances) + 1
                    _repeat(out, distance, _value(bits, repeats) + 2)
    except IndexError:
        raise ValueError("the packed data is truncated") from None
    if len(out) != size:
        raise ValueError(f"{len(out)} bytes came out where {size} were packed")
    return bytes(out)


class _Bits:
    """Reads bits from words of 16 bits, lowest bit first, and complete bytes between the words."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data, self.position = data, position
        self._rest = self._count = 0

    def take(self, count: int) -> int:
        """The next `count` bits. Raises IndexError at the end of the data."""
        while self._count < count:  # at the end one byte of the last two may be missing
            high = self.data[self.position + 1] if self.position + 1 < len(self.data) else 0
            self._rest |= (self.data[self.position] | high << 8) << self._count
            self.position += 2
            self._count += 16
        bits = self._rest & (1 << count) - 1
        self._rest >>= count
        self._count -= count
        return bits

    def take_bytes(self, count: int) -> bytes:
        """The next bytes; bits that were already loaded are read after them."""
        block = self.data[self.position : self.position + count]
        self.position += count
        if len(block) < count:
            raise IndexError
        return block


def _codes(bits: _Bits) -> Codes:
    """Read a table of canonical Huffman codes: a count, then the length of each code."""
    sizes = [bits.take(4) for _ in range(bits.take(5))]
    codes: Codes = {}
    code = 0
    for size in range(1, max(sizes, default=0) + 1):
        for value, length in enumerate(sizes):
            if length == size:
                codes[size, code] = value
                code += 1
        code <<= 1
    return codes


def _value(bits: _Bits, codes: Codes) -> int:
    """Read a number: its code gives 0, 1, or the number of its bits, of which the first is 1 and the rest follows."""
    code = 0
    for size in range(1, 17):
        code = code << 1 | bits.take(1)
        if (size, code) in codes:
            length = codes[size, code]
            return length if length < 2 else 1 << length - 1 | bits.take(length - 1)
    raise ValueError("a code that is not in its table")


def _repeat(out: bytearray, distance: int, count: int) -> None:
    """Append `count` bytes from `distance` before the end; they may overlap with themselves."""
    if distance > len(out):
        raise ValueError("a copy of what comes before the beginning")
    piece = out[-distance:] if distance >= count else out[-distance:] * (count // distance + 1)
    out += piece[:count]
