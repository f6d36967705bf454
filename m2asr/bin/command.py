"""The parser of options and the handling of errors, shared by all entry points."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import math
import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn

from m2asr.errors import LONGEST, UserError, shortened
from m2asr.out_of_memory import is_out_of_memory

MOST = 10**9  # the largest number of an option
MOST_PROCESSES = 1000


class Parser(argparse.ArgumentParser):
    """Parses options, written with dashes or underscores. A mistake is one line that names the nearest option, with exit code 2."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    def parse_args(self, args: list[str] | None = None, namespace: argparse.Namespace | None = None) -> argparse.Namespace:  # type: ignore[override]
        args = sys.argv[1:] if args is None else args
        plain = [re.sub(r"^--[^=]+", lambda match: "--" + match[0][2:].replace("-", "_"), arg) for arg in args]
        return super().parse_args(plain, namespace)

    def error(self, message: str) -> NoReturn:
        options = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        unknown = re.search(r"unrecognized arguments: (--\S+)", message)
        if unknown:
            near = difflib.get_close_matches(unknown[1].split("=")[0], options, n=1)
            message = f"unknown option {unknown[1]}" + (f", did you mean {near[0]}?" if near else f"; valid: {' '.join(options)}")
        raise UserError(f"{self.prog}: {message} (--help lists the options)", exit_code=2)


def natural(text: str, most: int = MOST) -> int:
    """The value of an option that is a whole number from 0. Raises ArgumentTypeError."""
    if not text.isascii() or not text.isdecimal() or int(text[:20]) > most:
        raise argparse.ArgumentTypeError(f"give a whole number from 0 to {most}, not {shortened(repr(text))}")
    return int(text)


def processes(text: str) -> int:
    """The value of an option that is a number of processes or threads. Raises ArgumentTypeError."""
    return natural(text, MOST_PROCESSES)


def finite(text: str) -> float:
    """The value of an option that is a number. Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= MOST:
        raise argparse.ArgumentTypeError(f"give a number, not {shortened(repr(text))}")
    return value


def add_device_options(parser: Parser) -> None:
    """Add --ngpu and --threads, which `prepare_device` reads."""
    parser.add_argument("--ngpu", type=natural, default=0, help="0 computes on the CPU, more on the first GPU")
    parser.add_argument("--threads", type=processes, default=1, help="CPU threads; 0: all cores, which helps only where they are idle")


def prepare_device(ngpu: int, threads: int = 1) -> str:
    """Set the number of CPU threads, 0 for all cores, and return the device, `cpu` or `cuda`. Raises UserError without such a GPU."""
    from m2asr.train.cpu import prepare_cpu
    from m2asr.train.distributed import check_gpus

    prepare_cpu(threads)
    if ngpu:
        check_gpus(ngpu)
    return "cuda" if ngpu else "cpu"


def run(main: Callable[[list[str] | None], int | None]) -> NoReturn:
    """Run `main` and end the process with its exit code, or with that of its error: of a UserError, 130 after Ctrl-C, 1 of the system's."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None where it is closed
        stream.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    code = _code_of(main)
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except OSError as error:
        code = code or _report(error)
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # Python flushes once more at its end
    sys.exit(code)


def _code_of(main: Callable[[list[str] | None], int | None]) -> int:
    try:
        return main(None) or 0
    except UserError as error:
        _tell(f"error: {error}")
        return error.exit_code
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = f": {shortened(str(error))}" if str(error) else ""
        _tell(f"error: out of memory{reason}; lower the size of a batch or the number of processes")
        return 1
    except KeyboardInterrupt:
        _tell("interrupted: nothing half-written is left; run the same command again to go on")
        return 130
    except OSError as error:
        return _report(error)


def _report(error: OSError) -> int:
    """Tell of an error of the system in one line; returns the exit code."""
    if isinstance(error, BrokenPipeError):
        return 141
    if error.errno is None:  # raised by a library, with a text alone
        raise error
    name = f" {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EFBIG):
        _tell(f"error: cannot write{name or ' standard output'}: {error.strerror}; free some space or check permissions")
    else:
        _tell(f"error: cannot use{name}: {error.strerror}; correct the path")
    return 1


def _tell(message: str) -> None:
    """Print a line on stderr, if it is there."""
    with contextlib.suppress(OSError):  # it may be closed or full as well
        print(shortened(message, LONGEST), file=sys.stderr, flush=True)
