"""What is measured: one part a module, each with the same phases."""

from benchmarks.parts.filters import Filters
from benchmarks.parts.hello import Hello
from benchmarks.parts.ingest import Ingest
from benchmarks.parts.many import Many
from benchmarks.parts.mixed import Mixed
from benchmarks.parts.part import Part
from benchmarks.parts.plain import Plain
from benchmarks.parts.ready import Ready
from benchmarks.parts.restart import Restart
from benchmarks.parts.search import Search
from benchmarks.parts.strong import Strong

PARTS: dict[str, type[Part]] = {
    part.name: part for part in (Ready, Hello, Strong, Ingest, Search, Plain, Filters, Restart, Mixed, Many)
}
"""In the order they run in: those that begin anew come before those that share the run's collection."""
