"""ESPnet gets our sets whole, and every character of their texts as a token."""

from __future__ import annotations

import shutil
from pathlib import Path

import kaldiio
import numpy as np
import pytest

from m2asr.data.directory import read_table, write_table
from m2asr.errors import UserError
from tools.espnet_data import token_list, write_data, write_set


def test_sets_are_joined_with_the_features_of_every_utterance(mini_data: Path, mini_dump: Path, tmp_path: Path) -> None:
    sets = ["train_en", "dev_en"]
    texts = write_set(tmp_path, sets, mini_data, mini_dump)
    expected = {utt: text for name in sets for utt, text in read_table(mini_data / name / "text").items()}
    assert read_table(tmp_path / "text") == expected == texts
    lines = (tmp_path / "feats.scp").read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in lines] == sorted(expected, key=str.encode)
    theirs = kaldiio.load_scp(str(tmp_path / "feats.scp"))
    for name in sets:
        for utt, feats in kaldiio.load_scp(str(mini_dump / name / "feats.scp")).items():
            assert np.array_equal(theirs[utt], feats)


def test_every_text_can_be_written_with_the_tokens(mini_data: Path, mini_dump: Path, tmp_path: Path) -> None:
    dev = write_data(tmp_path, ["train_en"], ["dev_en"], mini_data, mini_dump)
    assert dev.keys() == read_table(mini_data / "dev_en/text").keys()
    tokens = (tmp_path / "tokens.txt").read_text(encoding="utf-8").splitlines()
    assert tokens[:2] == ["<blank>", "<unk>"] and tokens[-1] == "<sos/eos>" and len(set(tokens)) == len(tokens)
    letters = {letter for text in read_table(mini_data / "train_en/text").values() for letter in text}
    assert set(tokens[2:-1]) == {"<space>" if letter == " " else letter for letter in letters}


def test_tokens_do_not_depend_on_the_order_of_texts() -> None:
    assert token_list(["b a", "ж"]) == token_list(["ж", "a b"]) == ["<blank>", "<unk>", "<space>", "a", "b", "ж", "<sos/eos>"]


def test_an_utterance_without_features_or_text_is_named(small_data: Path, tmp_path: Path) -> None:
    dump, name = tmp_path / "dump", small_data.name
    texts = read_table(small_data / "text")
    last = sorted(texts)[-1]
    (dump / name).mkdir(parents=True)
    write_table(dump / name / "feats.scp", {utt: "feats.ark:0" for utt in texts if utt != last})
    with pytest.raises(UserError, match=f"feats.scp: {last}: missing"):
        write_set(tmp_path / "out", [name], small_data.parent, dump)
    write_table(dump / name / "feats.scp", {utt: "feats.ark:0" for utt in [*texts, "zz_new"]})
    with pytest.raises(UserError, match="text: zz_new: missing"):
        write_set(tmp_path / "out", [name], small_data.parent, dump)


def test_an_utterance_in_two_sets_is_refused(small_data: Path, tmp_path: Path) -> None:
    shutil.copytree(small_data, small_data.with_name("again"))
    for name in ("small", "again"):
        write_table(tmp_path / "dump" / name / "feats.scp", {utt: "feats.ark:0" for utt in read_table(small_data / "text")})
    with pytest.raises(UserError, match="in another set too"):
        write_set(tmp_path / "out", ["small", "again"], tmp_path, tmp_path / "dump")
