"""Times CTC prefix beam search with a language model on one thread, and flashlight-text with KenLM on the same posteriors and ARPA file.

The tokens are 500 subwords of the mini corpus's transcripts, and the model is a 6-gram of these tokens. The posteriors (10 s at 25 states
per second) are noisy alignments of such transcripts, so that the beam has to decide. flashlight-text is skipped where it is not installed.

Then it times greedy and beam search of a transducer on encoder states of the same size: its predictor (an LSTM of 2 layers) and its joiner,
both of the default width, have weights that prefer the blank to the newest token, so that they write noisy transcripts too.

python tools/bench_search.py
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from m2asr.decode.fusion import Fusion
from m2asr.decode.prefix_beam import prefix_beam
from m2asr.decode.prefix_table import PrefixTable
from m2asr.decode.token_lm import TokenNgram
from m2asr.decode.transducer_beam import transducer_beam
from m2asr.lm.build import ARPA, BINARY, estimate_model, write_both
from m2asr.lm.ngram import NgramModel
from m2asr.lm.sources import Sources
from m2asr.models.joiner import Joiner
from m2asr.models.predictor import LSTMPredictor
from m2asr.models.transducer import greedy
from m2asr.text.normalize import normalize
from m2asr.text.tokenizer import BLANK, UNK, Tokenizer, train_tokenizer

ROOT = Path(__file__).resolve().parents[1]
VOCAB, ORDER, BEAM, STATES, BATCH, TOKEN_PRUNE = 500, 6, 10, 250, 20, 20
SECONDS = 10.0  # length of the audio of an utterance
WEIGHT, BONUS = 0.6, 1.0
IN_BATCH, ALONE, OF_FLASHLIGHT = 500, 200, 1.0  # least speeds: multiples of real time, and of flashlight-text's speed
TRANSDUCER_BEAM, MAX_SYMBOLS, WIDTH = 4, 5, 256
GREEDY_TRANSDUCER, BEAM_TRANSDUCER = 250, 60  # least speeds in a batch: multiples of real time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="the best round counts")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer, texts = prepare(folder)
        log_probs = posteriors(tokenizer, texts)  # (B, T, V)
        lengths = torch.full((BATCH,), STATES)
        print(f"{BATCH} utterances of {SECONDS:.0f} s, {STATES} states, {VOCAB} tokens, {ORDER}-gram, beam {BEAM}, one thread")

        def work(rows: slice, fusion: Fusion | None) -> list[list[int]]:
            return search(log_probs[rows], lengths[rows], fusion)

        def fusion() -> Fusion:
            model = TokenNgram(NgramModel.load(folder / BINARY), tokenizer, BINARY)
            return Fusion([(WEIGHT, PrefixTable(model))], BONUS)

        ours = speeds(work, fusion, args.rounds)
        print_speed("in a batch", ours[0], IN_BATCH)
        print_speed("one at a time", ours[1], ALONE)
        plain = speeds(work, lambda: None, args.rounds)
        print(f"  without a language model: {plain[0]:,.0f} and {plain[1]:,.0f} x real time")
        compare(folder, tokenizer, log_probs, ours, args.rounds)
        transduce(token_texts(tokenizer, texts), fusion, args.rounds)


def prepare(folder: Path) -> tuple[Tokenizer, list[str]]:
    """Make a tokenizer and a language model in `folder`; returns the tokenizer and the transcripts that both were made from."""
    lines = (ROOT / "egs/mini/corpus/transcripts.tsv").read_text(encoding="utf-8").splitlines()
    head = lines[0].split("\t")
    rows = [dict(zip(head, line.split("\t"), strict=True)) for line in lines[1:]]
    texts = [text for row in rows for lang in head[1:] if (text := normalize(row[lang], lang))]
    (folder / "text").write_text("\n".join(texts), encoding="utf-8")
    tokenizer = train_tokenizer("unigram", VOCAB, texts, folder / "tokens")
    estimated = estimate_model(Sources([folder / "text"], tokenizer=tokenizer), ORDER, [0] * ORDER, 0.0, folder)
    write_both(folder, estimated.table, gzip=False)
    return tokenizer, texts


def posteriors(tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """Noisy log-probabilities (B, T, V): every fourth state favours the next token of some transcripts, the others favour blank."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(BATCH, STATES, VOCAB, generator=generator)
    tokens = token_texts(tokenizer, texts)
    for row in range(BATCH):
        for state in range(STATES):
            token = int(tokens[row, state // 4]) if state % 4 == 0 else BLANK
            logits[row, state, token] += 5.0
            logits[row, state, int(torch.randint(VOCAB, (), generator=generator))] += 4.0
    return logits.log_softmax(-1)


def token_texts(tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """The tokens (B, T / 4) of some transcripts."""
    tokens = torch.tensor([token for text in texts for token in tokenizer.encode(text) if token != UNK])
    return tokens[(torch.arange(BATCH)[:, None] * 200 + torch.arange(STATES // 4 + 1)) % len(tokens)]


def search(log_probs: Tensor, lengths: Tensor, fusion: Fusion | None) -> list[list[int]]:
    """The best token sequences."""
    with torch.inference_mode():
        return [best[0].tokens for best in prefix_beam(log_probs, lengths, BEAM, TOKEN_PRUNE, fusion)]


def speeds(work: Callable[[slice, Fusion | None], object], fusion: Callable[[], Fusion | None], rounds: int) -> tuple[float, float]:
    """The speed for all utterances in a batch, and for one utterance at a time, as multiples of real time.

    Each round opens the model again; the best round counts.
    """
    batch, alone = [slice(0, BATCH)], [slice(row, row + 1) for row in range(BATCH)]
    return max(_speed(work, fusion, batch) for _ in range(rounds)), max(_speed(work, fusion, alone) for _ in range(rounds))


def _speed(work: Callable[[slice, Fusion | None], object], fusion: Callable[[], Fusion | None], slices: list[slice]) -> float:
    start = time.perf_counter()
    opened = fusion()
    for rows in slices:
        work(rows, opened)
    return BATCH * SECONDS / (time.perf_counter() - start)


def print_speed(name: str, speed: float, target: float) -> None:
    print(f"  {name}: {speed:,.0f} x real time (at least {target:,}: {'ok' if speed >= target else 'MISSED'})")


def transduce(tokens: Tensor, fusion: Callable[[], Fusion | None], rounds: int) -> None:
    """Time the searches of a transducer on states that favour the next of the tokens (B, T / 4) at every fourth state."""
    predictor, joiner, codes = transducer()
    generator = torch.Generator().manual_seed(2)
    states = 0.1 * torch.randn(BATCH, STATES, WIDTH, generator=generator)
    states += 0.25 * codes[torch.randint(1, VOCAB, (BATCH, STATES), generator=generator)]
    states[:, ::4] += 0.5 * codes[tokens]
    lengths = torch.full((BATCH,), STATES)

    def work_greedy(rows: slice, _: Fusion | None) -> None:
        with torch.inference_mode():
            greedy(states[rows], lengths[rows], predictor, joiner, MAX_SYMBOLS)

    def work_beam(rows: slice, opened: Fusion | None) -> None:
        transducer_beam(states[rows], lengths[rows], predictor, joiner, MAX_SYMBOLS, TRANSDUCER_BEAM, TOKEN_PRUNE, opened)

    print(f"transducer, beam {TRANSDUCER_BEAM}, at most {MAX_SYMBOLS} tokens per state")
    ours = speeds(work_greedy, lambda: None, rounds)
    print_speed("greedy, in a batch", ours[0], GREEDY_TRANSDUCER)
    print(f"  greedy, one at a time: {ours[1]:,.0f} x real time")
    for name, opened in (("without", lambda: None), ("with", fusion)):
        ours = speeds(work_beam, opened, rounds)
        print_speed(f"beam {name} a language model, in a batch", ours[0], BEAM_TRANSDUCER)
        print(f"  beam {name} a language model, one at a time: {ours[1]:,.0f} x real time")


@torch.no_grad()
def transducer() -> tuple[LSTMPredictor, Joiner, Tensor]:
    """A predictor and a joiner, and the code (V, D) of every token, of numbers 1 and -1.

    A state that holds 0.5 times the code of a token makes it probable. The predictor gives -0.5 times the code of the newest token to the
    joiner, so the blank follows. All other weights are used too, but are 0.
    """
    codes = 2.0 * torch.randint(0, 2, (VOCAB, WIDTH), generator=torch.Generator().manual_seed(3)) - 1.0
    predictor, joiner = LSTMPredictor(VOCAB, dim=WIDTH).eval(), Joiner(WIDTH, WIDTH, VOCAB, WIDTH).eval()
    for parameter in (*predictor.layers.parameters(), joiner.encoded.bias, joiner.output.bias):
        parameter.zero_()
    predictor.embedding.weight.copy_(3.0 * codes)
    for layer in predictor.layers:
        layer.weight_ih_l0[2 * WIDTH : 3 * WIDTH] = 3.0 * torch.eye(WIDTH)
        layer.bias_ih_l0.copy_(torch.tensor([10.0, -10.0, 0.0, 10.0]).repeat_interleave(WIDTH))  # gates: input, forget, cell, output
    height = float(predictor(torch.zeros(1, 0, dtype=torch.long)).abs().mean())
    joiner.encoded.weight.copy_(torch.eye(WIDTH))
    joiner.predicted.weight.copy_(torch.eye(WIDTH) * -0.5 / height)
    joiner.output.weight.copy_(32.0 * codes / WIDTH)
    joiner.output.weight[BLANK], joiner.output.bias[BLANK] = 0.0, 10.5
    return predictor, joiner, codes


def compare(folder: Path, tokenizer: Tokenizer, log_probs: Tensor, ours: tuple[float, float], rounds: int) -> None:
    """Time flashlight-text's lexicon-free search with the same beam and weights, and print how much faster ours is."""
    try:
        from flashlight.lib.text.decoder import CriterionType, KenLM, LexiconFreeDecoder, LexiconFreeDecoderOptions
        from flashlight.lib.text.dictionary import Dictionary
    except ImportError as error:
        print(f"  flashlight-text: skipped, {error}; pip install -c constraints.txt kenlm flashlight-text")
        return
    options = LexiconFreeDecoderOptions(
        beam_size=BEAM,
        beam_size_token=TOKEN_PRUNE,
        beam_threshold=1e9,
        lm_weight=WEIGHT,
        sil_score=0.0,
        log_add=True,
        criterion_type=CriterionType.CTC,
    )
    model = KenLM(str(folder / ARPA), Dictionary(tokenizer.tokens))
    decoder = LexiconFreeDecoder(options, model, -1, BLANK, [])
    numbers = log_probs.contiguous().numpy()

    def work(rows: slice, _: Fusion | None) -> None:
        for row in range(*rows.indices(BATCH)):
            decoder.decode(numbers[row].ctypes.data, STATES, VOCAB)

    speed = max(speeds(work, lambda: None, rounds))
    for name, our_speed in zip(("in a batch", "one at a time"), ours, strict=True):
        ratio = our_speed / speed
        print(f"  {name}: {ratio:.2f} times as fast as flashlight-text with KenLM ({speed:,.0f} x real time)", end="")
        print(f" (at least {OF_FLASHLIGHT}: {'ok' if ratio >= OF_FLASHLIGHT else 'MISSED'})" if name == "in a batch" else "")


if __name__ == "__main__":
    main()
