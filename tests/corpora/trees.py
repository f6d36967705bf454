"""Small copies of the public corpora: their layouts and file formats, filled with real speech of egs/mini."""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from tests.conftest import CORPUS

RATE = 16000
SPHERE = """NIST_1A
   1024
channel_count -i 1
sample_count -i {count}
sample_rate -i {rate}
sample_n_bytes -i 2
sample_byte_format -s2 01
sample_sig_bits -i 16
sample_coding -s3 pcm
end_head
"""


@cache
def prompts(lang: str) -> list[tuple[str, Path]]:
    """Text and recording of the prompts of two to six words."""
    with open(CORPUS / "transcripts.tsv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if 2 <= len(row[lang].split()) <= 6]
    return [(row[lang], CORPUS / "audio" / lang / f"{row['id'].replace('/', '_')}.opus") for row in rows]


def said(number: int, lang: str = "en") -> str:
    """The text of a prompt, cased and punctuated."""
    return prompts(lang)[number][0]


@cache
def wave(number: int, lang: str = "en") -> np.ndarray:
    """The samples of a prompt, float64 (N,) at 16 kHz."""
    return soundfile.read(prompts(lang)[number][1])[0]


def speak(path: Path, *numbers: int, lang: str = "en", rate: int = RATE) -> float:
    """Write prompts one after the other in the format that the name of the file says; returns the seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.concatenate([wave(number, lang) for number in numbers])
    samples = np.repeat(samples, rate // RATE)
    if path.suffix == ".sph":
        header = SPHERE.format(count=len(samples), rate=rate).encode().ljust(1024)
        path.write_bytes(header + np.round(samples * 32767).astype("<i2").tobytes())
    else:
        soundfile.write(path, samples, rate, **({"format": "OGG", "subtype": "OPUS"} if path.suffix == ".opus" else {}))
    return len(samples) / rate


def write_lines(path: Path, *lines: str) -> None:
    """Write a UTF-8 text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def librispeech(folder: Path, parts: tuple[str, ...] = ("train-clean-100", "dev-clean", "test-clean")) -> Path:
    """LibriSpeech with two speakers per part, the second of them with two chapters of two utterances; returns its folder."""
    root = folder / "LibriSpeech"
    write_lines(root / "SPEAKERS.TXT", ";ID |SEX| SUBSET |MINUTES| NAME")
    for index, part in enumerate(parts):
        for speaker, chapter in ((f"{index + 1}", "100"), (f"{index + 1}0", "200"), (f"{index + 1}0", "201")):
            names = [f"{speaker}-{chapter}-{number:04d}" for number in range(2)]
            for number, name in enumerate(names):
                speak(root / part / speaker / chapter / f"{name}.flac", index * 2 + number)
            lines = [f"{name} {said(index * 2 + number).upper().rstrip('.')}" for number, name in enumerate(names)]
            write_lines(root / part / speaker / chapter / f"{speaker}-{chapter}.trans.txt", *lines)
    return root


CHINESE = ("而 对 楼市 成交 抑制 作用 最 大 的 限 购", "也 成为 地方 政府 的 眼中 钉", "打开 空调", "今天 ２５ 度")


def aishell1(folder: Path) -> Path:
    """AISHELL-1 with one speaker per part, two utterances each, and in every part a recording without transcript; returns its folder."""
    root = folder / "data_aishell"
    lines = []
    for number, (part, speaker) in enumerate((("train", "S0002"), ("train", "S0003"), ("dev", "S0724"), ("test", "S0764"))):
        for n in range(3):
            utt = f"BAC009{speaker}W{121 + n:04d}"
            speak(root / "wav" / part / speaker / f"{utt}.wav", 2 + n)
            lines += [f"{utt} {CHINESE[(number + n) % 4]}"] if n else []  # the first is not transcribed
    write_lines(root / "transcript/aishell_transcript_v0.8.txt", *lines)
    return root


def aishell2(folder: Path, evaluation: str = "AISHELL-DEV-TEST-SET") -> Path:
    """AISHELL-2: iOS training data, and dev and test of two channels; returns the folder that holds both."""
    root = folder / "AISHELL-2"
    below = root / evaluation if evaluation else root
    sets = {root / "iOS/data": "IC", below / "iOS/dev": "ID", below / "iOS/test": "IT"}
    sets |= {below / "Android/dev": "AD", below / "Android/test": "AT"}
    for data, prefix in sets.items():
        wavs, texts = [], []
        for number in range(4):
            speaker, utt = f"{prefix[1]}000{number // 2}", f"{prefix}000{number // 2}W000{number}"
            speak(data / "wav" / speaker / f"{utt}.wav", 2 + number)
            wavs.append(f"{utt}\twav/{speaker}/{utt}.wav")
            texts.append(f"{utt}\t{CHINESE[number].replace(' ', '')}")
        write_lines(data / "wav.scp", *wavs)
        write_lines(data / "trans.txt", *texts)
    return root


def mls(folder: Path, ending: str = ".flac", language: str = "italian") -> Path:
    """One language of MLS: speakers 10 and 100 in train, the lists of limited supervision; returns the folder around it."""
    root = folder / f"mls_{language}{'_opus' if ending == '.opus' else ''}"
    for part, speakers in (("train", ("10", "100")), ("dev", ("20",)), ("test", ("30",))):
        lines = []
        for speaker in speakers:
            for number in range(8 if part == "train" else 2):
                name = f"{speaker}_7_{number:06d}"
                speak(root / part / "audio" / speaker / "7" / f"{name}{ending}", 2 + number % 4, lang="it")
                lines.append(f"{name}\t{said(2 + number % 4, 'it').lower().rstrip('.')}")
        write_lines(root / part / "transcripts.txt", *lines)
        write_lines(root / part / "segments.txt", *(f"{line.split()[0]}\thttp://x/y.mp3\t0.0\t1.0" for line in lines))
    limited = root / "train/limited_supervision"
    write_lines(limited / "9hr/handles.txt", *(f"100_7_{number:06d}" for number in range(3)))
    for fold in range(6):
        write_lines(limited / f"1hr/{fold}/handles.txt", f"10_7_{fold:06d}")
    return folder


def tedlium2(folder: Path) -> Path:
    """TED-LIUM 2 with one talk of four prompts per set, and what its STM files hold beside words; returns its folder."""
    root = folder / "TEDLIUM_release2"
    talks = (("train", "AlGore_2006", "<o,f0,male>"), ("dev", "BillGates_2010", "<F0_M>"), ("test", "JaneGoodall_2003", "<o,f0,female>"))
    for part, talk, label in talks:
        seconds = speak(root / part / "sph" / f"{talk}.sph", 2, 8, 2, 8)
        ends = np.cumsum([len(wave(number)) / RATE for number in (2, 8, 2, 8)])
        texts = (
            "all circuits(2) are busy now {NOISE} <unk>",
            "it 's call forward <sil> unconditional (AlGore_2006-0000211-0000480)",
            "ignore_time_segment_in_scoring",
            "i 'm sure you don 't forward {SMACK}",
        )
        lines = [";; a comment"]
        for start, end, text in zip((0.0, *ends), (*ends[:3], seconds), texts, strict=False):
            speaker = "inter_segment_gap" if text.startswith("ignore") else talk
            lines.append(f"{talk} 1 {speaker} {start:.2f} {end:.2f} {label} {text}")
        write_lines(root / part / "stm" / f"{talk}.stm", *lines)
    return root


def covost2(folder: Path, languages: tuple[str, ...] = ("it", "en")) -> Path:
    """Common Voice 4 at 48 kHz with a table of CoVoST 2 from every language into English, and two from English; returns the folder.

    All but English is spoken, and written, in Italian.
    """
    root = folder / "covost2"
    header = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent"
    for lang in languages:
        voice = "en" if lang == "en" else "it"
        speakers = [f"{lang}{letter * 8}" for letter in "aabbccddeeff"]
        clips = [(speaker, f"common_voice_{lang}_{number}.mp3", said(2 + number, voice)) for number, speaker in enumerate(speakers)]
        for number, (_, path, _) in enumerate(clips):
            speak(root / lang / "clips" / path, 2 + number, lang=voice, rate=48000)
        rows = ["\t".join((*clip, "2", "0", "", "", "")) for clip in clips]
        write_lines(root / lang / "validated.tsv", header, *rows[:10])
        write_lines(root / lang / "other.tsv", header, *rows[10:])
        write_lines(root / lang / "invalidated.tsv", header)
        splits = ("train", "train_covost", "dev", "test", "test", "dev_covost")
        for target in ("de", "zh-CN") if lang == "en" else ("en",):
            names = [clips[number][1] for number in (0, 1, 2, 4, 5, 6)]
            lines = [f'{name}\tHallo, \\"Welt\\" {target}!\t{split}' for name, split in zip(names, splits, strict=True)]
            write_lines(root / f"covost_v2.{lang}_{target}.tsv", "path\ttranslation\tsplit", *lines)
    return root


def wenetspeech(folder: Path, **more: object) -> Path:
    """WenetSpeech with two training recordings and one per evaluation set; `more` are fields of every segment; returns its folder."""
    root = folder / "WenetSpeech"
    audios = []
    for aid, below, subsets in (
        ("Y0000000001_--5llN02F84", "train/youtube/B00000", (["L"], ["L", "M", "S"], ["L", "M"], [])),
        ("P0000000002", "train/podcast/B00000", (["L"], ["L"], ["L"], ["L"])),
        ("DEV_T0000000000", "dev", (["DEV"],) * 3),
        ("TEST_NET_Y0000000003", "test_net", (["TEST_NET"],) * 3),
        ("TEST_MEETING_T0000000004", "test_meeting", (["TEST_MEETING"],) * 3),
    ):
        path = f"audio/{below}/{aid}.opus"
        seconds = speak(root / path, *(2, 3, 8, 10, 12, 13))
        segments = [
            {
                "sid": f"{aid}_S{2 * number:05d}",
                "confidence": 1.0 if subset else 0.7,
                "begin_time": 0.5 + 1.5 * number,
                "end_time": 1.9 + 1.5 * number,
                "subsets": subset,
                "text": CHINESE[2 + number % 2].replace(" ", ""),
                **more,
            }
            for number, subset in enumerate(subsets)
        ]
        about = {"aid": aid, "duration": seconds, "md5": "0" * 32, "path": path, "source": "youtube", "tags": ["drama"], "url": "http://x"}
        audios.append(about | {"segments": segments})
    root.mkdir(exist_ok=True)
    table = json.dumps({"version": "v1.0", "audios": audios}, ensure_ascii=False, indent=4)
    (root / "WenetSpeech.json").write_text(table, encoding="utf-8")
    return root


def own(folder: Path) -> Path:
    """Recordings of one's own: tables of three sets, with translations and stretches of a recording in the first; returns their folder."""
    root = folder / "own"
    for part, numbers in (("train", range(2, 10)), ("dev", range(10, 13)), ("test", range(13, 16))):
        rows = []
        for number in numbers:
            seconds = speak(root / part / f"{number}.wav", number, lang="it")
            rows.append([f"{part}/{number}.wav", f"anna{number % 2}", "it", said(number, "it")])
            if part == "train":
                rows[-1] += ["0.0", f"{seconds:.2f}", said(number)]
        header = ["path", "speaker", "lang", "text", *(["start", "end", "text.en"] if part == "train" else [])]
        write_lines(root / f"{part}.tsv", *("\t".join(row) for row in [header, *rows]))
    return root
