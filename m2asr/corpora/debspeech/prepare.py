"""Turns the packages into data directories: decodes recordings, and keeps linked texts in the same split."""

from __future__ import annotations

import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from m2asr.corpora.debspeech import asterisk, drascula, festvox, fillets, mandarin, steelsky, tuxpaint
from m2asr.corpora.debspeech.clips import SPLITS, Clip
from m2asr.corpora.debspeech.counts import COUNTS
from m2asr.corpora.debspeech.packages import paths, remotes, write_attribution
from m2asr.corpora.debspeech.sound import LONGEST, RATE, SHORTEST, SILENT, resample, write_flac
from m2asr.corpora.download import download
from m2asr.corpora.parts import choose_parts, pick_parts
from m2asr.corpora.sets import CorpusUtterance, write_sets
from m2asr.corpora.splits import split_groups
from m2asr.corpora.summary import Summary
from m2asr.data.directory import KIND, Utterance, read_table
from m2asr.errors import UserError
from m2asr.files import replace_dir
from m2asr.ownership import check_replaceable
from m2asr.progress import visible
from m2asr.text.normalize import normalize
from m2asr.text.scripts import mixed_tokens

Reader = Callable[[dict[str, Path]], Iterator[Clip]]

SOURCES: dict[str, Reader] = {
    "asterisk": asterisk.read,
    "festvox": festvox.read,
    "fillets": fillets.read,
    "tuxpaint": tuxpaint.read,
    "drascula": drascula.read,
    "steelsky": steelsky.read,
    "mandarin": mandarin.read,
}
TRAIN, DEV = 80, 90  # percent of the groups: train below 80, dev below 90, test from there
FASTEST = 25  # letters a second; nobody speaks faster, and CTC with a state every 40 ms cannot write more
AUDIO = "debspeech_audio"  # folder of the recordings, beside the sets
SCORED = 3  # words, in Chinese characters; shorter test utterances are not counted as scored


class WrittenClip(NamedTuple):
    """A clip whose recording has been written."""

    clip: Clip
    seconds: float


def fetch(out: Path, parts: Sequence[str] = (), mirror: str | None = None, remove: bool = False) -> str:
    """Download the packages of the sources `parts`, or of all, and write ATTRIBUTION.md with their authors; returns a report.

    Raises the UserErrors of `download`, and UserError for an unknown source, and for `remove`, since `prepare` reads the packages.
    """
    if remove:
        raise UserError("--remove_archives: debspeech is prepared from the packages themselves; leave it out", exit_code=2)
    files = [file for source in pick_parts(parts, list(SOURCES)) for file in remotes(source, mirror)]
    download(files, out)
    write_attribution(out)
    return f"{out}: {len(files)} files, {sum(file.size for file in files) / 1e6:.0f} MB; ATTRIBUTION.md names their authors"


def prepare(corpus: Path, out: Path, parts: Sequence[str] = (), max_bad: int = 0) -> Summary:
    """Write {train,dev,test}_<language> and the recordings under `out`; `corpus` holds the packages, `parts` are sources.

    utt2source has the source of every utterance, so that results can be reported per source. The split of a text depends on the texts that
    it is linked with, so with other sources some texts change their split. Raises UserError naming the damaged package or recording.
    """
    summary = Summary(max_bad=max_bad, origin="its packages")
    chosen = choose_parts(
        parts, list(SOURCES), lambda source: all(map(Path.is_file, paths(source, corpus).values())), _how_to_fetch, summary
    )
    if not chosen:
        example = paths("asterisk", corpus)["asterisk-core-sounds-en"].name
        command = f"python -m m2asr.bin.download debspeech --out {corpus}"
        raise UserError(f"--corpus {corpus}: none of debspeech's sources is complete in it ({example} ...); fetch them with: {command}")
    if set(chosen) == set(SOURCES):
        summary.published = COUNTS
        summary.expect(COUNTS, required=False)
    with _remove_if_failed(out), replace_dir(out / AUDIO, "recordings") as folder:
        written = list(_write_sounds(_clips(corpus, chosen), folder, summary))
        texts = _normalized(written)
        splits = _split(texts)
        for clip, _ in written:
            if splits[clip.item] not in clip.splits:
                (folder / _path(clip)).unlink()
        written = [recording for recording in written if splits[recording.clip.item] in recording.clip.splits]
        written.sort(key=lambda recording: (recording.clip.lang, SPLITS.index(splits[recording.clip.item]), recording.clip.id))
        sets = [f"{splits[recording.clip.item]}_{recording.clip.lang}" for recording in written]
        utterances = [
            _utterance(clip, seconds, name, texts[clip.item], out / AUDIO) for (clip, seconds), name in zip(written, sets, strict=True)
        ]
        write_sets(out, utterances, summary)
    _remove_earlier(out, {name for utterance in utterances for name in utterance.sets}, summary)
    _note_sources(utterances, summary)
    return summary


def _remove_earlier(out: Path, names: set[str], summary: Summary) -> None:
    """Remove the sets of an earlier preparation of other sources: their recordings are gone, and its splits were different."""
    for folder in sorted(out.iterdir()):
        wavs = folder / "wav.scp"
        if folder.name in names or not re.fullmatch(rf"({'|'.join(SPLITS)})_[a-z]+", folder.name) or not wavs.is_file():
            continue
        if all(AUDIO in Path(wav).parts for wav in read_table(wavs).values()):
            gone = "an earlier preparation of other --parts made it, and its recordings are gone"
            try:
                check_replaceable(folder, KIND)
                shutil.rmtree(folder)
                summary.note(f"{folder}: removed: {gone}")
            except UserError as error:
                summary.note(f"{folder}: {gone}; not removed: {error}")


@contextmanager
def _remove_if_failed(out: Path) -> Iterator[None]:
    """If the block fails, remove a folder `out` that did not exist before and is empty."""
    new = not out.exists()
    try:
        yield
    except BaseException:
        if new and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        raise


def _how_to_fetch(source: str) -> str:
    return f"its packages: python -m m2asr.bin.download debspeech --parts {source}"


def _clips(corpus: Path, sources: Sequence[str]) -> Iterator[Clip]:
    for source in sources:
        files, empty = paths(source, corpus), True
        for clip in SOURCES[source](files):
            empty = False
            yield clip
        if empty:
            raise UserError(f"{', '.join(map(str, files.values()))}: no recording in it; remove it and fetch it again")


def _path(clip: Clip) -> Path:
    return Path(clip.source, clip.lang, f"{clip.id}.flac")


def _write_sounds(clips: Iterator[Clip], folder: Path, summary: Summary) -> Iterator[WrittenClip]:
    """Decode, resample and write the recordings that have a text and a fitting length."""
    for clip in tqdm(clips, unit="utt", disable=not visible()):
        if clip.lang not in clip.texts:
            summary.drop("no text in its language", clip.id)
            continue
        try:
            sound = clip.sound()
        except UserError as error:
            summary.bad(f"{clip.id}: {error}")
            continue
        if sound is None:
            summary.drop("a syllable of it was not recorded", clip.id)
        elif not SHORTEST <= len(sound[0]) / sound[1] <= LONGEST:
            summary.drop(f"not {SHORTEST} to {LONGEST} s long", clip.id)
        elif abs(sound[0]).max() < SILENT:
            summary.drop("silent", clip.id)
        elif _length(normalize(clip.texts[clip.lang], clip.lang)) > int(FASTEST * len(sound[0]) / sound[1]):
            summary.drop(f"more than {FASTEST} letters a second: the text differs from the speech", clip.id)
        else:
            wave = resample(*sound)
            write_flac(folder / _path(clip), wave)
            yield WrittenClip(clip._replace(sound=None), len(wave) / RATE)


def _length(text: str) -> int:
    """Letters, and a pause between two equal ones, as CTC writes them."""
    return len(text) + sum(letter == following for letter, following in pairwise(text))


def _normalized(written: Sequence[WrittenClip]) -> dict[str, dict[str, str]]:
    """The normalized texts of every item by language; texts without a word are left out."""
    texts = {clip.item: clip.texts for clip, _ in written}
    normalized = {item: {lang: normalize(text, lang) for lang, text in by_language.items()} for item, by_language in texts.items()}
    return {item: {lang: text for lang, text in by_language.items() if text} for item, by_language in normalized.items()}


def _split(texts: dict[str, dict[str, str]]) -> dict[str, str]:
    """The split of every item; items with the same text in any language are in the same split."""
    items_of: dict[tuple[str, str], list[str]] = defaultdict(list)  # language, text -> items
    for item, by_language in texts.items():
        for lang, text in by_language.items():
            items_of[lang, text].append(item)
    return split_groups([*([item] for item in texts), *items_of.values()], TRAIN, DEV)


def _utterance(clip: Clip, seconds: float, name: str, texts: dict[str, str], folder: Path) -> CorpusUtterance:
    """An utterance of the set `name`; an equal text in another language, such as a name, is no translation."""
    text = texts.get(clip.lang, "")
    translations = {lang: clip.texts[lang] for lang in texts if lang != clip.lang and texts[lang] != text}
    utterance = Utterance(clip.id, clip.speaker, clip.lang, str(folder / _path(clip)), seconds, text, translations, source=clip.source)
    return CorpusUtterance(clip.id, (name,), utterance)


def _note_sources(utterances: Sequence[CorpusUtterance], summary: Summary) -> None:
    """Note the sources of the sets in the summary."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    scored: Counter[str] = Counter()
    pairs = 0
    for item in utterances:
        if item.utterance.text:
            counts[item.utterance.lang][item.utterance.source] += 1
            scored[item.sets[0]] += len(mixed_tokens(item.utterance.text)) >= SCORED
            pairs += len(item.utterance.translations)
    for lang, sources in counts.items():
        sources_text = ", ".join(f"{source} {number}" for source, number in sources.items())
        summary.note(f"{lang}: {sources_text}; test utterances of {SCORED} words or more: {scored[f'test_{lang}']}")
    summary.note(f"utterance and translation: {pairs} pairs")
