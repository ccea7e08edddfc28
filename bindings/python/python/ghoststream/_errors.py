"""Exceptions: one class for each kind of engine error. Each is also the builtin that Python code would expect."""

from __future__ import annotations

import operator
from typing import Any


class Error(Exception):
    """Something went wrong in GhostStream. The message names the file or field and the chain of causes."""

    #: The kind as a word, the same in every language: ``invalid``, ``not_found``, ``io`` …
    kind: str = "internal"


class Invalid(Error, ValueError):
    """An argument or a field of the document can never be right."""

    kind = "invalid"


class Unsupported(Error, NotImplementedError):
    """The build, device, codec or container cannot do what was asked."""

    kind = "unsupported"


class NotFound(Error, FileNotFoundError):
    """A file, stream, device or codec does not exist."""

    kind = "not_found"


class Device(Error, RuntimeError):
    """A GPU, driver, camera or other device failed."""

    kind = "device"


class Memory(Error, MemoryError):
    """Host or device memory ran out."""

    kind = "memory"


class Io(Error, OSError):
    """Reading or writing failed: disk full, network cut."""

    kind = "io"


class Format(Error, ValueError):
    """The media itself is damaged, encrypted or not media."""

    kind = "format"


class Cancelled(Error):
    """The operation was cancelled by its owner."""

    kind = "cancelled"


class State(Error, RuntimeError):
    """The object is in a state in which the call makes no sense, for example a finished job."""

    kind = "state"


class Busy(Error, RuntimeError):
    """A resource is in use, or a limit such as encoder sessions is reached."""

    kind = "busy"


class Denied(Error, PermissionError):
    """The system, the user or a policy such as the protocol list refused permission."""

    kind = "denied"


class Internal(Error, RuntimeError):
    """A defect in GhostStream. Please report it."""

    kind = "internal"


class Timeout(Error, TimeoutError):
    """A ``timeout`` that the caller set is over."""

    kind = "timeout"


def natural(name: str, value: Any, most: int = 2**32 - 1) -> int:
    """``value`` as a whole number that the engine has room for."""
    number = operator.index(value)
    if not 0 <= number <= most:
        raise Invalid(f"{name}: {number} is not within 0 to {most}")
    return number


def optional_natural(name: str, value: Any) -> int | None:
    """As :func:`natural`, where ``None`` says nothing."""
    return None if value is None else natural(name, value)


_WITHOUT_LENGTH: dict[type[Error], type[Error]] = {}


def without_length(error: Error) -> Error:
    """``error`` as one that is a :class:`TypeError` too: ``list()`` asks for a length as a hint, and goes on without one
    only after that."""
    kind = type(error)
    if kind not in _WITHOUT_LENGTH:
        _WITHOUT_LENGTH[kind] = type(kind.__name__, (kind, TypeError), {"__doc__": kind.__doc__, "__module__": kind.__module__})
    return _WITHOUT_LENGTH[kind](*error.args)


_CLASSES: dict[str, type[Error]] = {c.kind: c for c in Error.__subclasses__()}


def from_kind(kind: str, message: str) -> Error:
    """The exception for an engine error; called by the native module."""
    return _CLASSES.get(kind, Error)(message)
