"""What a command that computes sets up in its process, before torch is imported and starts its threads."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
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


def sharing(command: Callable[Options, Code]) -> Callable[Options, Code]:
    """All processes that torchrun has started run the command as one; without torchrun there is but this one."""

    @functools.wraps(command)
    def run(*arguments: Options.args, **options: Options.kwargs) -> Code:
        from mfpgan.distributed import joined

        with joined():
            return command(*arguments, **options)

    return run


@contextmanager
def quiet_beside_others() -> Iterator[None]:
    """Of the processes that torchrun has started, one speaks; a traceback, which ends this, is seen from any."""
    with ExitStack() as stack:
        if os.environ.get("WORLD_SIZE", "1") != "1" and os.environ.get("RANK", "0") != "0":
            nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        yield
