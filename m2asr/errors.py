"""The exception whose message is written for the user, and the length of messages."""

from __future__ import annotations

LONGEST = 1500  # characters of a message, a few lines of a terminal


class UserError(Exception):
    """A mistake in the input; its message tells in one line where (file:line, utterance, option), what is wrong, and what to do.

    Entry points print it as `error: <message>` and exit with `exit_code` (2 for a wrong command line, 1 otherwise). Whatever is named in
    the message, it stays on one line, and has at most LONGEST characters.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(shortened(message, LONGEST))
        self.exit_code = exit_code


def shortened(text: str, longest: int = 200) -> str:
    """A text for a message: on one line, without what a terminal would obey, and without its middle if it is too long."""
    text = "".join(letter if letter.isprintable() else " " if letter in "\n\t" else repr(letter)[1:-1] for letter in text)
    return text if len(text) <= longest else f"{text[: longest // 2]} ... {text[-longest // 2 :]}"
