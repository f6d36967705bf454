"""CoVoST 2: translations of Common Voice 4 from English into 15 languages and from 21 languages into English.

<language>/{validated.tsv, other.tsv, clips/*.mp3} of Common Voice (client_id, path, sentence, ...), covost_v2.<source>_<target>.tsv (path,
translation, split) beside the languages or in them. Splits as get_covost_splits.py of github.com/facebookresearch/covost makes them;
counts: data set card of facebook/covost2; archives of the tables: datasets 1.18.4 (covost2/dataset_infos.json).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from m2asr.config import nearest
from m2asr.corpora.archives import archive, fetch_archives
from m2asr.corpora.parts import need, pick_parts
from m2asr.corpora.sets import CorpusUtterance, with_seconds, write_sets
from m2asr.corpora.summary import Published, Summary
from m2asr.corpora.tables import UniqueIds, tsv_rows
from m2asr.data.directory import Utterance
from m2asr.errors import UserError
from m2asr.text.normalize import normalize

COUNTS = {  # source language: utterances of train, dev and test, the same for every target
    **{"en": (289430, 15531, 15531), "fr": (207374, 14760, 14760), "de": (127834, 13511, 13511), "ca": (95854, 12730, 12730)},
    **{"es": (79015, 13221, 13221), "fa": (53949, 3445, 3445), "it": (31698, 8940, 8951), "ru": (12112, 6110, 6300)},
    **{"pt": (9158, 3318, 4023), "zh-CN": (7085, 4843, 4898), "nl": (7108, 1699, 1699), "tr": (3966, 1624, 1629)},
    **{"et": (1782, 1576, 1571), "mn": (2067, 1761, 1759), "ar": (2283, 1758, 1695), "sv-SE": (2160, 1349, 1595)},
    **{"lv": (2337, 1125, 1629), "sl": (1843, 509, 360), "ta": (1358, 384, 786), "ja": (1119, 635, 684), "id": (1243, 792, 844)},
    "cy": (1241, 690, 690),
}
INTO = ("de", "tr", "fa", "sv-SE", "mn", "zh-CN", "cy", "ca", "sl", "et", "id", "ar", "ta", "lv", "ja")
PAIRS = [*(f"en_{target}" for target in INTO), *(f"{source}_en" for source in COUNTS if source != "en")]
SPLITS = {"train": "train", "train_covost": "train", "dev": "dev", "test": "test"}
ORIGIN = "covost_v2.*.tsv (github.com/facebookresearch/covost) and Common Voice 4"
RELEASE = "cv-corpus-4-2019-12-10"
ADDRESS = "https://dl.fbaipublicfiles.com/covost"
TABLES = """
en_de 25779505 f414705b6197cc9a30cf05f8fc4471c8e99809a2c1f2c1da24a7ba617f42fce2
en_tr 23659131 9cfb1533cd2226c6ed13fe9462b2ecc5ebc9bb50fc0eb7d0dfe8a68ee4873d42
en_fa 26148420 d255d629f604aa32ea06dbb612acf7602221bb0e05ad0d652ad0cf9ba6894532
en_sv-SE 23671482 0c591c50b3b13db4df9365802c2cf8a69c3db00a39da6306fc44e76a1b25b4b6
en_mn 27527436 7ef1b63adb5cb6bbc7a1f3cfa7c2ceab9a83d99aa4727ba894d101b7b320beb7
en_zh-CN 24280932 7509b7c587326ef094c1e639111aef13f3888d26f707672dadec4d37d8e501d8
en_cy 24224499 72173329cec05fc70efbf9efa2144a3cc4fbbf3c2e59c01d176a8960f40d0da7
en_ca 24167201 efbcd8fcc730ce3900adb274d0842ad65980a559de0a840d4a8bcbe94eabf774
en_sl 23421999 4af4f68bbc89527f0cce69c99721a27ae13ec98faaba38436b742ad3a9999393
en_et 23223843 4966b7215adf6d29ad5d9c91030025b245c79c460594c0a0c8fbc2a95916e0ab
en_id 22904065 f2948f3473fafe6b437e8b55949b059d21da5b9893bd011f6d650a6bcba98f79
en_ar 25301304 cd780ad364b8b246b16cf76e4d8e14e21ca29e70b247a10856a923736e973122
en_ta 30037790 e95519f0157a779315bf8f75496f71a3fae7be5fec0375ca8fb217d6f1aac6fa
en_lv 24573927 b3bbbdf9ab66df79a00724145d43669305460c345bce950f0f2e252900b8bd53
en_ja 26664247 2308c0b1737cc3ed7662d7e1a748b29da71ea9023681a617bd51a81c11889671
fr_en 7282129 596d42accc976c607e7b4bd53903a0a03d5036af3b3ea276d7ff188981bb5b2f
de_en 9926797 a64efc469ba7bd392de32538acf49ff05ac7fe83dd705b9a2a07573e63a2fedd
ca_en 5021926 acbdbc2b365ac2d192f802b2df2b4796070044e6782193bd0eca5d08e514def1
es_en 3202080 aafb7255c00444cbff44ca92a947e16c8f7297f326b332f78b427f4f80240b97
fa_en 3864623 1882aea149ce2ae9c553c41c2b7b6c837c4fc648a1a381705107e91679198e17
it_en 1691247 da63a3ddf926a595971412e8fdf702405945ea6f9c6ac9de652a94fd6713183d
ru_en 1443078 4d23d3d771234ef1e4afd0fb62231d3e9490cebb4c445997715607feef806fec
pt_en 476419 944cf077d47a0ee360fcde34ff42a77f4e898a6446c26ca9402ff543ef91e63b
zh-CN_en 587550 7a49bba59f8a05b68385e686a878332fb66080c12d4d85dc02b10f3f935447a4
nl_en 543795 1cd5baf7282e6556d7463d26ae28cc717a64b9b7875bd1b38f226e04498b2336
tr_en 280904 23130548e8ff9433c74b2193e0bc39d04d2aacb811841f592a7b35d358fad697
et_en 246569 e0beadd6013b74efc2642c2289a67a0a3243bdbc5dc470798440b7538207eba0
mn_en 189710 9bf7633e24a9742211aeeebaee931d22e04a7e91a87e40d4f4957d408aa3dff4
ar_en 109802 a8f7f8e393cc78aea1382e021bd6adf4ff75ee4ae96cddd96c80291fcc8c87cf
sv-SE_en 96161 f4d9931ef0884eb601e1d6ac7b95893ac0b88534c72c1404c64ae0b4bd2d7c81
lv_en 88836 c13ae5b001698f772c683450d121c9a9dccdfd0c90184f75429d65e9f846dfe3
sl_en 58445 6f2e6f2bc8018fff0466030cd385837e89e482d162bee9d5bca269dcbc7eab69
ta_en 55659 03176367953cde717c1b6c19d21f2a0298f07f3459f5ef24866a44988eaea335
ja_en 54666 2ca0ca6607a58cee36c72c43b916a5ffb9bc920a766806751aea6e1620a4371f
id_en 51755 4e6b58e66b5a7cbba543895ee1ffbdf5b49018e1274f7fe5b045ecb6be467095
cy_en 875557 73fd49342e27636ab4bd84b3c2762a2803d4ddaa01b98032ba79228335e9560c
"""  # pair, bytes, SHA-256 of covost_v2.<pair>.tsv.tar.gz
VOICES = (
    f"Common Voice 4 ({RELEASE}) is given out by Mozilla to those who accept its terms (mozilladatacollective.com); the old public "
    "addresses are closed, and users report that only later versions are listed, so ask there for version 4; each language goes into a "
    "folder of its own beside the tables, fr/{validated.tsv,other.tsv,clips/*.mp3}: mkdir fr && tar xf fr.tar.gz -C fr"
)


class Clip(NamedTuple):
    """A clip of CoVoST 2: the file:line that names it first, its split, {target language: translation}."""

    location: str
    split: str
    translations: dict[str, str]


def fetch(out: Path, parts: Sequence[str] = (), mirror: str | None = None, remove: bool = False) -> str:
    """Download and extract the tables of the pairs (fr_en), or of all; `mirror` is an address that has them. Returns the next steps."""
    pinned = {pair: (int(size), checksum) for pair, size, checksum in map(str.split, TABLES.strip().splitlines())}
    tables = {pair: f"covost_v2.{pair}.tsv" for pair in pick_parts(parts, PAIRS)}
    archives = [archive(f"{table}.tar.gz", *pinned[pair], mirror or ADDRESS, table, growth=6.0) for pair, table in tables.items()]
    return f"{fetch_archives(archives, out, remove)}\n{VOICES}\nto prepare it: --corpus {out}"


def prepare(corpus: Path, out: Path, parts: Sequence[str] = (), max_bad: int = 0) -> Summary:
    """Write train_de, dev_de, test_de with text.en, likewise for the other source languages, and unlabelled_de; parts are pairs (de_en).

    A set has a text.<target> per pair of its source language. Unlabelled are the clips of validated.tsv and other.tsv that CoVoST 2 does
    not use, without those of any speaker whose clips are dev or test in some pair or in Common Voice itself. The speaker is the client_id.
    Raises UserError naming the missing or broken file.
    """
    splits = ("train", "dev", "test")
    published = {f"{split}_{_code(lang)}": Published(n) for lang, row in COUNTS.items() for split, n in zip(splits, row, strict=True)}
    summary = Summary(published, max_bad, ORIGIN)
    tables = _tables(corpus)
    for source in COUNTS:
        if (corpus / source / "clips").is_dir() and not any(pair.startswith(f"{source}_") for pair in tables):
            summary.note(f"{corpus / source}: Common Voice without translations; to have it, fetch covost_v2.{source}_en.tsv")
    for pair in parts:
        if pair not in tables:
            raise UserError(f"--parts {pair}: {corpus} has no covost_v2.{pair}.tsv; fetch it, or {nearest(pair, tables)}")
    sources: dict[str, dict[str, Path]] = defaultdict(dict)
    for pair in parts or tables:
        source, target = pair.split("_")
        sources[source][target] = tables[pair]
    summary.expect((f"{split}_{_code(source)}" for source in sources for split in splits), required=bool(parts))
    folders = {source: _voices(corpus, source, pairs) for source, pairs in sources.items()}
    all_tables = {source: [table for pair, table in tables.items() if pair.startswith(f"{source}_")] for source in sources}
    utterances = (
        utterance
        for source, pairs in sources.items()
        for utterance in _read_utterances(source, folders[source], pairs, all_tables[source], summary)
    )
    return write_sets(out, with_seconds(utterances, summary), summary)


def _code(language: str) -> str:
    """The language code without the country, zh of zh-CN, as utt2lang has it."""
    return language.partition("-")[0]


def _tables(corpus: Path) -> dict[str, Path]:
    """{pair: its TSV}, in the order of PAIRS."""
    names = {f"covost_v2.{pair}.tsv": pair for pair in PAIRS}
    paths = {names[path.name]: path for path in [*corpus.glob("*/covost_v2.*.tsv"), *corpus.glob("covost_v2.*.tsv")] if path.name in names}
    if not paths:
        first = "; covost.*.tsv is version 1" if [*corpus.glob("covost.*.tsv"), *corpus.glob("*/covost.*.tsv")] else ""
        packed = "; extract covost_v2.*.tsv.tar.gz" if list(corpus.rglob("covost_v2.*.tar.gz")) else ""
        raise UserError(f"--corpus {corpus}: no covost_v2.<source>_<target>.tsv in it or one folder below{first}{packed}; fetch them from "
                        "github.com/facebookresearch/covost")  # fmt: skip
    return {pair: paths[pair] for pair in PAIRS if pair in paths}


def _voices(corpus: Path, source: str, pairs: Mapping[str, Path]) -> Path:
    """The folder of a Common Voice language."""
    fetch = f"fetch {source} of Common Voice 4 ({RELEASE}) into {corpus / source}"
    folders = [corpus / source, corpus / RELEASE / source, *(path.parent for path in pairs.values())]
    folder = next((candidate for candidate in folders if (candidate / "validated.tsv").exists()), None)
    if folder is None:
        if versions := [path for path in corpus.glob(f"cv-corpus-*/{source}") if path.parent.name != RELEASE]:
            raise UserError(f"{versions[0]}: another version of Common Voice, CoVoST 2 is built on version 4; {fetch}")
        raise UserError(f"{corpus / source / 'validated.tsv'}: not found; {fetch}")
    need(folder / "clips", fetch)
    return folder


def _read_utterances(
    source: str, folder: Path, pairs: Mapping[str, Path], tables: Sequence[Path], summary: Summary
) -> Iterator[CorpusUtterance]:
    """The clips of a source language; `tables` are all its tables, `pairs` those of the requested targets."""
    lang, ids = _code(source), UniqueIds(summary)
    clips, evaluation = _clips(pairs, summary), _evaluation(folder, tables, summary)
    speakers: set[str] = set()  # of dev and test
    unused: list[tuple[str, str, str]] = []  # file:line, client_id and path of clips that CoVoST 2 does not use
    for location, row in _voice_rows(folder / "validated.tsv", ids, summary):
        speaker, path = row["client_id"], row["path"]
        if path in evaluation:
            speakers.add(speaker)
        clip = clips.pop(path, None)
        if clip is None:
            unused.append((location, speaker, path))
        elif not row["sentence"].strip():
            summary.bad(f"{location}: the column `sentence` of {path} is empty; fetch Common Voice 4 again")
        else:
            text = normalize(row["sentence"], lang)
            yield CorpusUtterance(location, (f"{clip.split}_{lang}",), _utterance(folder, speaker, path, lang, text, clip.translations))
    for path, clip in clips.items():
        summary.bad(f"{clip.location}: {path}: {folder / 'validated.tsv'} does not have it; CoVoST 2 needs Common Voice 4 ({RELEASE})")
    if (folder / "other.tsv").exists():
        unused += [(location, row["client_id"], row["path"]) for location, row in _voice_rows(folder / "other.tsv", ids, summary)]
    speakers |= {speaker for _, speaker, path in unused if path in evaluation}
    for clip in (folder / "clips").iterdir():
        if clip.name not in ids.locations:
            summary.drop("clips that neither validated.tsv nor other.tsv names", clip.name)
    for location, speaker, path in unused:
        if speaker not in speakers and path not in evaluation:
            yield CorpusUtterance(location, (f"unlabelled_{lang}",), _utterance(folder, speaker, path, lang, None, {}))
        else:
            summary.drop("of a speaker of dev or test, so not in unlabelled", path)


def _utterance(folder: Path, speaker: str, path: str, lang: str, text: str | None, translations: dict[str, str]) -> Utterance:
    wav = folder / "clips" / path
    return Utterance(f"{speaker}-{wav.stem}", speaker, lang, str(wav), 0.0, text, translations)


def _voice_rows(table: Path, ids: UniqueIds, summary: Summary) -> Iterator[tuple[str, dict[str, str]]]:
    """file:line and columns of the clips of a Common Voice table; those without path or speaker, or with a repeated path, are bad."""
    for location, row in tsv_rows(table, ("client_id", "path", "sentence"), summary):
        if empty := [name for name in ("client_id", "path") if not re.fullmatch(r"\S+", row[name])]:
            summary.bad(f"{location}: the column `{empty[0]}` is empty or holds a space; fetch Common Voice 4 again")
        elif ids.add(row["path"], location):
            yield location, row


def _evaluation(folder: Path, tables: Sequence[Path], summary: Summary) -> set[str]:
    """The paths of all clips that are dev or test in a table of CoVoST or in Common Voice."""
    rows = (row for table in tables for _, row in tsv_rows(table, ("path", "split"), summary))
    covost = {row["path"] for row in rows if row["split"].startswith(("dev", "test"))}
    voice_tables = [folder / name for name in ("dev.tsv", "test.tsv") if (folder / name).exists()]
    return covost | {row["path"] for table in voice_tables for _, row in tsv_rows(table, ("path",), summary)}


def _clips(pairs: Mapping[str, Path], summary: Summary) -> dict[str, Clip]:
    """{path: clip} of the clips that CoVoST 2 uses."""
    clips: dict[str, Clip] = {}
    for target, table in pairs.items():
        ids = UniqueIds(summary)
        for location, row in tsv_rows(table, ("path", "translation", "split"), summary):
            path, split = row["path"], SPLITS.get(row["split"])
            empty = [name for name in ("path", "split", "translation") if not row[name].strip()]
            if empty and (split or empty[0] != "translation"):
                summary.bad(f"{location}: the column `{empty[0]}` is empty; fetch {table.name}.tar.gz again")
            elif split is None:
                summary.drop(f"in no split of CoVoST 2 (`{row['split']}`)", path)
            elif ids.add(path, location):
                clip = clips.setdefault(path, Clip(location, split, {}))
                if clip.split != split:
                    summary.bad(f"{location}: {path} is in {split} here and in {clip.split} in {clip.location}; fetch both tables again")
                else:
                    clip.translations[_code(target)] = " ".join(row["translation"].split())
    return clips
