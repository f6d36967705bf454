"""From the packages to data directories: recordings are decoded, texts that anything links stay in one part."""

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
from m2asr.corpora.debspeech.clips import PARTS, Clip
from m2asr.corpora.debspeech.counts import MADE
from m2asr.corpora.debspeech.packages import paths, remotes, write_attribution
from m2asr.corpora.debspeech.sound import LONGEST, RATE, SHORTEST, SILENT, resample, write_flac
from m2asr.corpora.download import download
from m2asr.corpora.parts import choose_parts, pick_parts
from m2asr.corpora.sets import Found, write_sets
from m2asr.corpora.splits import split_groups
from m2asr.corpora.summary import Summary
from m2asr.data.directory import Utterance, read_table
from m2asr.errors import UserError
from m2asr.files import replace_dir
from m2asr.progress import visible
from m2asr.text.normalize import UNSPACED, normalize

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
FASTEST = 25  # letters a second; nobody says more, and CTC writes no more at a state every 40 ms
AUDIO = "debspeech_audio"  # folder of the recordings, beside the sets
SCORED = 3  # words, of Chinese characters; shorter test utterances are not scored


class Kept(NamedTuple):
    """A clip whose recording has been written."""

    clip: Clip
    seconds: float


def fetch(out: Path, parts: Sequence[str] = (), mirror: str | None = None, remove: bool = False) -> str:
    """Download the packages of the sources `parts`, or of all, and write whose work they are; returns what is there."""
    if remove:
        raise UserError("--remove_archives: debspeech is prepared from the packages themselves; leave it out", exit_code=2)
    files = [file for part in pick_parts(parts, list(SOURCES)) for file in remotes(part, mirror)]
    download(files, out)
    write_attribution(out)
    return f"{out}: {len(files)} files, {sum(file.size for file in files) / 1e6:.0f} MB; ATTRIBUTION.md says whose work they are"


def prepare(corpus: Path, out: Path, parts: Sequence[str] = (), max_bad: int = 0) -> Summary:
    """Write {train,dev,test}_<language> and the recordings under `out`; `corpus` holds the packages, `parts` are sources.

    utt2source has the source of every utterance, so that results can be told per source. Which part a text is in depends on the texts
    that it is linked with, so with other sources some change parts. Raises UserError naming the package or recording that is broken.
    """
    summary = Summary(max_bad=max_bad, origin="its packages")
    chosen = choose_parts(parts, list(SOURCES), lambda part: all(map(Path.is_file, paths(part, corpus).values())), _how_to_fetch, summary)
    if not chosen:
        first = paths("asterisk", corpus)["asterisk-core-sounds-en"].name
        command = f"python -m m2asr.bin.download debspeech --out {corpus}"
        raise UserError(f"--corpus {corpus}: none of debspeech's sources is whole in it ({first} ...); fetch them with: {command}")
    if set(chosen) == set(SOURCES):
        summary.published = MADE
        summary.expect(MADE, asked=False)
    with _nothing_left(out), replace_dir(out / AUDIO) as folder:
        kept = list(_write_sounds(_clips(corpus, chosen), folder, summary))
        said = _normalized(kept)
        part = _split(said)
        for clip, _ in kept:
            if part[clip.item] not in clip.parts:
                (folder / _path(clip)).unlink()
        kept = [one for one in kept if part[one.clip.item] in one.clip.parts]
        kept.sort(key=lambda one: (one.clip.lang, PARTS.index(part[one.clip.item]), one.clip.id))
        found = [_found(clip, seconds, f"{part[clip.item]}_{clip.lang}", said[clip.item], out / AUDIO) for clip, seconds in kept]
        write_sets(out, found, summary)
    _remove_earlier(out, {name for one in found for name in one.sets}, summary)
    _note_sources(found, summary)
    return summary


def _remove_earlier(out: Path, made: set[str], summary: Summary) -> None:
    """Remove the sets that a preparation of other sources has left: their recordings are gone, and it split the texts otherwise."""
    for folder in sorted(out.iterdir()):
        wavs = folder / "wav.scp"
        if folder.name in made or not re.fullmatch(rf"({'|'.join(PARTS)})_[a-z]+", folder.name) or not wavs.is_file():
            continue
        if all(AUDIO in Path(wav).parts for wav in read_table(wavs).values()):
            shutil.rmtree(folder)
            summary.note(f"{folder}: removed: an earlier preparation of other --parts made it, and its recordings are gone")


@contextmanager
def _nothing_left(out: Path) -> Iterator[None]:
    """Where `out` was not there before, and the block fails, it is not there afterwards."""
    new = not out.exists()
    try:
        yield
    except BaseException:
        if new and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        raise


def _how_to_fetch(part: str) -> str:
    return f"its packages: python -m m2asr.bin.download debspeech --parts {part}"


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


def _write_sounds(clips: Iterator[Clip], folder: Path, summary: Summary) -> Iterator[Kept]:
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
            summary.drop(f"more than {FASTEST} letters a second: another text than what is said", clip.id)
        else:
            wave = resample(*sound)
            write_flac(folder / _path(clip), wave)
            yield Kept(clip._replace(sound=None), len(wave) / RATE)


def _length(text: str) -> int:
    """Letters, and a pause between two equal ones, as CTC writes them."""
    return len(text) + sum(one == other for one, other in pairwise(text))


def _normalized(kept: Sequence[Kept]) -> dict[str, dict[str, str]]:
    """What is said in an item, by language, as recognition writes it; texts without a word are left out."""
    texts = {clip.item: clip.texts for clip, _ in kept}
    said = {item: {lang: normalize(text, lang) for lang, text in found.items()} for item, found in texts.items()}
    return {item: {lang: text for lang, text in found.items() if text} for item, found in said.items()}


def _split(said: dict[str, dict[str, str]]) -> dict[str, str]:
    """Part of every item: those that are said alike in any language, or have the same translation, stay together."""
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)  # language, text -> items
    for item, texts in said.items():
        for lang, text in texts.items():
            alike[lang, text].append(item)
    return split_groups([*([item] for item in said), *alike.values()], TRAIN, DEV)


def _found(clip: Clip, seconds: float, name: str, said: dict[str, str], folder: Path) -> Found:
    """An utterance of the set `name`; a text that is written alike in another language, as names are, is no translation."""
    text = said.get(clip.lang, "")
    others = {lang: clip.texts[lang] for lang in said if lang != clip.lang and said[lang] != text}
    one = Utterance(clip.id, clip.speaker, clip.lang, str(folder / _path(clip)), seconds, text, others, source=clip.source)
    return Found(clip.id, (name,), one)


def _note_sources(found: Sequence[Found], summary: Summary) -> None:
    """Say what the sets come from."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    scored: Counter[str] = Counter()
    pairs = 0
    for one in found:
        if one.utterance.text:
            counts[one.utterance.lang][one.utterance.source] += 1
            words = one.utterance.text if one.utterance.lang in UNSPACED else one.utterance.text.split()
            scored[one.sets[0]] += len(words) >= SCORED
            pairs += len(one.utterance.translations)
    for lang, sources in counts.items():
        what = ", ".join(f"{source} {number}" for source, number in sources.items())
        summary.note(f"{lang}: {what}; test utterances of {SCORED} words or more: {scored[f'test_{lang}']}")
    summary.note(f"utterance and translation: {pairs} pairs")
