"""Run the short form of all benchmarks that need neither a GPU nor data, and print the goals: ``make bench``.

The last table is made of the JSON files of this run.
"""

import subprocess
import sys
import time

from benchmarks.timing import FOLDER, command_line, goal_lines

SHORT = {
    "startup": ["--runs", "3"],
    "overhead": ["--runs", "5", "--steps", "40"],
    "loader": ["--runs", "3", "--images", "100"],
    "evaluation": ["--runs", "3", "--images", "32"],
    "metric": ["--runs", "5"],
    "class_map": ["--runs", "5"],
    "models": ["--runs", "3"],
    "compiled": ["--runs", "3"],
}


def main() -> None:
    command_line(__doc__).parse_args()
    failed = []
    for name, options in SHORT.items():
        (FOLDER / f"{name}.json").unlink(missing_ok=True)
        print(f"\n{name}: python -m benchmarks.{name} {' '.join(options)}", flush=True)
        start = time.perf_counter()
        if subprocess.run([sys.executable, "-W", "ignore", "-m", f"benchmarks.{name}", *options]).returncode:
            failed.append(name)
        print(f"({time.perf_counter() - start:.0f} s)", flush=True)
    print("\n" + "\n".join(goal_lines(SHORT)))
    if failed:
        sys.exit(f"error: these benchmarks failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
