"""What the figures were measured on."""

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass
class Machine:
    kernel: str
    processor: str
    processors: int
    memory_gib: float
    load_before: float

    @staticmethod
    def here():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return Machine(
            kernel=platform.release(),
            processor=models[0] if models else platform.machine(),
            processors=len(os.sched_getaffinity(0)),
            memory_gib=round(pages / 2**30, 1),
            load_before=round(os.getloadavg()[0], 2),
        )

    def as_dict(self):
        return asdict(self)
