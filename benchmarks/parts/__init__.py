"""What is measured: one part a module, each with the same phases."""

from benchmarks.parts.hello import Hello
from benchmarks.parts.part import Part
from benchmarks.parts.strong import Strong

PARTS: dict[str, type[Part]] = {part.name: part for part in (Hello, Strong)}
