"""Sentences to vectors, on a vocabulary of a few words."""

import json
import struct

import numpy as np
import pytest

from benchmarks import text

TOKENS = ["[UNK]", "play", "##ing", "##s", "a", "dog", "."]


def test_a_word_is_cut_into_the_longest_pieces_that_are_known() -> None:
    words = text.WordPieces(TOKENS)
    assert words("playing") == (1, 2)
    assert words("dogs") == (5, 3)
    assert words("cat") == (0,)
    assert words("playx") == (0,)
    assert words("a" * 1000) == ()


def test_a_sentence_is_split_at_marks_without_case_and_accents() -> None:
    assert text.split("A Dôg's play.") == ["a", "dog", "'", "s", "play", "."]


def test_a_tensor_is_read_from_its_place_in_the_file() -> None:
    first, second = np.arange(3, dtype="<f4"), np.arange(6, dtype="<f4").reshape(2, 3)
    header = {
        "a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
        "b": {"dtype": "F32", "shape": [2, 3], "data_offsets": [12, 36]},
        "c": {"dtype": "F16", "shape": [0], "data_offsets": [36, 36]},
    }
    encoded = json.dumps(header).encode()
    file = struct.pack("<Q", len(encoded)) + encoded + first.tobytes() + second.tobytes()
    assert (text.tensor(file, "b") == second).all()
    with pytest.raises(ValueError, match="F16"):
        text.tensor(file, "c")


def test_blocks_cover_every_sentence_once() -> None:
    assert text.spans(5, 2) == [(0, 1), (2, 3), (4, 4)]
