"""Models; a config names the modules of `model:` by the keys of these tables.

A config gives most arguments of a module. Its class lists in `system_arguments` those that the system gives: feat_dim, the channels of the
features; dim, the width of the encoder; memory_dim, the width of the states that a decoder or a joiner reads; predictor_dim, the width of
the predictor beside a joiner; vocab, the number of tokens; prefixes, the languages that its objectives write; and modules, the others. An
encoder gets embedding_dim, the width of the network that its routers read, and condition_vocab, the number of tokens that its states are
conditioned on.
"""

from __future__ import annotations

from m2asr.models.conformer import Conformer
from m2asr.models.decoder import TransformerDecoder
from m2asr.models.embedding import MaskVector, TokenEmbedding
from m2asr.models.joiner import Joiner
from m2asr.models.predictor import LSTMPredictor, StatelessPredictor
from m2asr.models.quantizers import GumbelQuantizer, NearestQuantizer, ProjectionQuantizer
from m2asr.models.token_head import TiedHead, TokenHead
from m2asr.models.transformer import Transformer

ENCODERS = {"conformer": Conformer, "transformer_encoder": Transformer}
DECODERS = {"transformer": TransformerDecoder}
PREDICTORS = {"lstm_predictor": LSTMPredictor, "stateless_predictor": StatelessPredictor}
JOINERS = {"joiner": Joiner}
HEADS = {"token_head": TokenHead, "tied_head": TiedHead}
QUANTIZERS = {"gumbel_quantizer": GumbelQuantizer, "nearest_quantizer": NearestQuantizer, "projection_quantizer": ProjectionQuantizer}
MODULES = {
    **ENCODERS,
    **DECODERS,
    **PREDICTORS,
    **JOINERS,
    **HEADS,
    **QUANTIZERS,
    "embedding": TokenEmbedding,
    "mask_vector": MaskVector,
}
