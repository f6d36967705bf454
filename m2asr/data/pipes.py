"""Runs the commands of wav.scp: programs with `|` between them, without a shell."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import tempfile
from contextlib import ExitStack

from m2asr.errors import UserError

MOST = 1 << 31  # bytes of a recording
_BLOCK = 1 << 20  # bytes read at once

_PIECE = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.|2>\s*/dev/null|.""", re.DOTALL)
_OF_A_SHELL = ("&", ";", "<", ">", "`", "$", "\n")


def run_pipeline(command: str) -> bytes:
    """The output of a command such as `sph2pipe -f wav a.sph | sox -t wav - -r 16000 -t wav -`.

    Raises UserError if it needs a shell, if a program is missing or fails, or if the output has no end.
    """
    shown = f"`{command.strip()} |`"
    try:
        programs = [shlex.split(part) for part in _parts(command)]
    except ValueError as error:
        raise UserError(f"{shown}: cannot run this command: {error}") from None
    with ExitStack() as stack:
        errors = stack.enter_context(tempfile.TemporaryFile())
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for program in programs:
                source = processes[-1].stdout if processes else subprocess.DEVNULL
                processes.append(subprocess.Popen(program, stdin=source, stdout=subprocess.PIPE, stderr=errors))
                if len(processes) > 1:
                    source.close()  # so that the program before ends when this one does
            output = io.BytesIO()
            while block := processes[-1].stdout.read(_BLOCK):
                output.write(block)
                if output.tell() > MOST:
                    for process in processes:
                        process.kill()
                    raise UserError(f"{shown}: its output does not end after {MOST >> 20} MB; name a command that writes one recording")
        except OSError as error:
            raise UserError(f"{shown}: cannot run this command: {error}") from None
        finally:
            for process in processes:
                if process.stdout:
                    process.stdout.close()
                process.wait()
        failed = [process.returncode for process in processes[:-1] if process.returncode not in (0, -13)]  # 13: its reader has enough
        failed += [processes[-1].returncode] if processes[-1].returncode else []
        if failed:
            errors.seek(0)
            message = " ".join(errors.read().decode(errors="replace").split())
            raise UserError(f"{shown}: exit code {failed[-1]}: {message[-200:] or 'it printed no reason'}")
    return output.getvalue()


def _parts(command: str) -> list[str]:
    """The programs of a pipeline with their arguments. Raises ValueError for what only a shell can do."""
    parts = [""]
    for piece in _PIECE.findall(command):
        if piece == "|":
            parts.append("")
        elif piece.startswith("2>"):
            continue  # messages are shown only if the command fails
        elif piece in _OF_A_SHELL or (piece[0] == '"' and re.search(r"(?<!\\)[`$]", piece)):
            raise ValueError(f"`{piece[:20]}` needs a shell; write programs with `|` between them, or put the command into a script")
        else:
            parts[-1] += piece
    if not all(part.strip() for part in parts):
        raise ValueError("a program is missing beside `|`")
    return parts
