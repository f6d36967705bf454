from __future__ import annotations

from pathlib import Path

import pytest

from m2asr.corpora.tedlium2 import prepare, spoken
from m2asr.data.directory import read_table
from tests.corpora import trees
from tests.corpora.bad import append, check_clean, check_refused, copy, cut, edit, remove


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.tedlium2(tmp_path)


def test_sets_hold_what_the_corpus_holds(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    summary = str(prepare(root.parent, out))
    assert sorted(path.name for path in out.iterdir()) == ["dev", "test", "train"]
    check_clean(out)
    ends = [float(line.split()[4]) for line in (root / "train/stm/AlGore_2006.stm").read_text().splitlines()[1:]]
    first, second, _, last = (round(100 * end) for end in ends)
    spans = ((0, first), (first, second), (round(100 * ends[2]), last))
    ids = [f"AlGore_2006-{start:07d}-{end:07d}" for start, end in spans]
    assert read_table(out / "train/text") == {
        ids[0]: "all circuits are busy now",
        ids[1]: "it's call forward unconditional",
        ids[2]: "i'm sure you don't forward",
    }
    assert read_table(out / "train/wav.scp") == {"AlGore_2006": str(root / "train/sph/AlGore_2006.sph")}
    recording, start, end = read_table(out / "train/segments")[ids[1]].split()
    assert (recording, float(start), float(end)) == ("AlGore_2006", ends[0], ends[1])
    assert read_table(out / "train/utt2spk")[ids[0]] == "AlGore_2006"
    assert float(read_table(out / "train/utt2dur")[ids[0]]) == pytest.approx(ends[0], abs=1e-3)
    assert "dropped 3: ignore_time_segment_in_scoring: " in summary and "AlGore_2006.stm:4" in summary and "207 h" in summary
    assert "dev differs: 0.00 hours, 1.6 are published" in summary


@pytest.mark.parametrize(
    "text, expected",
    [
        ("so i 'll go(2) {COUGH} there <unk> (AlGore_2006-0001-0002)", "so i'll go there"),
        ("the students ' books 'cause they 're", "the students ' books 'cause they're"),
        ("what 's that {BREATH}", "what's that"),
        ("o 'clock and y 'all", "o'clock and y'all"),
        ("<sil> {NOISE} <unk>", ""),
    ],
)
def test_marks_are_removed_and_contractions_joined(text: str, expected: str) -> None:
    assert spoken(text) == expected


def test_another_speaker_of_a_talk_has_ids_of_his_own(root: Path, tmp_path: Path) -> None:
    stm = root / "train/stm/AlGore_2006.stm"
    stm.write_text(stm.read_text().replace("1 AlGore_2006 0.00", "1 Host 0.00"))
    prepare(root, tmp_path / "data")
    check_clean(tmp_path / "data")
    assert read_table(tmp_path / "data/train/spk2utt").keys() == {"AlGore_2006", "Host"}


def test_a_segment_that_ends_a_little_late_ends_with_its_recording(root: Path, tmp_path: Path) -> None:
    stm = root / "dev/stm/BillGates_2010.stm"
    *lines, last = stm.read_text().splitlines()
    end = float(last.split()[4])
    stm.write_text("\n".join([*lines, last.replace(f" {end:.2f} ", f" {end + 0.4:.2f} ")]) + "\n")
    prepare(root, tmp_path / "data")
    check_clean(tmp_path / "data")
    stm.write_text("\n".join([*lines, last.replace(f" {end:.2f} ", f" {end + 0.6:.2f} ")]) + "\n")
    check_refused("tedlium2", root, f"BillGates_2010.stm:5: {float(last.split()[3])} to {end + 0.6:.2f} s is outside of the recording")


STM, SPH = "dev/stm/BillGates_2010.stm", "dev/sph/BillGates_2010.sph"
SPOILED = {
    "no dev": (lambda root: (root / "dev").rename(root / "div"), "TEDLIUM_release2: no dev in it; extract TEDLIUM_release2.tar.gz"),
    "no stm": (remove(STM), "dev/stm: no *.stm in it; extract"),
    "empty stm": (cut(STM, 0), f"{STM}: no segment in it; extract"),
    "only comments": (lambda root: (root / STM).write_text(";; cut here"), f"{STM}: no segment in it; extract"),
    "no sph": (lambda root: (root / "dev/sph").rename(root / "dev/wav"), "dev/sph: not found; extract"),
    "transcript without audio": (remove(SPH), f"{STM}:1: its recording "),
    "audio without transcript": (copy(SPH, "dev/sph/Else_2010.sph"), "dev/sph/Else_2010.sph: no dev/stm/Else_2010.stm is about it"),
    "cut recording": (cut(SPH), f"{STM}:1: "),
    "time outside": (append(STM, "BillGates_2010 1 BillGates_2010 900 901 <F0_M> so"), f"{STM}:6: 900.0 to 901.0 s is outside of the"),
    "end before start": (append(STM, "BillGates_2010 1 BillGates_2010 2 1 <F0_M> so"), f"{STM}:6: 2.0 to 1.0 s is outside of the"),
    "no times": (append(STM, "BillGates_2010 1 BillGates_2010 so"), f"{STM}:6: write `talk channel speaker start end <label> text`"),
    "other talk": (append(STM, "AlGore_2006 1 AlGore_2006 1 2 <F0_M> so"), f"{STM}:6: is about AlGore_2006, not BillGates_2010"),
    "segment twice": (append(STM, "BillGates_2010 1 BillGates_2010 1 2 <F0_M> so\nBillGates_2010 1 BillGates_2010 1 2 <F0_M> so"),
                      f"{STM}:7: BillGates_2010-0000100-0000200: this id was already in "),
    "latin-1": (edit(STM, "busy", "\xe9"), f"{STM}:2: not UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILED)
def test_bad_input_is_named(name: str, root: Path) -> None:
    spoil, message = SPOILED[name]
    spoil(root)
    check_refused("tedlium2", root, message)


def test_wrong_folders_and_releases_are_named(root: Path) -> None:
    check_refused("tedlium2", root / "dev", "none of train, dev, test is in it, nor in TEDLIUM_release2/; it holds sph, stm")
    release = root.rename(root.parent / "TEDLIUM_release-3")
    for folder in (release, release.parent):
        check_refused("tedlium2", folder, "TEDLIUM_release-3: another release of TED-LIUM; fetch TEDLIUM_release2.tar.gz")
