"""Our prepared data as ESPnet reads it: a table of features and of texts for several sets together, and one list of characters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from m2asr.data.directory import read_table, write_table
from m2asr.errors import UserError
from m2asr.files import open_atomic

SPACE = "<space>"


def write_set(out: Path, sets: Sequence[str], data: Path, dump: Path) -> dict[str, str]:
    """Write feats.scp and text of several sets together into the folder `out`, sorted; returns the texts.

    Raises UserError where an utterance has features and no text, or the reverse, or is in two of the sets.
    """
    feats: dict[str, str] = {}
    texts: dict[str, str] = {}
    for name in sets:
        scp, text = read_table(dump / name / "feats.scp"), read_table(data / name / "text")
        if single := sorted(scp.keys() ^ text.keys()):
            where = data / name / "text" if single[0] in scp else dump / name / "feats.scp"
            raise UserError(f"{where}: {single[0]}: not there; prepare {name} again (stages data and fbank)")
        if twice := sorted(feats.keys() & scp.keys()):
            raise UserError(f"{dump / name / 'feats.scp'}: {twice[0]}: it is in another set too")
        feats |= scp
        texts |= text
    write_table(out / "feats.scp", feats)
    write_table(out / "text", texts)
    return texts


def token_list(texts: Iterable[str]) -> list[str]:
    """ESPnet's tokens: blank first, then unknown, the characters of the texts in order, a space by its name, sos/eos last."""
    letters = sorted({letter for text in texts for letter in text})
    return ["<blank>", "<unk>", *(SPACE if letter == " " else letter for letter in letters), "<sos/eos>"]


def write_data(out: Path, train: Sequence[str], dev: Sequence[str], data: Path, dump: Path) -> Mapping[str, str]:
    """Write out/train, out/dev and out/tokens.txt; returns the texts of dev."""
    texts = write_set(out / "train", train, data, dump)
    with open_atomic(out / "tokens.txt") as file:
        file.writelines(f"{token}\n" for token in token_list(texts.values()))
    return write_set(out / "dev", dev, data, dump)
