"""The exception whose message is written for the user."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in the input; its message tells in one line where (file:line, utterance, option), what is wrong, and what to do.

    Entry points print it as `error: <message>` and exit with `exit_code` (2 for a wrong command line, 1 otherwise).
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
