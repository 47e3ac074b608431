"""A Transformer that fills in the samples behind the context."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.paper._sequence import TIME_FEATURES, Contexts, SequenceModel, time_features

_WIDTH = 48
_HEADS = 4
_LAYERS = 2


class Transformer(SequenceModel):
    """A Transformer encoder whose tokens attend to those of the context alone.

    The token of a sample is its value (zero behind the context), whether it is known, and its
    time. Layers normalize first, as is usual where there is no warm-up to speak of.
    """

    def build(self, outputs: int) -> nn.Module:
        """Return a new network."""
        return _Encoder(outputs)


class _Encoder(nn.Module):
    """Tokens, layers of attention, and a perceptron at every sample behind the context."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.project = nn.Linear(outputs + 1 + TIME_FEATURES, _WIDTH)
        self.layers = nn.ModuleList(_Layer() for _ in range(_LAYERS))
        self.read = nn.Sequential(
            nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, _WIDTH), nn.GELU(), nn.Linear(_WIDTH, outputs)
        )

    def forward(self, contexts: Contexts) -> Tensor:
        """Return the outputs from `contexts.first` on."""
        known = contexts.known
        times = time_features(contexts.times).expand(len(known), -1, -1)
        flag = known.unsqueeze(2).to(times.dtype)
        tokens = self.project(torch.cat([contexts.samples, flag, times], dim=2))
        unknown = ~known[:, : int(contexts.lengths.max())]
        for layer in self.layers:
            tokens = layer(tokens, unknown)
        decoded: Tensor = self.read(tokens[:, contexts.first :])
        return decoded


class _Layer(nn.Module):
    """`nn.TransformerEncoderLayer` with the norm first, but with keys from the context alone.

    The same as its `src_key_padding_mask` gives, without the work for keys that are masked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(_WIDTH)
        self.attention = nn.MultiheadAttention(_WIDTH, _HEADS, batch_first=True)
        self.feed = nn.Sequential(
            nn.LayerNorm(_WIDTH),
            nn.Linear(_WIDTH, 2 * _WIDTH),
            nn.GELU(),
            nn.Linear(2 * _WIDTH, _WIDTH),
        )

    def forward(self, tokens: Tensor, unknown: Tensor) -> Tensor:
        """Map tokens (N, T, 48) to the same shape; `unknown` (N, C) marks keys not to be read."""
        queries = self.attention_norm(tokens)
        keys = queries[:, : unknown.shape[1]]
        read, _ = self.attention(queries, keys, keys, key_padding_mask=unknown, need_weights=False)
        tokens = tokens + read
        mixed: Tensor = self.feed(tokens)
        return tokens + mixed
