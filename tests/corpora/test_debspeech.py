from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from m2asr.corpora.debspeech import asterisk, drascula, festvox, fillets, mandarin, prepare, steelsky, tuxpaint
from m2asr.corpora.debspeech.clips import Clip, sentence_case
from m2asr.corpora.debspeech.counts import COUNTS
from m2asr.corpora.debspeech.packages import HSK, PACKAGES, paths, write_attribution
from m2asr.corpora.debspeech.rnc import unpack
from m2asr.corpora.debspeech.sound import resample
from m2asr.corpora.debspeech.spanish import accented
from m2asr.data.directory import read_table
from m2asr.data.validate import validate
from m2asr.errors import UserError
from m2asr.text.normalize import normalize
from tests.corpora import packages
from tests.corpora.bad import check_refused
from tests.corpora.trees import wave, write_lines

DELAY = 32  # samples

pytest.importorskip("G722", reason="the sounds of Asterisk need the package G722")


def by_id(clips: list[Clip]) -> dict[str, Clip]:
    return {clip.id: clip for clip in clips}


def likeness(clip: Clip, samples: np.ndarray, rate: int) -> float:
    """Correlation of what a clip sounds like with samples that claim a rate, where they fit best: codecs have a delay."""
    decoded, expected = resample(*clip.sound()), resample(samples.astype(np.float32), rate)
    assert abs(len(decoded) - len(expected)) <= 8
    length = min(len(decoded), len(expected)) - DELAY
    return max(float(np.corrcoef(decoded[lag : lag + length], expected[:length])[0, 1]) for lag in range(DELAY))


ASTERISK = {
    "en": "; Core sounds\n\nagent-pass: Please enter your [four digit] password <then> #.\nvm-INBOX: new\nbeep: (beep)\ndigits/1: one\n",
    "it": "agent-pass: Inserire il [quello] numero, cos? pu? entrare.\nspy-sip: sip (in inglese)\nsilence/1: (silenzio)\n",
    "ru": "agent-pass: Hомер аgента\nletters/at: at\nis: есть\n",
    "es": "agent-pass: Ingrese su contrasena y numero\nagent-pass: otra\n",
    "fr": "agent-pass: Composez.vm-review: Pour autre chose\n",
}


@pytest.fixture
def asterisk_folder(tmp_path: Path) -> Path:
    sounds = {key: packages.g722(number) for number, key in enumerate(("agent-pass", "vm-inbox", "spy-sip", "digits/1"))}
    sounds |= {"is": b"", "letters/at": b"1", "beep": sounds["spy-sip"], "silence/1": sounds["spy-sip"]}
    packages.asterisk(tmp_path, ASTERISK, sounds)
    return tmp_path


def test_asterisk(asterisk_folder: Path) -> None:
    clips = by_id(list(asterisk.read(paths("asterisk", asterisk_folder))))
    assert not any("beep" in key or "silence" in key for key in clips)
    agent_pass = clips["asterisk_en_allison-agent-pass"]
    assert agent_pass.texts == {
        "en": "Please enter your password pound.",
        "it": "Inserire il quello numero, così può entrare.",
        "ru": "Номер аgента",
        "es": "Ingrese su contraseña y número",
        "fr": "Composez.",
    }
    assert likeness(agent_pass, wave(0), 16000) > 0.95
    assert clips["asterisk_en_allison-vm-inbox"].texts == {"en": "new"}  # the list writes vm-INBOX
    assert clips["asterisk_it_carlo-spy-sip"].texts == {"it": "sip"}
    assert clips["asterisk_fr_june-digits_1"].speaker == "asterisk_fr_june"
    assert "ru" not in clips["asterisk_ru_ivrvoiceru-letters_at"].texts  # written in Latin: not translated
    assert {clip.item for key, clip in clips.items() if key.endswith("agent-pass")} == {"asterisk/agent-pass"}


def test_fillets(tmp_path: Path) -> None:
    dialogs = 'dialogId("a-m", "font_small", "It\'s \\"odd\\".")\n'
    packages.fillets(
        tmp_path,
        {
            "cave/dialogs_en.lua": dialogs + 'dialogId("n", "font_big", "%1 hours!")\ndialogId("z", "", "")\n',
            "cave/dialogs_cs.lua": dialogs + 'dialogStr(\n"Zvláštní\\nvěc.")\n\n'
            'dialogId("n", "font_big", "%1 hours!")\ndialogStr("%1 hodin!")\n'
            'dialogId("z", "", "")\ndialogStr("")\n',
            "cave/dialogs_de_CH.lua": dialogs + 'dialogStr("Schwyz")\n',
            "cave/demo_dialogs_nl.lua": 'dialogId("d", "font_viking1", "Demo.")\ndialogStr("Demonstratie.")\n',
            "share/black_dialogs_cs.lua": 'dialogId("a-m", "font_big", "Other.")\ndialogStr("Jiná.")\n',
        },
        {"cs": ["cave/cs/a-m", "cave/cs/n", "cave/cs/z", "share/blackjokes/cs/a-m"], "nl": ["cave/nl/d", "cave/nl/a-m", "effect"]},
    )
    clips = by_id(list(fillets.read(paths("fillets", tmp_path))))
    assert set(clips) == {
        *("fillets_cs_small-cave_a-m", "fillets_cs_other-cave_z", "fillets_cs_big-share_a-m"),
        *("fillets_nl_viking1-cave_d", "fillets_nl_small-cave_a-m"),
    }
    assert clips["fillets_cs_small-cave_a-m"].texts == {"en": 'It\'s "odd".', "cs": "Zvláštní věc."}
    assert clips["fillets_cs_big-share_a-m"].texts == {"en": "Other.", "cs": "Jiná."}
    assert clips["fillets_nl_viking1-cave_d"].texts == {"en": "Demo.", "nl": "Demonstratie."}
    assert "nl" not in clips["fillets_nl_small-cave_a-m"].texts and clips["fillets_cs_other-cave_z"].texts == {}
    assert likeness(clips["fillets_cs_small-cave_a-m"], wave(0), 22050) > 0.95


def test_festvox(tmp_path: Path) -> None:
    packages.festvox(tmp_path, ['( ru_0001 "+Окна вол+ос, - да." )', '( ru_0002 "Второе" )', "( broken"])
    clips = by_id(list(festvox.read(paths("festvox", tmp_path))))
    assert [clip.texts["ru"] for clip in clips.values()] == ["Окна волос, - да.", "Второе"]
    assert likeness(clips["festvox_ru_nsh-ru_0002"], wave(1, "ru"), 16000) > 0.99


def test_tuxpaint(tmp_path: Path) -> None:
    text = "A frog.\nca.utf8=Una granota.\nru.utf8=Лягушка.\nzh_CN.utf8=青蛙。\nzh_TW.utf8=另\nfr.utf8=\nxx=no\npt_BR.utf8=Um sapo.\n"
    packages.tuxpaint(tmp_path, {"animals/frog": text}, ["ru", "ca", "el", "da", "fr"])
    clips = by_id(list(tuxpaint.read(paths("tuxpaint", tmp_path))))
    assert set(clips) == {"tuxpaint_ru-animals_frog", "tuxpaint_fr-animals_frog"}
    assert clips["tuxpaint_ru-animals_frog"].texts == {"en": "A frog.", "ru": "Лягушка.", "zh": "青蛙。"}
    assert likeness(clips["tuxpaint_ru-animals_frog"], packages.samples(0, 44100), 44100) > 0.95


def test_drascula(tmp_path: Path) -> None:
    translations = {"es": "Bueno, sí", "it": "È già", "ru": "На самом деле нет."}
    texts = {
        ("", 3): {"en": "NOT REALLY. AM I?", "de": "Tuer", "fr": "LA DEUXIèME", **translations},
        ("vb", 62): {"en": "Last", "es": "ULTIMO AÑO"},
        ("d", 1): {"en": "Igor!", "es": "..."},
    }
    packages.drascula_packages(tmp_path, texts, ["3", "VB62", "D1", "S12"], ["3", "VB62"])
    clips = by_id(list(drascula.read(paths("drascula", tmp_path))))
    assert set(clips) == {
        *("drascula_en_hacker-hacker_003", "drascula_en_vb-vb_062", "drascula_en_d-d_001"),
        *("drascula_es_hacker-hacker_003", "drascula_es_vb-vb_062"),  # D1 is a link to what is said in English
    }
    assert clips["drascula_en_hacker-hacker_003"].texts == {"en": "Not really. Am I?", "fr": "La deuxième", **translations}
    assert clips["drascula_es_vb-vb_062"].texts == {"en": "Last", "es": "Último año"}
    assert likeness(clips["drascula_en_vb-vb_062"], wave(1)[:22050], 11025) > 0.99
    packages.write_deb(tmp_path, "drascula", {"usr/share/scummvm/drascula/en/drascula.dat": packages.game_texts(texts)[:5000]})
    with pytest.raises(UserError, match=r"drascula_.*deb: cannot read the texts in its drascula.dat"):
        list(drascula.read(paths("drascula", tmp_path)))


def test_steelsky(tmp_path: Path) -> None:
    many = [f"Number {'very ' * (n % 9)}{letter}." for n, letter in enumerate("abcdefghijklmnopqrstuvwxyzabcdefghijklmnop")]
    texts = {
        "en": [many, ["`Who' IS he?"]],
        "de": [["(*)"], ["Wer f#hrt\x8a da?"]],
        "es": [["."], ["\x8aG#ero aqu\x87?", "no"]],
        "fr": [["PAS DU TOUT"]],
    }
    spoken = {(0, 0): packages.pack(packages.u8(0)), (0, 33): packages.u8(3), (1, 0): packages.pack(packages.u8(2)), (1, 5): packages.u8(0)}
    packages.steelsky_packages(tmp_path, texts, spoken)
    clips = by_id(list(steelsky.read(paths("steelsky", tmp_path))))
    assert set(clips) == {"steelsky_en-0_0000", "steelsky_en-0_0033", "steelsky_en-1_0000"}  # nothing is written where (1, 5) is spoken
    assert clips["steelsky_en-0_0033"].texts["en"] == f"Number {'very ' * 6}h."
    assert clips["steelsky_en-1_0000"].texts == {"en": "'Who' IS he?", "de": "Wer führt da?", "es": "¿Güero aquí?"}
    assert clips["steelsky_en-0_0000"].texts == {"en": "Number a.", "de": "ßäö", "fr": "Pas du tout"}
    for key, number in (("0_0000", 0), ("0_0033", 3), ("1_0000", 2)):
        assert likeness(clips[f"steelsky_en-{key}"], wave(number)[:22050], 11025) > 0.99


def test_packed_bytes_come_out_as_they_were() -> None:
    period = bytes(range(1, 101)) + bytes([97, 98, 99, 100] * 2)
    for data in (b"", b"a", bytes(range(256)) * 9, period, period * 7, period * 3 + b"end", packages.u8(1)):
        assert unpack(packages.pack(data)) == data
    packed = packages.pack(period * 7)
    assert len(packed) < len(period * 7) + 40
    for broken in (packed[:200], b"RNC\2" + packed[4:], packed[:4] + b"\0\0\0\1" + packed[8:]):
        with pytest.raises(ValueError):
            unpack(broken)


def test_mandarin(tmp_path: Path) -> None:
    rows = [
        ("hsk1-1", "老师好！", "lao3 shi1 hao3", "Hello, teacher!"),
        ("hsk1-2", "我们", "wo3 men5", "We"),
        ("hsk1-3", "女", "nv3", "Woman"),
        ("hsk1-4", "好的", "hao3 de5", "All right"),
    ]
    syllables = ["ㄌㄠ3", "ㄕ", "ㄏㄠ3", "ㄨㄛ3", "ㄇㄣ2", "ㄋㄩ3", "ㄉㄜ1", "ㄉㄜ2"]
    packages.mandarin(tmp_path, {"3": syllables, "5": syllables[:3]}, rows)
    clips = by_id(list(mandarin.read(paths("mandarin", tmp_path))))
    assert {key: clip.sound() is not None for key, clip in clips.items()} == {
        **{f"semisynthetic_zh_gcin3-hsk1-{n}": True for n in (1, 2, 3, 4)},
        **{f"semisynthetic_zh_gcin5-hsk1-{n}": n == 1 for n in (1, 2, 3, 4)},
    }
    lesson = clips["semisynthetic_zh_gcin3-hsk1-1"]
    assert lesson.texts == {"zh": "老师好！", "en": "Hello, teacher!"} and lesson.splits == ("train",)
    spoken = [resample(packages.samples(number, 44100).astype(np.float32), 44100) for number in range(len(syllables))]
    assert likeness(lesson, np.concatenate(spoken[:3]), 16000) > 0.95
    assert likeness(clips["semisynthetic_zh_gcin3-hsk1-2"], np.concatenate([spoken[3], spoken[4]]), 16000) > 0.95  # instead of ㄇㄣ1
    assert likeness(clips["semisynthetic_zh_gcin3-hsk1-4"], np.concatenate([spoken[2], spoken[6]]), 16000) > 0.95


def test_capitals_become_sentences() -> None:
    assert sentence_case("¿QUÉ ES? NADA.", "es") == "¿Qué es? Nada."
    assert sentence_case("I THINK I'M OK", "en") == "I think I'm ok"
    assert sentence_case("Just ASKING you", "en") == "Just ASKING you"
    assert sentence_case("EINE TÜR", "de") is None


def test_spanish_gets_the_accents_that_it_must_have() -> None:
    assert accented("Que MAS extensiones? Ultima conexion.") == "Que MÁS extensiones? Última conexión."
    assert accented("esta solo, opcion 3, número, atravez de") == "esta solo, opción 3, número, a través de"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Asterisk, Tux Paint and Mandarin, with texts that link them."""
    folder = tmp_path_factory.mktemp("downloads")
    numbers = range(1, 31)
    lists = {lang: "".join(f"p{n}: {word} {n}\n" for n in numbers) for lang, word in (("en", "Number"), ("fr", "Numéro"), ("ru", "Номер"))}
    lists["en"] += "short: a\nlong: far too much text for what is said here, as no one can speak so fast and be heard\n"
    lists["en"] += "same: Bravo\nhush: Hush\n"
    lists["fr"] += "same: bravo!\nempty: ?\n"
    sounds = {f"p{n}": packages.g722(n % 5) for n in numbers} | {"same": packages.g722(1), "hush": bytes([0xFF]) * 8000}
    sounds |= {"short": packages.g722(0)[:1600], "long": packages.g722(2)[:8000], "endless": packages.g722(0) * 40}
    lists["en"] += "endless: On and on\n"
    packages.asterisk(folder, lists, sounds)
    stamps = {f"s/{n}": f"Picture {n // 2}.\nfr.utf8=Image {n // 2}.\nru.utf8=Картина {n}.\nro.utf8=Numărul {n}" for n in range(45)}
    stamps["s/alike"] = "Number 3\nfr.utf8=Autre.\nru.utf8=Другое."
    packages.tuxpaint(folder, stamps, ["fr", "ru"])
    tones = ["ㄅㄚ", "ㄅㄚ2", "ㄅㄚ3", "ㄅㄚ4"]
    rows = [(f"h{n}", f"八{n}", " ".join(f"ba{1 + n // 4**k % 4}" for k in range(3)), f"Eight {n}") for n in range(40)]
    packages.mandarin(folder, {"3": tones, "5": tones[:3]}, rows)
    return folder


@pytest.fixture(scope="module")
def data(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("out") / "data"
    return out, str(prepare.prepare(corpus, out))


def test_no_sentence_of_a_part_is_in_another(data: tuple[Path, str]) -> None:
    """Neither what is said, nor a translation, nor an item, whatever the language and the source."""
    texts: dict[str, set] = {"train": set(), "dev": set(), "test": set()}
    items: dict[str, set] = {"train": set(), "dev": set(), "test": set()}
    for folder in data[0].glob("*_??"):
        split, lang = folder.name.split("_")
        for table in folder.glob("text*"):
            target = table.suffix[1:] or lang
            texts[split] |= {(target, normalize(text, target)) for text in read_table(table).values()}
        items[split] |= {(utt.split("_")[0], utt.partition("-")[2]) for utt in read_table(folder / "utt2spk")}
    for first, second in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert texts[first] and texts[second] and not texts[first] & texts[second] and not items[first] & items[second]
    linked = [split for split, keys in items.items() if {("asterisk", "p3"), ("tuxpaint", "s_alike")} & keys]
    assert len(linked) == 1  # "Number 3" is said in one and the translation of the other


def test_sets_are_clean_and_say_where_they_come_from(data: tuple[Path, str]) -> None:
    out, summary = data
    folders = sorted(path for path in out.iterdir() if path.name != prepare.AUDIO)
    assert {path.name[-2:] for path in folders} == {"en", "fr", "ru", "zh"} and len(folders) == 12
    wavs = []
    for folder in folders:
        report = validate(folder)
        assert report.clean and report.utterances, report
        wavs += read_table(folder / "wav.scp").values()
        assert all(utt.startswith(f"{source}_") for utt, source in read_table(folder / "utt2source").items())
    assert sorted(wavs) == sorted(map(str, (out / prepare.AUDIO).rglob("*.flac"))) and len(set(wavs)) == len(wavs)
    assert soundfile.info(wavs[0]).subtype == "PCM_16"
    assert "en: asterisk 31; test" in summary and "fr: asterisk 31, tuxpaint 46; test" in summary
    assert "not there: festvox; to have it, fetch its packages: python -m m2asr.bin.download debspeech --parts festvox" in summary
    for reason in ("not 0.3 to 20.0 s long: asterisk_en_allison-endless, asterisk_en_allison-short", "silent: asterisk_en_allison-hush"):
        assert reason in summary
    assert "more than 25 letters a second: the text differs from the speech: asterisk_en_allison-long" in summary
    assert "no text in its language: asterisk_en" not in summary and "no text in its language: asterisk_es_allison" in summary


def test_a_speaker_of_mandarin_is_trained_on_and_the_other_tested(data: tuple[Path, str]) -> None:
    for part, voice in (("train", "3"), ("dev", "5"), ("test", "5")):
        assert set(read_table(data[0] / f"{part}_zh/utt2spk").values()) == {f"semisynthetic_zh_gcin{voice}"}
    assert set(read_table(data[0] / "train_zh/text.en").values()) <= {f"Eight {n}" for n in range(40)}
    assert "a syllable of it was not recorded: semisynthetic_zh_gcin5-h" in data[1]


def test_translations_are_cased_and_never_the_same_words(data: tuple[Path, str]) -> None:
    tables = [read_table(data[0] / f"{split}_fr/text.en") for split in ("train", "dev", "test")]
    assert not [utt for table in tables for utt in table if "same" in utt]
    assert "Number 1" in [text for table in tables for text in table.values()]


def test_again_is_the_same_and_sources_can_be_chosen(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    prepare.prepare(corpus, out, ["asterisk", "mandarin"])
    first = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    summary = str(prepare.prepare(corpus, out, ["asterisk", "mandarin"]))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == first
    assert "tuxpaint" not in summary and not (out / prepare.AUDIO / "tuxpaint").exists()
    for part, message in (("tux", "no such part"), ("drascula", "it is not there; fetch its packages: python -m m2asr.bin.download")):
        with pytest.raises(UserError, match=f"--parts {part}: {message}"):
            prepare.prepare(corpus, out, [part])
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == first


def test_a_broken_recording_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    good = packages.ogg(0, 22050)
    root = "usr/share/tuxpaint/stamps/s/"
    files = {f"{root}{n}.txt": f"Frog {n}.\nfr.utf8=Grenouille {n}.".encode() for n in range(30)}
    files |= {f"{root}{n}_desc_fr.ogg": good if n else good[:20] for n in range(30)}
    packages.write_deb(tmp_path, "tuxpaint-stamps-default", files)
    with pytest.raises(UserError, match=r"^tuxpaint_fr-s_0: .*; or drop such with --max_bad"):
        prepare.prepare(tmp_path, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    assert "dropped 1: unusable: tuxpaint_fr-s_0: " in str(prepare.prepare(tmp_path, tmp_path / "data", max_bad=1))


def write_hsk(folder: Path, items: object) -> None:
    with zipfile.ZipFile(folder / HSK.name, "w") as wheel:
        wheel.writestr("hsk_sentences_audio/data/sentences.json", json.dumps(items))


STAMPS, FISH = "usr/share/tuxpaint/stamps/s/1.txt", "usr/share/games/fillets-ng/script/cave/dialogs_cs.lua"
PROMPTS = "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
RUSSIAN, SYLLABLE = "usr/share/festival/voices/russian/msu_ru_nsh_clunits/etc/txt.done.data", "usr/share/gcin-voice/ogg/ㄅㄚ/3.ogg"
ITEM = {"id": "h1", "chinese": "八", "pinyin_numbered": "ba1", "translation": {"en": "Eight"}}
SPOILED = {  # the source, what is broken in which package, the message after the package
    "tuxpaint": ("tuxpaint-stamps-default", {STAMPS: b"\xe9"}, f": cannot read {STAMPS} in it: 'utf-8' codec"),
    "fillets": ("fillets-ng-data", {FISH: b"\xe9"}, f": cannot read {FISH} in it: 'utf-8' codec"),
    "festvox": ("festvox-ru", {RUSSIAN: b"\xe9"}, f": cannot read {RUSSIAN} in it: 'utf-8' codec"),
    "asterisk": ("asterisk-core-sounds-en", {PROMPTS: gzip.compress(b"\xe9")}, f": cannot read {PROMPTS} in it: 'utf-8' codec"),
    "cut": ("asterisk-core-sounds-en", {PROMPTS: gzip.compress(b"hello")[:-9]}, f": cannot read {PROMPTS} in it: Compressed file ended"),
    "syllable": ("gcin-voice", {SYLLABLE: b"OggS"}, f": cannot read {SYLLABLE} in it: "),
}


@pytest.mark.parametrize("name", SPOILED)
def test_broken_files_of_a_package_are_named(name: str, tmp_path: Path) -> None:
    package, files, message = SPOILED[name]
    source = next(entry.source for entry in PACKAGES if entry.name == package)
    for package_name in paths(source, tmp_path):
        if package_name != "hsk":
            packages.write_deb(tmp_path, package_name, files if package_name == package else {})
    write_hsk(tmp_path, [ITEM])
    check_refused("debspeech", tmp_path, f"{paths(source, tmp_path)[package]}{message}", (source,))


@pytest.mark.parametrize(
    "items, message",
    [
        ([ITEM, {**ITEM, "translation": {}}], "sentences.json: sentence 2: 'en' is missing in it"),
        ([{key: value for key, value in ITEM.items() if key != "chinese"}], "sentences.json: sentence 1: 'chinese' is missing in it"),
        ([{**ITEM, "id": 7}], "sentences.json: sentence 1: id, chinese, pinyin_numbered and translation must be texts"),
        (7, f"{HSK.name}: cannot read its sentences "),
    ],
)
def test_sentences_that_lack_something_are_named(items: object, message: str, tmp_path: Path) -> None:
    packages.write_deb(tmp_path, "gcin-voice", {})
    write_hsk(tmp_path, items)
    check_refused("debspeech", tmp_path, message, ("mandarin",))


def test_a_folder_without_packages_and_a_package_without_recordings_are_told(tmp_path: Path) -> None:
    message = f"--corpus {tmp_path}: none of debspeech's sources is complete in it (asterisk-core-sounds-en_1.6.1-1_all.deb ...); fetch "
    check_refused("debspeech", tmp_path, f"{message}them with: python -m m2asr.bin.download debspeech --out {tmp_path}")
    packages.write_deb(tmp_path, "festvox-ru", {})
    check_refused("debspeech", tmp_path, f"{tmp_path / 'festvox-ru_0.5+dfsg-6_all.deb'}: no recording in it; remove it and fetch it again")


def test_sets_of_an_earlier_preparation_with_other_sources_are_removed(corpus: Path, tmp_path: Path) -> None:
    """Their recordings are gone, and they were split with other texts; what somebody else has made stays."""
    out = tmp_path / "data"
    prepare.prepare(corpus, out, ["asterisk", "mandarin"])
    shutil.copytree(out / "dev_zh", out / "few_zh")
    write_lines(out / "dev_xx/wav.scp", "a-1 /somewhere/else.wav")
    summary = str(prepare.prepare(corpus, out, ["asterisk"]))
    assert {path.name[-2:] for path in out.iterdir() if path.name not in (prepare.AUDIO, "few_zh", "dev_xx")} == {"en", "fr", "ru"}
    assert (out / "few_zh").is_dir() and (out / "dev_xx").is_dir()
    for part in ("train", "dev", "test"):
        assert f"{out / part}_zh: removed: an earlier preparation of other --parts made it" in summary
    assert "removed" not in str(prepare.prepare(corpus, out, ["asterisk"]))


def test_counts_are_pinned_for_every_set() -> None:
    langs = ("bg", "cs", "en", "es", "fr", "it", "nl", "ro", "ru", "zh")
    assert set(COUNTS) == {f"{split}_{lang}" for split in ("train", "dev", "test") for lang in langs}


def test_attribution_is_written_beside_the_packages(corpus: Path) -> None:
    write_attribution(corpus)
    assert "| gcin-voice, */5.ogg | Mandarin syllables | ChionMeilin" in (corpus / "ATTRIBUTION.md").read_text()
    assert (corpus / "licences/gcin-voice.txt").read_text() == "Copyright of gcin-voice\n"
    assert "CC-BY-SA-4.0" in (corpus / "licences/hsk-sentences-audio.txt").read_text()
