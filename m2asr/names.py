"""The rules for names, checked where a config or an option is read: none leads outside of its folder, and none clashes with torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from m2asr.errors import UserError

LONGEST = 100  # characters; file systems allow 255 bytes, and folders and endings are put around a name
WORD = re.compile(r"[^\W\d_]\w*(-\w+)*")
FILE = re.compile(r"\w[\w.=+@,-]*")
TEXT = re.compile(r"text(\.\w[\w.=+@,-]*)?")
_OF_TORCH = """
    T_destination add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda double dump_patches eval extra_repr
    float forward get_buffer get_extra_state get_parameter get_submodule half ipu items keys load_state_dict modules mtia named_buffers
    named_children named_modules named_parameters parameters pop register_backward_hook register_buffer register_forward_hook
    register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook register_state_dict_pre_hook
    requires_grad_ set_extra_state set_submodule share_memory state_dict to to_empty train training type update values xpu zero_grad
"""
_OF_SYSTEM = """
    after_step augment blank cmvn compares embedding_name encode groups head_name mean module_names module_parameters normalize objectives
    prepare reaches scale sizes source spread_names spread_parameters stacks theta untrained
"""
TAKEN = frozenset(_OF_TORCH.split())  # attributes of torch's modules, under which a module of that name could not be found
SYSTEM = frozenset(_OF_SYSTEM.split())  # attributes of a system beside its modules


def is_name(text: str) -> bool:
    """Whether a part of a config may have this name: it begins with a letter, and letters, digits, _ and single - follow."""
    return len(text) <= LONGEST and WORD.fullmatch(text) is not None


def is_file_name(text: str) -> bool:
    """Whether a file or folder may have this name: it begins with a letter, digit or _, and letters, digits and _ . = + @ , - follow."""
    return len(text) <= LONGEST and FILE.fullmatch(text) is not None


def is_text_name(text: str) -> bool:
    """Whether a table of texts may have this name: `text`, or `text.` and a name, such as text.de."""
    return len(text) <= LONGEST and TEXT.fullmatch(text) is not None


def check_option(option: str, *values: str) -> None:
    """Raise UserError unless every value of an option may be the name of a file or folder."""
    for value in values:
        if not is_file_name(value):
            raise UserError(f"{option} {value!r}: {RULES[is_file_name]}", exit_code=2)


RULES: dict[Callable[[str], bool], str] = {
    is_name: f"a name begins with a letter, and has letters, digits, _ and single -, {LONGEST} characters at most",
    is_file_name: f"a name of a folder begins with a letter, digit or _, and has letters, digits and _ . = + @ , -, {LONGEST} at most",
    is_text_name: "the name of a table is `text`, or `text.` with letters, digits and _ . = + @ , - after it, such as text.de",
}


def _checked(rule: Callable[[str], bool], taken: frozenset[str] = frozenset()) -> AfterValidator:
    def check(text: str) -> str:
        if not rule(text):
            raise PydanticCustomError("name", RULES[rule])
        if text in taken:
            raise PydanticCustomError("name", "this name is taken; choose another one")
        return text

    return AfterValidator(check)


Name = Annotated[str, _checked(is_name)]
ObjectiveName = Annotated[str, _checked(is_name, TAKEN)]
TokensName = Annotated[str, _checked(is_name, frozenset({"feats"}))]  # `feats` is the input of features
FileName = Annotated[str, _checked(is_file_name)]
TextName = Annotated[str, _checked(is_text_name)]
