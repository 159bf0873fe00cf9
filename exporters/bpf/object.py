"""What a loader gives back, and what it is given: the same for libbpf and bcc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Parameters:
    """``struct parameters`` of flows.h.

    Attributes:
        sampling: 1 of N packets.
        replay: packets come from a capture file.

    """

    sampling: int = 1
    replay: bool = False

    def values(self) -> tuple[int, int]:
        """The fields in the order of :data:`exporters.bpf.layout.PARAMETERS`."""
        return self.sampling, int(self.replay)


@dataclass(slots=True)
class LoadedObject:
    """Descriptors of programs and maps, owned by this object."""

    programs: dict[str, int]
    maps: dict[str, int]
    module: Any = None
    """bcc's: must live as long as the descriptors; further programs of the object come from it."""

    def close(self) -> None:
        """Close all descriptors; programs that are attached stay until their links go."""
        for fd in (*self.programs.values(), *self.maps.values()):
            os.close(fd)
        self.programs.clear()
        self.maps.clear()
        self.module = None
