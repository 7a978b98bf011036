"""All figures, or those of the parts that are named; each part beside its yardstick. `make bench` runs it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

PARTS = ("ingest", "checks", "whole", "rollup", "memory", "dashboard")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"Of {', '.join(PARTS)}; all, if none is named.")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="Where the figures go.")
    given = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for part in given.parts or PARTS:
            print(f"\n{part}\n", flush=True)
            file = Path(folder, f"{part}.json")
            subprocess.run([sys.executable, "-m", f"bench.{part}", "--json", str(file)], check=True)
            figures[part] = json.loads(file.read_text())
    given.json.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"\nwritten to {given.json}")


if __name__ == "__main__":
    main()
