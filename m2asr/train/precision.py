"""Chooses the number format that a run computes in."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from m2asr.models.experts import ExpertLinear

NATIVE_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # flags of CPUs that multiply bfloat16 in hardware


def choose(precision: Literal["auto", "float32", "bfloat16"], device: torch.device) -> torch.dtype:
    """The type of matrix products: under `auto` bfloat16 where the CPU or GPU has it in hardware, else float32."""
    if precision != "auto":
        return getattr(torch, precision)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if _cpu_flags() & NATIVE_BFLOAT16 else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """Mixed precision where `dtype` is bfloat16, nothing for float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


class ShortWeights:
    """Copies of a module's weights in the type that it multiplies in, made once, where autocast makes them anew for every batch.

    The copies are leaves: a backward pass leaves their gradients there, without a graph for the change of type. With float32
    there are none, and of the parameters `without`.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype, without: Collection[Parameter] = ()) -> None:
        kinds = (nn.Linear, nn.Conv1d, ExpertLinear)
        layers = [layer for layer in module.modules() if isinstance(layer, kinds)] if dtype == torch.bfloat16 else []
        weights = [(layer, *weight) for layer in layers for weight in layer.named_parameters(recurse=False)]
        self._weights = [(layer, name, param) for layer, name, param in weights if param.requires_grad and param not in without]
        self.copies: dict[Parameter, Tensor] = {param: param.detach().to(dtype).requires_grad_() for _, _, param in self._weights}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the module computes with the copies."""
        for layer, name, param in self._weights:
            layer._parameters[name] = self.copies[param]
        try:
            yield
        finally:
            for layer, name, param in self._weights:
                layer._parameters[name] = param


def describe_devices() -> tuple[str, str]:
    """What the check of the installation tells of the CPU and of the GPUs, `none` without any."""
    native = choose("auto", torch.device("cpu")) == torch.bfloat16
    number = "multiplies bfloat16 in hardware" if native else "no bfloat16 in hardware, trains in float32"
    cpu = f"{len(os.sched_getaffinity(0))} cores, {torch.backends.cpu.get_cpu_capability()}, {number}"
    gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return cpu, ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" for gpu in gpus) or "none"


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split(":", 1)[-1].split()}
