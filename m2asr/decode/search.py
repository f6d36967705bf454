"""Search: the heads that read each target, and the token sequences that they write from encoder states."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from m2asr.config import DecodeConfig
from m2asr.decode.attention import AttentionPrefix, rescore
from m2asr.decode.beam import PrefixScorer, beam_search
from m2asr.decode.ctc import greedy
from m2asr.decode.ctc_prefix import CTCPrefix
from m2asr.decode.fusion import FusedPrefix, Fusion
from m2asr.decode.hypothesis import NOTHING, Hypothesis
from m2asr.decode.leads import by_preference
from m2asr.decode.prefix_beam import prefix_beam
from m2asr.decode.transducer_beam import transducer_beam
from m2asr.errors import UserError
from m2asr.models import transducer
from m2asr.models.encoded import Encoded
from m2asr.objectives.system import System
from m2asr.objectives.transducer import Transducer
from m2asr.train_checks import WRITING
from m2asr.train_config import TrainConfig

FIRST = {  # type of the objective that a method prefers
    "greedy": "ctc",
    "prefix_beam": "ctc",
    "transducer": "transducer",
    "attention": "attention",
    "joint": "attention",
    "rescoring": "attention",
}
BOTH = ("joint", "rescoring")


@dataclass(frozen=True)
class Reader:
    """The objectives that write one target together: a CTC objective, an attention objective, or both; or a transducer."""

    stream: str
    tokens: str
    text: str
    ctc: str | None = None
    attention: str | None = None
    transducer: str | None = None

    @property
    def name(self) -> str:
        """The name of the leading objective: the attention objective, if there is one."""
        return self.attention or self.ctc or self.transducer


def readers(config: TrainConfig, method: str) -> dict[str, Reader]:
    """The reader of each target of a system, under the name of its leading objective; preferred ones first.

    A target is a text of a stream in the tokens of a tokenizer. If several objectives of one type write it, the preferred one is used.
    Raises UserError if a method needs a CTC objective beside an attention objective and there is none.
    """
    targets: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for name in by_preference(config, config.objectives):
        objective = config.objectives[name]
        if objective.type in WRITING and objective.decode:
            options = objective.options()
            key = (objective.stream, options["tokens"], options["text"])
            targets.setdefault(key, {kind: [] for kind in WRITING})[objective.type].append(name)
    readers_by_name = {}
    for key, kinds in targets.items():
        leading = FIRST[method] if kinds[FIRST[method]] else next(kind for kind, names in kinds.items() if names)
        name = kinds[leading][0]
        if leading != "attention":
            readers_by_name[name] = Reader(*key, **{leading: name})
            continue
        if method in BOTH and not kinds["ctc"]:
            needed = f"stream: {key[0]}, tokens: {key[1]}, text: {key[2]}"
            raise UserError(
                f"method {method}: objectives.{name} has no CTC objective beside it; train one with {needed}, or use method: attention"
            )
        readers_by_name[name] = Reader(*key, ctc=kinds["ctc"][0] if method in BOTH else None, attention=name)
    return {name: readers_by_name[name] for name in by_preference(config, readers_by_name)}


def search(system: System, reader: Reader, encoded: Encoded, config: DecodeConfig, fusion: Fusion | None = None) -> list[Hypothesis]:
    """The best hypothesis of every utterance, by the scores of the system and of `fusion`; the config holds no lists.

    An utterance whose scores are not finite has an empty text with the score -inf; only greedy search and decoders give it another one.
    """
    lengths, fusion = encoded.lengths, fusion or Fusion()  # (B,) states
    least = (lengths * config.min_ratio).long().clamp(min=config.min_tokens)  # (B,) tokens
    if reader.transducer:
        return _transduce(system.objectives[reader.transducer], encoded, config, fusion, least)
    log_probs, labels = system.objectives[reader.ctc].log_probs(encoded) if reader.ctc else (None, None)  # (B, R T', V), (B,)
    if reader.attention is None:
        if config.method == "greedy":
            return greedy(log_probs, labels)
        return _first(prefix_beam(log_probs, labels, config.beam, config.token_prune, fusion, least))

    head = system.objectives[reader.attention]
    decoder, memory = head.decoder, encoded.states[head.tap]
    if config.method == "rescoring":
        hypotheses = prefix_beam(log_probs, labels, config.beam, config.token_prune, fusion, least)
        return _first(rescore(decoder, memory, lengths, hypotheses, config.ctc_weight, config.length_penalty, head.prefix))
    beam = 1 if config.method == "greedy" else config.beam
    ctc_weight = config.ctc_weight if config.method == "joint" else 0.0
    scorers: list[tuple[float, PrefixScorer]] = []
    if ctc_weight < 1:
        scorers.append((1 - ctc_weight, AttentionPrefix(decoder, memory, lengths, beam, head.prefix)))
    if ctc_weight > 0:
        scorers.append((ctc_weight, CTCPrefix(log_probs, labels, beam, head.eos)))
    if fusion:
        scorers.append((1.0, FusedPrefix(fusion, len(lengths), beam, head.eos + 1, memory.device)))
    limits = (lengths * config.max_ratio).long()
    return _first(beam_search(scorers, limits, head.eos, beam, config.length_penalty, fusion.most_gain, least))


def _transduce(head: Transducer, encoded: Encoded, config: DecodeConfig, fusion: Fusion, least: Tensor) -> list[Hypothesis]:
    states, models = encoded.states[head.tap], (head.predictor, head.joiner, head.max_symbols)
    if config.method == "greedy":
        return list(map(Hypothesis, *transducer.greedy(states, encoded.lengths, *models)))
    return _first(transducer_beam(states, encoded.lengths, *models, config.beam, config.token_prune, fusion, least))


def _first(hypotheses: Iterable[Sequence[Hypothesis]]) -> list[Hypothesis]:
    """The best hypothesis of every utterance."""
    return [best[0] if best else NOTHING for best in hypotheses]
