"""Which channel a key belongs to is part of the stored format."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.model.hashing import channel_of

GOLDEN_INT = [0, 6, 1, 4, 3, 0, 3, 0]
GOLDEN_TEXT = [4, 1, 4, 6, 4, 5, 5]
INT64 = st.integers(-(2**63), 2**63 - 1)


def splitmix64(x: int) -> int:
    """The finalizer as its authors print it."""
    mask = (1 << 64) - 1
    x &= mask
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & mask
    return x ^ (x >> 31)


@given(st.lists(INT64, max_size=50), st.integers(1, 64))
def test_integer_keys_are_spread_by_the_splitmix64_finalizer(keys: list[int], channels: int) -> None:
    found = channel_of(pa.array(keys, pa.int64()), channels)
    assert found.tolist() == [splitmix64(k) % channels for k in keys]


def test_channels_of_integer_keys_never_change() -> None:
    keys = pa.array([0, 1, 2, 3, 42, -1, 2**63 - 1, -(2**63)], pa.int64())
    assert channel_of(keys, 7).tolist() == GOLDEN_INT


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_channels_of_text_keys_never_change(kind: pa.DataType) -> None:
    keys = pa.array(["", "a", "b", "key-000001", "Ä", "日本語", "x" * 300], kind)
    assert channel_of(keys, 7).tolist() == GOLDEN_TEXT


def test_a_slice_is_hashed_as_the_whole() -> None:
    keys = pa.array(range(100), pa.int64())
    assert channel_of(keys.slice(30, 20), 5).tolist() == channel_of(keys, 5)[30:50].tolist()


def test_keys_are_spread_evenly() -> None:
    for keys in (pa.array(range(20_000), pa.int64()), pa.array([f"{i}" for i in range(20_000)])):
        counts = np.bincount(channel_of(keys, 4), minlength=4)
        assert counts.min() > 4_700
