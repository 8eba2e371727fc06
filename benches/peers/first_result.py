"""What the first minute with gristmill takes: CPU time of `--help` and `validate`, and `init` with `run` of every template.

    python benches/peers/first_result.py target/release/gristmill

Goals: 30 ms of CPU time for the first two, 10 s for two commands to a result. Prints medians of 11 and, of templates, the seconds.
"""

import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def cpu_ms(command, folder):
    """CPU time of a command that must end with 0, in milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main():
    binary = os.path.abspath(sys.argv[1])
    specs = Path(__file__).parents[2] / "jobs" / "specs"
    median = lambda command, folder: statistics.median(cpu_ms(command, folder) for _ in range(11))
    print(f"--help: {median([binary, '--help'], '.'):.0f} ms of CPU time")
    of_specs = {spec.name: median([binary, "validate", spec], specs) for spec in sorted(specs.glob("*.toml"))}
    slowest = max(of_specs, key=of_specs.get)
    print(f"validate, {len(of_specs)} shipped specs: {min(of_specs.values()):.0f} to {of_specs[slowest]:.0f} ms ({slowest})")
    listed = subprocess.run([binary, "init"], check=True, capture_output=True, text=True).stdout
    for name in re.findall(r"^\s*([a-z_]+)\s{2,}", listed, re.M):
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            subprocess.run([binary, "init", name], cwd=folder, check=True, stdout=subprocess.DEVNULL)
            ran = subprocess.run([binary, "run", f"{name}.toml", "--quiet"], cwd=folder)
            print(f"init {name}, run: {time.monotonic() - began:.1f} s, exit code {ran.returncode}")


if __name__ == "__main__":
    main()
