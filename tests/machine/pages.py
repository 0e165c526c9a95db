"""Iterators whose collection changes between their pages."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition
from pymilvus import MilvusException

from tests.machine.filters import Filter, filters
from tests.machine.history import STRONG, seeds, step
from tests.machine.reads import Reads, Request, requests
from tests.machine.samples import KEY
from tests.machine.writes import Writes
from tests.reference import newest

Change = tuple[str, int]
changes = st.lists(st.tuples(st.sampled_from(("insert", "delete", "upsert", "flush")), seeds), max_size=3)
"""What happens after each of the first pages."""


class Pages(Reads, Writes):
    @precondition(lambda self: self.loaded is not None)
    @step(chosen=filters, size=st.integers(1, 30), limit=st.sampled_from((-1, 1, 7, 40)), between=changes)
    def query_pages(self, chosen: Filter, size: int, limit: int, between: list[Change]) -> None:
        rows = newest(self.reference.matching(chosen.truth, self.readable()))
        got = self.walk(
            self.client.query_iterator(
                self.name,
                batch_size=size,
                limit=limit,
                filter=chosen.text,
                expr_params=chosen.values,
                output_fields=["*"],
                consistency_level=STRONG,
            ),
            between,
        )
        if got is None:
            return
        assert [r[KEY] for r in got] == list(rows)[: None if limit < 0 else limit]
        assert all(any(self.same(answer, r, {"*"}) for r in rows[answer[KEY]]) for answer in got)

    @precondition(lambda self: self.loaded is not None)
    @step(request=requests, size=st.integers(1, 30), between=changes)
    def search_pages(self, request: Request, size: int, between: list[Change]) -> None:
        field, [query] = request.field, self.queries(request, 1)
        kind = self.shape.kinds[field]
        wanted = self.reference.search(field, query, request.chosen.truth, self.readable())
        copies = self.copies(self.readable())
        _, params = kind.indexes[self.indexes[field]]
        got = self.walk(
            self.client.search_iterator(
                self.name,
                data=[kind.asked(query)],
                anns_field=field,
                batch_size=size,
                limit=request.limit,
                filter=request.chosen.text,
                expr_params=request.chosen.values,
                output_fields=sorted(request.output),
                search_params={"metric_type": self.shape.metrics[field], "params": params},
                consistency_level=STRONG,
            ),
            between,
        )
        if got is None:
            return
        known = {hit.key: hit for hit in wanted}
        if any(len(rows) > 1 for rows in copies.values()):
            # A copy of a key that is further away may be on a later page.
            got = list({hit[KEY]: hit for hit in reversed(got)}.values())[::-1]
        else:
            assert len(got) == min(request.limit, len(wanted))
        self.check_hits(field, got, known, request.output)

    # Any: pymilvus has no types.
    def walk(self, pages: Any, between: list[Change]) -> list[Any] | None:
        """All that is on the pages; None where compaction has removed what the next would show."""
        found: list[Any] = []
        todo = list(between)
        while True:
            try:
                page = pages.next()
            except MilvusException as error:
                if "is too old" not in str(error):
                    raise
                return None
            if not page:  # None where the limit is reached
                pages.close()
                return found
            found += page
            if todo:
                self.change(*todo.pop())

    def change(self, what: str, seed: int) -> None:
        match what:
            case "insert":
                self.write_rows([(500 + seed + i, seed + i) for i in range(5)], self.pick(seed))
            case "delete" if self.reference.rows:
                self.client.delete(self.name, ids=[self.reference.rows[seed % len(self.reference.rows)].key])
                self.reference.delete_keys([self.reference.rows[seed % len(self.reference.rows)].key])
            case "upsert":
                self.upsert_rows([(row.key, seed) for row in self.reference.rows[-3:]], self.pick(seed))
            case "flush":
                self.client.flush(self.name)
