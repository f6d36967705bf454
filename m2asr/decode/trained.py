"""A trained system and the folders of its recipe, from which decoding starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from m2asr.config import FbankConfig
from m2asr.data.batch import Batch
from m2asr.data.feats import AudioFeats, StoredFeats
from m2asr.data.index import UtteranceIndex
from m2asr.data.sources import Source
from m2asr.data.streams import eval_batches
from m2asr.decode.search import Reader
from m2asr.errors import UserError
from m2asr.objectives.system import System
from m2asr.text.tokenizer import Tokenizer
from m2asr.train.initialize import load_trained, trained_fbank
from m2asr.train.materials import fbank_config, open_set
from m2asr.train_config import TrainConfig


@dataclass(frozen=True)
class Trained:
    """The system of exp/model.pt with its config and tokenizers, the folders of data and features, and processes that share the work."""

    exp: Path
    data: Path
    dump: Path
    config: TrainConfig
    system: System
    tokenizers: Mapping[str, Tokenizer]
    processes: int = 1

    @classmethod
    def load(cls, exp: Path, data: Path, dump: Path, device: str, processes: int = 1) -> Trained:
        """Read a run. Raises UserError if it has no model."""
        return cls(exp, data, dump, *load_trained(exp, device), processes)

    def open(self, name: str) -> UtteranceIndex:
        """The index of a set.

        Raises UserError if the set was not prepared, has no features such as the system was trained on, or is in a language for which the
        encoder has no expert.
        """
        index = open_set(name, self.data, self.dump)
        bins, expected = fbank_config(self.dump, [name]).num_mel_bins, len(self.system.mean)
        if bins != expected:
            problem = f"{bins} features per frame; the system was trained on {expected}"
            raise UserError(f"{self.dump / name}: {problem}; run stage fbank with {self.exp / 'fbank.yaml'} and another --dump")
        check_languages(self.system, self.data / name, index)
        return index

    def batches(self, name: str, readers: Iterable[Reader], seconds: float, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """The utterances of a set, with the references of these readers if there are any; `seconds` of audio per batch.

        Where `world` processes share the batches, they are those of process `rank`.
        """
        targets = [(tokens, text, self.tokenizers[tokens]) for tokens, text in sorted({(reader.tokens, reader.text) for reader in readers})]
        shift = fbank_config(self.dump, [name]).frame_shift / 1000
        yield from eval_batches(Source(name, [self.open(name)], targets, shift), seconds, rank=rank, world=world)


def check_languages(system: System, folder: Path, index: UtteranceIndex) -> None:
    """Raises UserError if a data directory is in a language for which the encoder has no expert."""
    experts = system.encoder.experts
    if experts is not None and (problem := experts.problem(index.languages)):
        raise UserError(f"{folder}: {problem}; leave this set out")


def open_features(
    folder: Path, dump: Path | None, exp: Path, allow_pipes: bool
) -> tuple[UtteranceIndex, StoredFeats | AudioFeats, FbankConfig]:
    """The index of a data directory, the reader of its features, and the config of the features.

    Without `dump` they are computed from the recordings, as those that the run `exp` was trained on. Raises UserError if there are none.
    """
    folder = folder if folder.name else folder.resolve()
    if dump is not None:
        return open_set(folder.name, folder.parent, dump), StoredFeats(), fbank_config(dump, [folder.name])
    fbank = trained_fbank(exp)
    return UtteranceIndex(folder, allow_pipes=allow_pipes), AudioFeats(fbank), fbank
