"""The packages of debspeech, as of Debian 12: the files to fetch, and their authors."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

from m2asr.corpora.debs import package_files
from m2asr.corpora.download import Remote
from m2asr.errors import UserError
from m2asr.files import open_atomic

# source, package, version, folder in the archive's pool/main, architecture, bytes, SHA-256
# ruff: noqa: E501 - a row is a line
TABLE = """
asterisk asterisk-core-sounds-en 1.6.1-1 a/asterisk-core-sounds all 22844 973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50
asterisk asterisk-core-sounds-en-g722 1.6.1-1 a/asterisk-core-sounds all 10565860 38c5261820b406dcb0ecb37675720da2b0864850690690352ca52707eb623806
asterisk asterisk-core-sounds-es 1.6.1-1 a/asterisk-core-sounds all 22012 9afdab7f559f036649fb406e625899306ca1004df8ebe39c30bfbd5912d66f74
asterisk asterisk-core-sounds-es-g722 1.6.1-1 a/asterisk-core-sounds all 13048380 e4e3b4281057d3b81b779298fd6be705f57411513955c518eed1bcaabbd615b8
asterisk asterisk-core-sounds-fr 1.6.1-1 a/asterisk-core-sounds all 23152 04c82c78c570c43a7136cbc5e2488d0c470b775468dff9fbce4a131b18cf1056
asterisk asterisk-core-sounds-fr-g722 1.6.1-1 a/asterisk-core-sounds all 10822860 7add61d5e42279ecff1bbdf842a5a946ac3644fac9a0fe44384731aa7270c8e0
asterisk asterisk-core-sounds-it 1.6.1-1 a/asterisk-core-sounds all 23972 3884d9457e12f21caa018c18f0d587df5d53ebea14b673d8453a134c5941ab3b
asterisk asterisk-core-sounds-it-g722 1.6.1-1 a/asterisk-core-sounds all 10087176 46b4cf7afc508a5fcfc051b7ea233251c0d195dd4ef83cc4b7facb4c6429b016
asterisk asterisk-core-sounds-ru 1.6.1-1 a/asterisk-core-sounds all 25592 28a61616bb0cd3345a7ea532dec4df9f071e5d0fa9f8c1a563ea9669002f39ab
asterisk asterisk-core-sounds-ru-g722 1.6.1-1 a/asterisk-core-sounds all 10579440 673b4238a6b8269960f055d868c6a11083f7a0d00979167cb01554046b48ed9b
festvox festvox-ru 0.5+dfsg-6 f/festvox-ru all 178728512 21ef3f0f2978ecf2e2eddb367cb0ff4a72572196d28dc69feb84f4177af5e6c4
fillets fillets-ng-data 1.0.1-1.1 f/fillets-ng-data all 70633484 25de89afd8b1adf7bcace8290248a6a22c89cd42300317e69000e162c032cf84
fillets fillets-ng-data-cs 1.0.1-1.1 f/fillets-ng-data all 39042172 3ecef99b9456f1c80c9625c6f2418642b52d58e7167a46bad7a412db17991b14
fillets fillets-ng-data-nl 1.0.1-1.1 f/fillets-ng-data all 32593580 afb4443fda9ab507dee578b75be857d121718a1cd6017a474f30e0eb13dc9d10
tuxpaint tuxpaint-stamps-default 2022.06.04-1 t/tuxpaint-stamps all 160880444 6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34
drascula drascula 1.0+ds4-2 d/drascula all 26302044 ed4af8e2d41ad446e2f3b73533daa1804e2f13f62f596c0b02b8dc39544f22b4
drascula drascula-spanish 1.0+ds4-2 d/drascula all 13286564 87b5f12df3fcd7ca16097c802dff1ab55e40c9ebc21209fa3f031e1661b4b8e5
steelsky beneath-a-steel-sky 0.0372-8 b/beneath-a-steel-sky all 66024312 e2a25c880220c26a4dfd42904b878cc655afa1c72895f9c932befbd078622934
steelsky scummvm 2.7.0+dfsg-1 s/scummvm amd64 21477400 db6b301cbec31f05387bc7272bdca20a6badadfe5aa29f85a4250630833d3506
mandarin gcin-voice 0~20170223-3 g/gcin-voice all 7740240 6a0353f0294d06f7bd901bada3d5d9eec63b66c2ec029f92da3124d93d45de70
"""
HSK = Remote(
    "hsk_sentences_audio-1.0.0-py3-none-any.whl",
    884413,
    "9bf16cc7b48a24a10af83d377439d3c6f7571a380937f4645a1cd1590d5d0335",
    "pip:hsk-sentences-audio==1.0.0",
)


class Package(NamedTuple):
    """A pinned Debian package."""

    source: str
    name: str
    version: str
    pool: str
    arch: str
    size: int
    sha256: str

    @property
    def file(self) -> str:
        """Its file name."""
        return f"{self.name}_{self.version}_{self.arch}.deb"

    def remote(self, mirror: str | None) -> Remote:
        """The file to fetch: from a mirror, the address under which pool/ is, or through apt-get."""
        arch = "" if self.arch == "all" else f":{self.arch}"
        origin = f"{mirror.rstrip('/')}/pool/main/{self.pool}/{self.file}" if mirror else f"apt:{self.name}{arch}={self.version}"
        return Remote(self.file, self.size, self.sha256, origin)


PACKAGES = [Package(*row[:5], int(row[5]), row[6]) for row in map(str.split, TABLE.strip().splitlines())]

ATTRIBUTION = """# What is in this folder, and whose work it is

Packages of Debian 12, and one of PyPI, unchanged. Their own copyright files are in `licences/`. What is prepared of them is changed: the
recordings are decoded, made one channel of 16 kHz and written as FLAC, texts are repaired and normalized, syllables are joined to sentences.

| packages | what | who | licence |
|---|---|---|---|
| asterisk-core-sounds-en, -es | telephone prompts | Allison Smith, for Digium | CC-BY-SA-3.0 |
| asterisk-core-sounds-fr | telephone prompts | June Wallack, for Digium; translated by Clod Patry, Kristopher Lalletti | CC-BY-SA-3.0 |
| asterisk-core-sounds-it | telephone prompts | Carlo Flora; translated by Silvia Petrin | CC-BY-3.0 |
| asterisk-core-sounds-ru | telephone prompts | Maxim Topal (IvrvoiceRU) | CC-BY-3.0 |
| festvox-ru | read literature | Nickolay V. Shmyrev, 2005 | BSD-like: marked as changed, authors named |
| fillets-ng-data, -cs, -nl | dialogues of Fish Fillets NG | Ivo and Pavel Danihelka, ALTAR interactive, translators | GPL-2 |
| tuxpaint-stamps-default | descriptions of drawings | Bill Kendrick and the volunteers of Tux Paint | GPL-2 or later |
| drascula, drascula-spanish | dialogues of Drascula | Alcachofa Soft S.L. | Drascula licence: free to distribute and change, not to sell alone |
| beneath-a-steel-sky | dialogues of Beneath a Steel Sky | Revolution Software Ltd | its own: free to distribute and change, not to sell alone |
| scummvm | the table that unpacks the texts of Beneath a Steel Sky | the ScummVM team | GPL-3 or later |
| gcin-voice, */3.ogg | Mandarin syllables | Edward Der-Hua Liu, 2014 | GPL-3 or LGPL-3 |
| gcin-voice, */5.ogg | Mandarin syllables | ChionMeilin, with the voice of Chu Lo | CC-BY-3.0 |
| hsk-sentences-audio (PyPI) | Chinese sentences in pinyin and English | its contributors (no7z/hsk-sentences-audio) | CC-BY-SA-4.0 |
"""


def remotes(source: str, mirror: str | None = None) -> list[Remote]:
    """The files of a source."""
    files = [package.remote(mirror) for package in PACKAGES if package.source == source]
    return [*files, HSK] if source == "mandarin" else files


def paths(source: str, folder: Path) -> dict[str, Path]:
    """{package: its file} of a source; the package of PyPI is `hsk`."""
    files = {package.name: folder / package.file for package in PACKAGES if package.source == source}
    return {**files, "hsk": folder / HSK.name} if source == "mandarin" else files


def write_attribution(folder: Path) -> None:
    """Write ATTRIBUTION.md beside the packages, and the copyright file of each that is there into licences/.

    Raises UserError for a damaged package or wheel.
    """
    for package in PACKAGES:
        target = folder / "licences" / f"{package.name}.txt"
        if (folder / package.file).is_file() and not target.exists():
            name = f"usr/share/doc/{package.name}/copyright"
            _, text = next(package_files(folder / package.file, name.__eq__))
            with open_atomic(target, "wb") as file:
                file.write(text)
    if (folder / HSK.name).is_file():
        try:
            with zipfile.ZipFile(folder / HSK.name) as wheel, open_atomic(folder / "licences/hsk-sentences-audio.txt", "wb") as file:
                file.write(wheel.read("hsk_sentences_audio-1.0.0.dist-info/METADATA"))
        except (zipfile.BadZipFile, KeyError) as error:
            raise UserError(f"{folder / HSK.name}: not a complete wheel ({error}); remove it and fetch it again") from None
    with open_atomic(folder / "ATTRIBUTION.md") as file:
        file.write(ATTRIBUTION)
