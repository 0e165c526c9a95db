"""Job keys: a job may commit as long as its key is there (rules 8 and 10)."""

import time

from elanus.coordinators.term import Term
from elanus.model.nouns import Job
from elanus.storage import codec, keys
from elanus.storage.meta import MetaStore

_MS = 1000


def begin_job(term: Term, coordinator: str, job_id: int, collection_id: int) -> tuple[str, int]:
    """The job's key and the revision that its edit compares."""
    key = keys.job(job_id)
    job = Job(coordinator=coordinator, collection_id=collection_id, started_ms=int(time.time() * _MS))
    revision = term.txn([], {key: codec.encode(job)})
    assert revision is not None, "a job key has no precondition"
    return key, revision


def forget_jobs(meta: MetaStore, term: Term, coordinator: str) -> None:
    """Ends the jobs of a coordinator that is gone: whatever they still send is refused (rule 8)."""
    jobs = [(item.key, codec.decode(item.value, Job, item.key)) for item in meta.range(keys.JOBS)[0]]
    stale = [key for key, job in jobs if job.coordinator == coordinator]
    if stale:
        term.txn([], {}, stale)
