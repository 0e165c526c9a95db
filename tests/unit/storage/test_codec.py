"""Nouns as stored bytes."""

import pytest

from elanus.model.errors import CorruptError, NewerFormatError
from elanus.model.nouns import Channel, Manifest, Mark, RangeDelete
from elanus.storage import codec


def test_a_noun_comes_back_as_it_was() -> None:
    manifest = Manifest(
        channel_id=7,
        version=3,
        floor_offset=10,
        floor_ts=1 << 60,
        range_deletes=(RangeDelete(partition_id=-1, ts=5, as_of=4),),
        edits=("data/owner/7#1",),
    )
    assert codec.decode(codec.encode(manifest), Manifest, "key") == manifest


def test_a_field_that_is_not_known_yet_is_ignored() -> None:
    """A minor addition by a later release of the same format."""
    data = b'{"format":1,"body":{"offset":3,"ts":4,"colour":"blue"}}'
    assert codec.decode(data, Mark, "key") == Mark(offset=3, ts=4)


def test_a_newer_format_is_refused_by_name_with_what_to_do() -> None:
    data = codec.encode(Mark(offset=3, ts=4)).replace(b'"format":1', b'"format":2')
    with pytest.raises(
        NewerFormatError, match="data/mark/log has format 2; this elanus reads up to 1: upgrade"
    ):
        codec.decode(data, Mark, "data/mark/log")


def test_a_newer_format_is_refused_whatever_its_body_is() -> None:
    with pytest.raises(NewerFormatError):
        codec.decode(b'{"format":9,"body":["something", "else"]}', Mark, "key")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"format":1}', b'{"format":1,"body":{"offset":"x"}}', b"\xff"]
)
def test_what_cannot_be_read_is_corrupt_and_says_where(data: bytes) -> None:
    with pytest.raises(CorruptError, match="data/channel/7 cannot be read as Channel"):
        codec.decode(data, Channel, "data/channel/7")
