"""One seed -> as many named, independent seeds as wanted: `derive(seed, "crops", step)`.

Every random draw of a run takes its seed from what it is for and where it stands, so no generator's
state has to be saved: a resumed run draws what the uninterrupted one would have drawn.
"""

from hashlib import blake2b


def derive(seed: int, *names: str | int) -> int:
    """The first 63 bits of BLAKE2b over `seed` and `names`: equal names give equal seeds, others independent ones."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in (seed, *names))
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1
