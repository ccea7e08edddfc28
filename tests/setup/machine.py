"""Whether the machine a check runs on had time for it: what happens once on a busy one is not what is checked."""

import pathlib
import statistics
import threading
import time


class Watch(threading.Thread):
    """How busy the machine's processors are, and how late one wakes up on it, while it runs: four times a second. As a context it
    runs inside."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen: list[tuple[float, float, float]] = []
        self.over = threading.Event()

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()

    @staticmethod
    def used() -> tuple[int, int]:
        """Idle, and altogether (what a hypervisor took is not idle)."""
        spent = [int(n) for n in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return spent[3] + spent[4], sum(spent)

    def run(self) -> None:
        before = self.used()
        while not self.over.is_set():
            late, begin = 0.0, time.monotonic()
            while (now := time.monotonic()) < begin + 0.25:
                time.sleep(0.01)
                late = max(late, time.monotonic() - now - 0.01)
            after = self.used()
            idle, whole = (b - a for a, b in zip(before, after))
            before = after
            self.seen.append((time.monotonic(), idle / max(whole, 1), late))

    def had_time(self, at: float, late: float) -> bool:
        """Whether there was time around `at`: processors mostly idle, and nobody woken later than `late` seconds."""
        around = [(idle, woken) for when, idle, woken in self.seen if at - 2.5 < when < at + 1.0]
        return bool(around) and statistics.mean(i for i, _ in around) > 0.35 and max(woken for _, woken in around) < late

    def always_had_time(self, late: float) -> bool:
        """As `had_time`, at each moment that was seen."""
        return all(self.had_time(when, late) for when, _, _ in self.seen)
