"""python -m benchmarks"""

from benchmarks.command import bench
from turnlog.infrastructure.cli.app import run

if __name__ == "__main__":
    run(bench, "python -m benchmarks")
