"""Measurements of the suite, each beside its peer or limit in the same run: `make bench`, `python -m bench --help`.

They run on one machine that is never quiet, so what counts are ratios: rounds of what is measured and of its peer take
turns, and each figure is the median of its rounds. Load goes to this machine alone.
"""
