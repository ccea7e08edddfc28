"""Hosts of their own for the nodes of a cluster: network namespaces, joined by a bridge in one more, in which the broker and the test are.

A node that is killed as a process is still told of: its kernel closes its connections. One whose host loses its power is not: nobody
hears from it any more. `lose` is that, and needs namespaces, which need root."""

import ctypes
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "push"))

from link import CLONE_NEWNET, ip, why_not  # noqa: E402, F401

BRIDGE, MIDDLE = "10.78.0.1", "br0"


class Hosts:
    """The hosts. What made them is on the middle one from then on, and so are all threads that it starts later."""

    def __init__(self) -> None:
        tag = f"gs{os.getpid() % 100000}"
        self.middle, self.made, self.tag = f"{tag}mid", [], tag
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            self._make(self.middle)
            ip("-n", self.middle, "link", "add", MIDDLE, "type", "bridge")
            ip("-n", self.middle, "addr", "add", f"{BRIDGE}/24", "dev", MIDDLE)
            ip("-n", self.middle, "link", "set", MIDDLE, "up")
            with open(f"/run/netns/{self.middle}") as there:
                self._enter(there.fileno())
        except BaseException:
            self.close()
            raise

    def _make(self, name: str) -> None:
        ip("netns", "add", name)
        self.made.append(name)
        ip("-n", name, "link", "set", "lo", "up")

    def _enter(self, namespace: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(namespace, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def add(self) -> tuple[str, str]:
        """A new host's name and address."""
        number = len(self.made)
        name, address = f"{self.tag}h{number}", f"10.78.0.{10 + number}"
        self._make(name)
        ip("-n", self.middle, "link", "add", f"h{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("-n", self.middle, "link", "set", f"h{number}", "master", MIDDLE, "up")
        ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        return name, address

    def lose(self, name: str) -> None:
        """From now on nothing comes from that host, and nothing gets there."""
        ip("-n", self.middle, "link", "del", f"h{self.made.index(name)}")

    def inside(self, name: str) -> list[str]:
        """What a command begins with that is to run there."""
        return ["ip", "netns", "exec", name]

    def close(self) -> None:
        self._enter(self.home)
        os.close(self.home)
        for name in self.made:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
