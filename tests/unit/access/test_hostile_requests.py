"""Requests that no client would send: nothing but an answer or a gRPC status comes back."""

from typing import TYPE_CHECKING, Any, NoReturn, cast

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elanus.access.protocol import messages
from elanus.access.service import handlers
from tests.unit.access.fake import FakeProxy
from tests.unit.access.test_service import SCHEMA, columns, placeholder

if TYPE_CHECKING:
    from elanus.access.proxy import Proxy

# Any below: protobuf messages of the private pool have no static types.
SERVICE = "/milvus.proto.milvus.MilvusService/"
EXPECTED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED}
INTERNAL = 5


class Aborted(Exception):
    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__(code)
        self.code = code


class Context:
    def invocation_metadata(self) -> Any:
        return ()

    def time_remaining(self) -> float | None:
        return None

    def is_active(self) -> bool:
        return True

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        raise Aborted(code)


def served() -> tuple[FakeProxy, dict[str, Any]]:
    proxy = FakeProxy()
    table = handlers(cast("Proxy", proxy))
    return proxy, {name.rpartition("/")[2]: h for name, h in table.items()}


def call(handler: Any, data: bytes) -> bytes | None:
    try:
        answer: bytes = handler.unary_unary(data, Context())
    except Aborted as aborted:
        if aborted.code not in EXPECTED:
            raise
        return None
    return answer


@given(st.binary(max_size=60), st.sampled_from(sorted(messages.methods())))
@settings(max_examples=400)
def test_no_bytes_make_an_exception_escape_any_call(data: bytes, name: str) -> None:
    _, table = served()
    handler = table[name.rpartition("/")[2]]
    if handler.unary_unary is not None:
        call(handler, data)


@pytest.fixture(scope="module")
def walked() -> dict[str, Any]:
    """A table with a loaded collection `c` behind it."""
    _, table = served()
    schema = messages.CollectionSchema(name="c", enable_dynamic_field=True)
    for field in SCHEMA.fields:
        schema.fields.add(name=field.name, data_type=int(field.type), is_primary_key=field.primary)
    schema.fields[1].type_params.add(key="dim", value="2")
    for name, request in (
        ("CreateCollection", messages.CreateCollectionRequest(schema=schema.SerializeToString())),
        ("CreateIndex", messages.CreateIndexRequest(collection_name="c", field_name="v")),
        ("LoadCollection", messages.LoadCollectionRequest(collection_name="c")),
    ):
        answer = call(table[name], request.SerializeToString())
        assert messages.Status.FromString(answer).code == 0
    return table


KINDS = st.sampled_from(["bool_data", "int_data", "long_data", "double_data", "string_data", "json_data"])
NUMBERS = st.integers(-(1 << 31), (1 << 31) - 1)
FIELDS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "type": st.integers(0, 110),
        "field_name": st.sampled_from(["pk", "v", "$meta", "", "x"]),
        "is_dynamic": st.booleans(),
        "valid_data": st.lists(st.booleans(), max_size=3),
    }
)


def spoilt(fields: dict[str, Any], kind: str, values: list[int], floats: bytes, dim: int) -> Any:
    message = messages.FieldData(**fields)
    if floats:
        message.vectors.dim = dim
        message.vectors.float_vector.data.append(floats)
        return message
    convert: Any = {"bool_data": bool, "string_data": str, "json_data": lambda v: str(v).encode()}.get(
        kind, int
    )
    getattr(message.scalars, kind).data.extend([convert(v) for v in values])
    return message


SPOILT = st.builds(
    spoilt, FIELDS, KINDS, st.lists(NUMBERS, max_size=3), st.binary(max_size=17), st.integers(-1, 4)
)


@given(st.lists(SPOILT, max_size=3), st.integers(0, 4), st.booleans())
@settings(max_examples=400)
def test_rows_of_any_shape_are_written_or_refused_as_the_callers_mistake(
    walked: dict[str, Any], fields: list[Any], rows: int, good_key: bool
) -> None:
    if good_key:
        fields = [*columns(list(range(rows)))[:1], *fields]
    request = messages.InsertRequest(collection_name="c", num_rows=rows, fields_data=fields)
    answer = call(walked["Insert"], request.SerializeToString())
    assert messages.MutationResult.FromString(answer).status.code != INTERNAL


PAIRS = st.dictionaries(
    st.sampled_from(
        ["topk", "limit", "offset", "params", "anns_field", "metric_type", "round_decimal", "iterator"]
    ),
    st.sampled_from(
        ["1", "-1", "x", "", "{}", "[", '{"ef": 1}', "v", "pk", "COSINE", "True", "99999999999999999999"]
    ),
)


@given(PAIRS, st.lists(st.binary(max_size=9), max_size=3), st.integers(0, 310))
@settings(max_examples=400)
def test_searches_of_any_shape_are_answered_or_refused_as_the_callers_mistake(
    walked: dict[str, Any], pairs: dict[str, str], values: list[bytes], type: int
) -> None:
    group = placeholder([1, 2])
    if values:
        placeholders = [{"tag": "$0", "type": type, "values": values}]
        group = messages.PlaceholderGroup(placeholders=placeholders).SerializeToString()
    request = messages.SearchRequest(collection_name="c", placeholder_group=group)
    for key, value in pairs.items():
        request.search_params.add(key=key, value=value)
    answer = call(walked["Search"], request.SerializeToString())
    assert messages.SearchResults.FromString(answer).status.code != INTERNAL
