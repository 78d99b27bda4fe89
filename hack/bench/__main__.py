"""Runs the scenarios, and writes what came out. Called by hack/bench.sh."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import report
import scenarios
from machine import Machine


def main():
    parser = argparse.ArgumentParser(prog="hack/bench.sh")
    parser.add_argument("--scenario", action="append", choices=list(scenarios.ALL))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    results = []
    for name in arguments.scenario or scenarios.ALL:
        print(f"{name}:", file=sys.stderr)
        with scenarios.ALL[name](folder / name, arguments.scale) as scenario:
            results.append(scenario.measure(arguments.runs))
    report.write(arguments.out, Machine.here(), arguments, results)
    print((arguments.out / "README.md").read_text())


os.umask(0o022)
main()
