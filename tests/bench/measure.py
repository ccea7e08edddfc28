"""Runs a command and says what it cost: wall clock, CPU, peak memory, and when its segments were closed."""

import ctypes
import dataclasses
import os
import pathlib
import select
import statistics
import struct
import subprocess
import tempfile
import threading
import time


@dataclasses.dataclass
class Run:
    """One run of one command."""

    wall: float  # seconds
    cpu: float  # seconds of user and system time, of the process and the children it waited for
    rss: float  # MiB at the peak
    extra: dict = dataclasses.field(default_factory=dict)


class Failed(Exception):
    """The command did not end well; carries its last words."""


def run(argv: list[str], watch: pathlib.Path | None = None, sample_memory: bool = False) -> Run:
    """Runs `argv` to its end.

    With `watch`, `extra["closed"]` lists (seconds since the start, path) of every file closed below that folder.
    With `sample_memory`, `extra["memory"]` lists (seconds since the start, resident MiB) twice a second.
    """
    watcher = FolderWatch(watch) if watch else None
    with tempfile.TemporaryFile() as words:
        begin = time.monotonic()
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=words, stderr=words)
        if watcher:
            watcher.start(begin)
        memory: list[tuple[float, float]] = []
        done = threading.Event()
        sampler = threading.Thread(target=_sample, args=(process.pid, begin, done, memory))
        if sample_memory:
            sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        done.set()
        if sample_memory:
            sampler.join()
        extra: dict = {}
        if watcher:
            extra["closed"] = watcher.stop()
        if sample_memory:
            extra["memory"] = memory
        if process.returncode != 0:
            words.seek(0)
            tail = words.read()[-2000:].decode("utf-8", "replace")
            raise Failed(f"{' '.join(argv)}\nended with {process.returncode}:\n{tail}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, extra)


def _sample(pid: int, begin: float, done: threading.Event, into: list[tuple[float, float]]) -> None:
    page = os.sysconf("SC_PAGE_SIZE") / 2**20
    while not done.wait(0.5):
        try:
            resident = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return
        into.append((time.monotonic() - begin, resident * page))


def slope(samples: list[tuple[float, float]]) -> float:
    """MiB a minute over the second half of the samples: the first half fills caches and queues."""
    half = samples[len(samples) // 2 :]
    if len(half) < 4:
        raise Failed(f"too few memory samples ({len(samples)}) for a slope; loop longer")
    line = statistics.linear_regression([t for t, _ in half], [m for _, m in half])
    return line.slope * 60


class FolderWatch:
    """Tells when files below a folder are closed after writing or moved into place (inotify)."""

    _CLOSE_WRITE, _MOVED_TO, _CREATE, _IS_DIR = 0x8, 0x80, 0x100, 0x40000000
    _EVENT = struct.Struct("iIII")

    def __init__(self, root: pathlib.Path):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._folders: dict[int, pathlib.Path] = {}
        self._closed: list[tuple[float, str]] = []
        self._stop = threading.Event()
        self._root = root
        self._add(root)

    def _add(self, folder: pathlib.Path) -> None:
        mask = self._CLOSE_WRITE | self._MOVED_TO | self._CREATE
        watch = self._libc.inotify_add_watch(self._fd, os.fsencode(folder), mask)
        if watch < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch", str(folder))
        self._folders[watch] = folder
        for child in folder.iterdir():
            if child.is_dir():
                self._add(child)

    def start(self, begin: float) -> None:
        self._thread = threading.Thread(target=self._read, args=(begin,))
        self._thread.start()

    def stop(self) -> list[tuple[float, str]]:
        self._stop.set()
        self._thread.join()
        os.close(self._fd)
        return self._closed

    def _read(self, begin: float) -> None:
        while True:
            if not select.select([self._fd], [], [], 0.1)[0]:
                # What happened before the end is read to its end.
                if self._stop.is_set():
                    break
                continue
            now = time.monotonic() - begin
            data = os.read(self._fd, 1 << 16)
            at = 0
            while at < len(data):
                watch, mask, _, length = self._EVENT.unpack_from(data, at)
                at += self._EVENT.size
                name = data[at : at + length].rstrip(b"\0")
                at += length
                path = self._folders[watch] / os.fsdecode(name)
                if mask & self._IS_DIR:
                    if mask & (self._CREATE | self._MOVED_TO) and path.is_dir():
                        self._add(path)
                        # What was finished in it before the watch began tells of itself no more.
                        done = (f for f in sorted(path.rglob("*")) if f.is_file() and f.suffix != ".part")
                        self._closed += [(now, str(f.relative_to(self._root))) for f in done]
                elif mask & (self._CLOSE_WRITE | self._MOVED_TO):
                    self._closed.append((now, str(path.relative_to(self._root))))
