"""Seconds in which pictures of one split are looked for in another: `python bench/doubles.py SOURCE [--output FILE]`.

All pairs whose coarse levels are alike are compared at 49 cuts, or no more than `alike.MOST_CUT` of them, those whose
uncut detail is most alike (as it is done). Told with each: how many pictures have a double.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import protocol
import torch
from protocol import Contender

from deepres.data import alike
from deepres.data.digests import looked_at
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source


def main() -> None:
    """Measure, print the table, write the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    splits = open_source(DataConfig(source=given.source)).splits()
    train, test = (looked_at(splits[name])[1] for name in ("train", "test"))
    bound, found = alike.MOST_CUT, dict[str, Any]()

    def look(name: str, most: int) -> None:
        alike.MOST_CUT = most
        index, _ = alike.nearest(train, test)
        found[name] = index

    contenders = [
        Contender(name, lambda name=name, most=most: look(name, most), len(test))
        for name, most in (("every pair", 10**12), ("the most alike uncut", bound))
    ]
    facts = protocol.claim(
        "seconds to find the pictures of test that stand in train too", torch.device("cpu"), given.rounds
    )
    seconds = protocol.measure(contenders, given.rounds, warm_up=0)
    rows = protocol.rows(contenders, seconds, contenders[0].name)
    for row in rows:
        index = found[row["contender"]]
        row |= {"seconds": protocol.spread(seconds[row["contender"]]), "doubles": int((index >= 0).sum())}
    same = bool(np.array_equal(*found.values()))
    print(protocol.table(f"{len(test):,} pictures among {len(train):,}", rows), flush=True)
    protocol.write({**facts, "images": [len(train), len(test)], "same_pairs": same, "rows": rows}, given.output)


if __name__ == "__main__":
    main()
