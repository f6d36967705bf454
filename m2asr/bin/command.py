"""The parser of options and the handling of errors, shared by all entry points."""

from __future__ import annotations

import argparse
import difflib
import errno
import re
import sys
from collections.abc import Callable
from typing import NoReturn

from m2asr.errors import UserError, shortened
from m2asr.out_of_memory import is_out_of_memory


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


def run(main: Callable[[list[str] | None], int | None]) -> NoReturn:
    """Run `main` and end the process with its exit code, or with that of its error: of a UserError, 130 after Ctrl-C, 1 on a full disk."""
    try:
        sys.exit(main(None) or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"error: out of memory: {shortened(str(error))}; lower the size of a batch or the number of processes", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted: nothing half-written is left; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EFBIG):
            raise
        print(f"error: cannot write {error.filename or ''}: {error.strerror}; free some space or check permissions", file=sys.stderr)
        sys.exit(1)
