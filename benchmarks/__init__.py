"""Benchmarks: LiteQ's own figures, each beside the raw limit that was measured in the same run.

`make bench` runs them; `make crash` runs the long crash test. Nothing here is installed.
"""
