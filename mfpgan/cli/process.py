"""What a command that computes sets up in its process, before torch is imported and starts its threads."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Options = ParamSpec("Options")
Code = TypeVar("Code")


def computing(command: Callable[Options, Code]) -> Callable[Options, Code]:
    """OpenMP's threads sleep while they wait, and numbers too small to be written in full count as zero.

    Threads that spin make two trainings that share the cores several times slower, each of them. The user's own
    OMP_WAIT_POLICY counts more.
    """

    @functools.wraps(command)
    def run(*arguments: Options.args, **options: Options.kwargs) -> Code:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        from mfpgan.devices import denormals_flushed

        with denormals_flushed():
            return command(*arguments, **options)

    return run
