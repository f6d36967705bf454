"""Writes prepared data as ESPnet reads it: a table of features and a table of texts for several sets together, and a list of characters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from m2asr.data.directory import read_table, write_table
from m2asr.errors import UserError
from m2asr.files import open_atomic

SPACE = "<space>"


def write_set(out: Path, sets: Sequence[str], data: Path, dump: Path) -> dict[str, str]:
    """Write the sorted feats.scp and text of several sets together into the folder `out`; returns the texts.

    Raises UserError where an utterance has features but no text, has a text but no features, or is in two of the sets.
    """
    feats: dict[str, str] = {}
    texts: dict[str, str] = {}
    for name in sets:
        scp, text = read_table(dump / name / "feats.scp"), read_table(data / name / "text")
        if unpaired := sorted(scp.keys() ^ text.keys()):
            path = data / name / "text" if unpaired[0] in scp else dump / name / "feats.scp"
            raise UserError(f"{path}: {unpaired[0]}: missing; prepare {name} again (stages data and fbank)")
        if duplicates := sorted(feats.keys() & scp.keys()):
            raise UserError(f"{dump / name / 'feats.scp'}: {duplicates[0]}: it is in another set too; take one of the sets out")
        feats |= scp
        texts |= text
    write_table(out / "feats.scp", feats)
    write_table(out / "text", texts)
    return texts


def token_list(texts: Iterable[str]) -> list[str]:
    """ESPnet's tokens: first blank and unknown, then the sorted characters of the texts (<space> for a space), and sos/eos at the end."""
    letters = sorted({letter for text in texts for letter in text})
    return ["<blank>", "<unk>", *(SPACE if letter == " " else letter for letter in letters), "<sos/eos>"]


def write_data(out: Path, train: Sequence[str], dev: Sequence[str], data: Path, dump: Path) -> Mapping[str, str]:
    """Write out/train, out/dev and out/tokens.txt; returns the texts of dev."""
    texts = write_set(out / "train", train, data, dump)
    with open_atomic(out / "tokens.txt") as file:
        file.writelines(f"{token}\n" for token in token_list(texts.values()))
    return write_set(out / "dev", dev, data, dump)
