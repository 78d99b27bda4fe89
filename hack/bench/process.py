"""Programs that are run and measured."""

import os
import resource
import subprocess
import time
from dataclasses import dataclass


@dataclass
class Cost:
    """Of one run: seconds, the peak of the largest process in MB, and what was printed."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    output: str = ""

    def figures(self):
        return {name: getattr(self, name) for name in ("wall_s", "cpu_s", "peak_rss_mb")}


class Failed(Exception):
    """A contender that did not do what it should."""


def run(command, **options):
    """Runs a program or a shell script; raises Failed with what it printed."""
    shell = isinstance(command, str)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-ec", command] if shell else [str(word) for word in command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **options,
    )
    if done.returncode != 0:
        raise Failed(f"{command}: {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def measured(command, **options):
    """Runs a program, and returns its cost and that of everything it waited for."""
    # The peak is that of any child ever waited for; a process in between begins anew.
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            start = time.monotonic()
            output = run(command, **options)
            wall = time.monotonic() - start
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = usage.ru_utime + usage.ru_stime
            figures = f"{wall} {cpu} {usage.ru_maxrss / 1000}\n{output}"
            with os.fdopen(writer, "w") as pipe:
                pipe.write(figures)
            code = 0
        except Failed as error:
            os.write(2, str(error).encode())
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise Failed(f"{command}: see above")
    figures, _, output = text.partition("\n")
    return Cost(*map(float, figures.split()), output)
