"""``gs.open``: one door for reading and writing, as for files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, overload

from ._errors import Invalid
from ._reader import Reader, _Seekable
from ._writer import Writer

if TYPE_CHECKING:
    from typing_extensions import Buffer


@overload
def open(path: str | os.PathLike[str] | Buffer | _Seekable, mode: Literal["r"] = "r", **options: Any) -> Reader: ...
@overload
def open(path: str | os.PathLike[str], mode: Literal["w"], **options: Any) -> Writer: ...
def open(path: Any, mode: str = "r", **options: Any) -> Reader | Writer:
    """Opens a source for reading (``options`` are those of :class:`Reader`; bytes and file-like objects are sources too)
    or, with mode ``"w"``, a file for writing (those of :class:`Writer`)."""
    if mode == "r":
        return Reader(path, **options)
    if mode == "w":
        return Writer(path, **options)
    raise Invalid(f'mode: {mode!r} is neither "r" nor "w"')
