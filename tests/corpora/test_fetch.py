from __future__ import annotations

import re
import subprocess
import tarfile
from pathlib import Path

import pytest
from torchaudio.datasets import librispeech as torchaudio_librispeech
from torchaudio.datasets import tedlium as torchaudio_tedlium

from m2asr.bin.download import main
from m2asr.corpora import CORPORA, DOWNLOADS, ON_APPLICATION, aishell1, covost2, librispeech, mls, tedlium2
from m2asr.data.directory import read_table
from m2asr.errors import UserError
from tests.conftest import ROOT, command
from tests.corpora import packing, trees
from tests.corpora.bad import check_clean
from tests.corpora.packing import packed, pin
from tests.corpora.server import CONTENT, Server

Patch = pytest.MonkeyPatch


def sets(corpus: Path, name: str, untexted: tuple[str, ...] = ()) -> dict[str, int]:
    """Prepare what was downloaded: {set: utterances}."""
    out = corpus / "data"
    CORPORA[name](corpus, out)
    check_clean(out, untexted)
    return {path.name: len(read_table(path / "utt2spk")) for path in sorted(out.iterdir())}


def files(folder: Path) -> dict[str, bytes]:
    """{path: content} of all but hidden files."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def download(*line: object) -> None:
    assert main([*map(str, line)]) == 0


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_librispeech(server: Server, out: Path, tmp_path: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]) -> None:
    root = trees.librispeech(tmp_path)
    archives = packing.librispeech(root)
    for name, content in archives.items():
        monkeypatch.setitem(librispeech.ARCHIVES, name.removesuffix(".tar.gz"), pin(content))
    server.files = {f"/12/{name}": content for name, content in archives.items()}
    line = ["librispeech", "--out", out, "--mirror", f"{server.address}/12/", "--parts", "train-clean-100", "dev-clean"]
    download(*line)
    report = capsys.readouterr().out
    assert "2 archives, 2 fetched" in report and report.endswith(f"to prepare it: --corpus {out}/LibriSpeech\n")
    server.asked.clear()
    download(*line, "test-clean", "--remove_archives")
    assert server.asked == ["/12/test-clean.tar.gz"] and not list(out.glob("*.tar.gz"))
    assert files(out / "LibriSpeech") == files(root)
    assert sets(out / "LibriSpeech", "librispeech") == {"dev_clean": 6, "test_clean": 6, "train_clean_100": 6}


def test_a_file_that_is_not_the_pinned_one_is_refused(server: Server, out: Path) -> None:
    for name, part in (("librispeech", "dev-clean"), ("covost2", "fr_en")):
        with pytest.raises(UserError, match=rf" gives another file than the pinned one: {len(CONTENT)} bytes, not \d+; try"):
            download(name, "--out", out, "--mirror", server.address, "--parts", part)
        assert [path.name for path in out.iterdir()] == [".download.lock"]


def test_aishell1(server: Server, out: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    root = trees.aishell1(tmp_path)
    content = packing.aishell1(root)
    monkeypatch.setattr(aishell1, "PINNED", ("data_aishell.tgz", *pin(content, "md5")))
    server.files["/data_aishell.tgz"] = content
    download("aishell1", "--out", out, "--mirror", server.address)
    assert files(out / "data_aishell") == files(root)
    assert sets(out / "data_aishell", "aishell1", ("unlabelled",)) == {"dev": 2, "test": 2, "train": 4, "unlabelled": 2}
    spoiled = bytearray(content)
    spoiled[-1] ^= 1
    server.files["/data_aishell.tgz"] = bytes(spoiled)
    with pytest.raises(UserError, match=f"bytes with MD5 [0-9a-f]{{32}}, not {len(content)} with {pin(content, 'md5')[1]}"):
        download("aishell1", "--out", tmp_path / "other", "--mirror", server.address)


def test_tedlium2(server: Server, out: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    root = trees.tedlium2(tmp_path)
    content = packed({root.name: root})
    monkeypatch.setattr(tedlium2, "PINNED", ("TEDLIUM_release2.tar.gz", *pin(content)))
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/TEDLIUM_release2.tar.gz").write_bytes(content)
    download("tedlium2", "--out", out, "--mirror", (tmp_path / "disk").as_uri())
    assert files(out / "TEDLIUM_release2") == files(root)
    assert sets(out / "TEDLIUM_release2", "tedlium2") == {"dev": 3, "test": 3, "train": 3}


def test_mls_as_opus_is_checked_by_the_servers_list_or_remembered(
    server: Server, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = trees.mls(tmp_path, ".opus") / "mls_italian_opus"
    content = packed({root.name: root})
    server.files = {"/mls_italian_opus.tar.gz": content, "/md5sum.txt": f"{'0' * 32}  mls_italian_opus.tar.gz\n".encode()}
    line = ["mls", "--out", out, "--mirror", server.address, "--parts", "italian_opus"]
    with pytest.raises(UserError, match=f"gives another file than the pinned one: {len(content)} bytes with MD5 "):
        download(*line)
    server.files["/md5sum.txt"] = f"{'1' * 32}  mls_polish.tar.gz\n{pin(content, 'md5')[1]} *mls_italian_opus.tar.gz\n".encode()
    download(*line)
    assert "no published checksum" not in capsys.readouterr().out and not list(out.glob("*.sha256"))
    server.files["/md5sum.txt"] = b""  # a mirror without the list
    line[2] = out.with_name("other")
    download(*line)
    assert "mls_italian_opus.tar.gz: no published checksum: size and archive integrity are checked" in capsys.readouterr().out
    server.asked.clear()
    download(*line)
    assert not server.asked and [path.name for path in out.with_name("other").glob("*.sha256")] == ["mls_italian_opus.tar.gz.sha256"]
    for folder in (out, out.with_name("other")):
        assert files(folder / "mls_italian_opus") == files(root)
        assert sets(folder, "mls") == {"dev_it": 2, "test_it": 2, "train_1h_it": 6, "train_9h_it": 3, "train_it": 16}


def test_mls_as_flac(server: Server, out: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    root = trees.mls(tmp_path) / "mls_italian"
    content = packed({root.name: root})
    monkeypatch.setitem(mls.ARCHIVES, "italian", pin(content))
    server.files["/mls_italian.tar.gz"] = content
    download("mls", "--out", out, "--mirror", server.address, "--parts", "italian")
    assert server.asked == ["/mls_italian.tar.gz"] and sets(out, "mls")["train_it"] == 16
    with pytest.raises(UserError, match="name what you want of MLS, English alone has 2.4 TB.*english .* polish_opus"):
        download("mls", "--out", out)


def test_covost2_fetches_the_tables_and_tells_where_the_recordings_are(
    server: Server, out: Path, tmp_path: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = trees.covost2(tmp_path, ("it",))
    archives = packing.tables(root)
    (content,) = archives.values()
    monkeypatch.setattr(covost2, "TABLES", "it_en {} {}".format(*pin(content)))
    server.files = {f"/{name}": data for name, data in archives.items()}
    download("covost2", "--out", out, "--mirror", server.address, "--parts", "it_en", "--remove_archives")
    report = capsys.readouterr().out
    assert "cv-corpus-4-2019-12-10" in report and "mozilladatacollective.com" in report and report.endswith(f"--corpus {out}\n")
    (command_line,) = re.findall(r": (mkdir fr && tar xf fr\.tar\.gz -C fr)\n", report)
    with tarfile.open(out / "fr.tar.gz", "w:gz") as tar:  # as Mozilla packs a language
        for path in (root / "it").iterdir():
            tar.add(path, path.name)
    (out / "fr.tar.gz").rename(out / "it.tar.gz")
    subprocess.run(command_line.replace("fr", "it"), shell=True, cwd=out, check=True)
    (out / "it.tar.gz").unlink()
    assert files(out) == files(root)
    assert sets(out, "covost2", ("unlabelled_it",)).keys() == {"train_it", "dev_it", "test_it", "unlabelled_it"}


@pytest.mark.parametrize("name, where", [("aishell2", "aishelltech.com"), ("wenetspeech", "wenet-e2e"), ("commonvoice", "mozilla")])
def test_what_is_given_out_on_application_ends_in_a_message(name: str, where: str, out: Path) -> None:
    process = command("download", name, "--out", out)
    assert process.returncode == 1 and process.stderr.startswith(f"error: download {name}: ") and where in process.stderr
    assert process.stderr.count("\n") == 1 and not out.exists() and not ON_APPLICATION.keys() & DOWNLOADS.keys()


@pytest.mark.parametrize(
    "line, message",
    [
        (["librispeech", "--parts", "dev_clean"], "--parts dev_clean: no such part; did you mean `dev-clean`?"),
        (["tedlium2", "--parts", "dev"], "--parts dev: no such part; valid: all"),
        (["covost2", "--parts", "en_fr"], "--parts en_fr: no such part; "),
        (["mls", "--parts", "italian-opus"], "--parts italian-opus: no such part; did you mean `italian_opus`?"),
        (["debspeech", "--remove_archives"], "--remove_archives: debspeech is prepared from the packages themselves"),
    ],
)
def test_wrong_parts_are_named(line: list[str], message: str, out: Path) -> None:
    with pytest.raises(UserError) as error:
        main([*line, "--out", str(out)])
    assert message in str(error.value) and error.value.exit_code == 2 and not out.exists()


TEXTS = [path.read_text(encoding="utf-8") for name in ("run.sh", "README.md") for path in (ROOT / "egs").glob(f"*/{name}")]
COMMANDS = sorted({line for text in TEXTS for line in re.findall(r"-m m2asr\.bin\.download ([^$\n]*)$", text, re.M)})


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_of_the_recipes_are_right(line: str, out: Path, tmp_path: Path) -> None:
    words = line.split()
    words[words.index("--out") + 1] = str(out)
    with pytest.raises(UserError, match="there is no such file|MB are free") as error:
        download(*words, "--mirror", tmp_path.as_uri())
    assert error.value.exit_code == 1 and words[0] in DOWNLOADS


def test_archives_are_pinned_as_torchaudio_pins_them() -> None:
    """The other facts are copied from the sources that the docstrings name."""
    published = {address.replace("http:", "https:"): checksum for address, checksum in torchaudio_librispeech._CHECKSUMS.items()}
    assert {f"{librispeech.ADDRESS}/{part}.tar.gz": checksum for part, (_, checksum) in librispeech.ARCHIVES.items()} == published
    assert librispeech.ARCHIVES.keys() == librispeech.PARTS.keys()
    release = torchaudio_tedlium._RELEASE_CONFIGS["release2"]
    assert f"{tedlium2.ADDRESS}/{tedlium2.PINNED[0]}" == release["url"].replace("http:", "https:")
    assert tedlium2.PINNED[2] == release["checksum"]
    rows = [row.split() for row in covost2.TABLES.strip().splitlines()]
    assert [row[0] for row in rows] == covost2.PAIRS and mls.ARCHIVES.keys() == mls.LANGUAGES.keys() - {"english"}
    checksums = [row[2] for row in rows] + [checksum for _, checksum in [*librispeech.ARCHIVES.values(), *mls.ARCHIVES.values()]]
    assert len(set(checksums)) == len(checksums) == 36 + 7 + 7 and all(re.fullmatch("[0-9a-f]{64}", checksum) for checksum in checksums)


def test_language_models_of_librispeech(server: Server, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.files = {"/11/3-gram.arpa.gz": b"three", "/11/librispeech-lm-norm.txt.gz": b"text"}
    line = ["librispeech_lm", "--out", out, "--mirror", f"{server.address}/11", "--parts", "3-gram", "text"]
    download(*line)
    assert "no checksums are published" in capsys.readouterr().out
    assert (out / "3-gram.arpa.gz").read_bytes() == b"three" and (out / "librispeech-lm-norm.txt.gz").read_bytes() == b"text"
    server.asked.clear()
    download(*line)
    assert server.asked == []
    (out / "3-gram.arpa.gz").unlink()
    server.files["/11/3-gram.arpa.gz"] = b"other"
    with pytest.raises(UserError, match="3-gram.arpa.gz"):  # not what the first download was
        download(*line)
    with pytest.raises(UserError, match="--parts 5-gram: no such part"):
        download("librispeech_lm", "--out", out, "--parts", "5-gram")
