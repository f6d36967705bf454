"""Rob Northen compression, method 1: bytes as they are and copies of earlier ones, in Huffman codes; many games of the 1990s use it."""

from __future__ import annotations

HEADER = 18  # bytes: RNC, method, u32 bytes unpacked, u32 packed, two u16 checksums, u8 slack, u8 blocks, big-endian
Codes = dict[tuple[int, int], int]  # number of bits, code -> bits of the value


def unpack(data: bytes) -> bytes:
    """The bytes that were packed. Raises ValueError where `data` is damaged or cut."""
    if data[:4] != b"RNC\1":
        raise ValueError("it does not begin as RNC of method 1")
    size, blocks = int.from_bytes(data[4:8], "big"), data[17]
    bits, out = _Bits(data, HEADER), bytearray()
    try:
        bits.take(2)
        for _ in range(blocks):
            lengths, distances, repeats = _codes(bits), _codes(bits), _codes(bits)
            for left in range(bits.take(16) - 1, -1, -1):
                out += bits.take_bytes(_value(bits, lengths))
                if left:
                    distance = _value(bits, distances) + 1
                    _repeat(out, distance, _value(bits, repeats) + 2)
    except IndexError:
        raise ValueError("the packed data is cut") from None
    if len(out) != size:
        raise ValueError(f"{len(out)} bytes came out where {size} were packed")
    return bytes(out)


class _Bits:
    """16 bits at a time, lowest first, with whole bytes in between."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data, self.place = data, place
        self._rest = self._count = 0

    def take(self, count: int) -> int:
        """The next `count` bits. Raises IndexError at the end of the data."""
        while self._count < count:  # at the end one byte of the last two may be missing
            high = self.data[self.place + 1] if self.place + 1 < len(self.data) else 0
            self._rest |= (self.data[self.place] | high << 8) << self._count
            self.place += 2
            self._count += 16
        bits = self._rest & (1 << count) - 1
        self._rest >>= count
        self._count -= count
        return bits

    def take_bytes(self, count: int) -> bytes:
        """The next bytes; bits that were read ahead stay before them."""
        found = self.data[self.place : self.place + count]
        self.place += count
        if len(found) < count:
            raise IndexError
        return found


def _codes(bits: _Bits) -> Codes:
    """A table of canonical Huffman codes: a count, then the length of each."""
    sizes = [bits.take(4) for _ in range(bits.take(5))]
    codes: Codes = {}
    code = 0
    for size in range(1, max(sizes, default=0) + 1):
        for value, own in enumerate(sizes):
            if own == size:
                codes[size, code] = value
                code += 1
        code <<= 1
    return codes


def _value(bits: _Bits, codes: Codes) -> int:
    """A number: 0, 1, or how many bits it has, whose first is 1 and whose others follow."""
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
