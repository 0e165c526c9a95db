"""What names mean: fields, JSON paths, template parameters; and how errors speak of them."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Union

from elanus.expr import constants, tree
from elanus.expr.plan import Column, Constant, Element, Json
from elanus.model.errors import InvalidExpression, Unimplemented
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType

TemplateValue = Union[bool, int, float, str, Sequence["TemplateValue"]]  # noqa: UP007  # a forward reference

_UNBUILT = frozenset(
    {
        DataType.TIMESTAMPTZ,
        DataType.GEOMETRY,
        DataType.TEXT,
        DataType.STRUCT,
        DataType.ARRAY_OF_STRUCT,
        DataType.ARRAY_OF_VECTOR,
    }
)
_QUOTED = 60
"""Characters of the expression that a message shows."""


class Scope:
    """The schema, the template values and the text of one filter."""

    def __init__(self, text: str, schema: Schema, templates: Mapping[str, TemplateValue]) -> None:
        self.text = text
        self.schema = schema
        self.templates = templates
        self.fields: set[int] = set()

    def error(self, node: tree.Syntax, message: str) -> InvalidExpression:
        """`message`, with the text and the position of `node`."""
        source = self.text[node.pos : node.end]
        if len(source) > _QUOTED:
            source = source[: _QUOTED - 3] + "..."
        return InvalidExpression(f"{message}, in {source!r} at position {node.pos}", self.text, node.pos)

    def unimplemented(self, node: tree.Syntax, what: str) -> Unimplemented:
        return Unimplemented(f"{what} in a filter (position {node.pos}) is not built")

    def name(self, node: tree.Name) -> Column | Json:
        field = self.schema.by_name.get(node.text)
        if field is not None:
            return self._column(node, field)
        if node.text.lower() == "null":
            raise self.error(node, "null is not a value; write 'is null' or 'is not null'")
        return Json(self._dynamic(node), (node.text,))

    def path(self, node: tree.Path) -> Element | Json:
        base = node.base
        if any(isinstance(key, tree.Name) for key in node.keys):
            if base.text not in self.schema.by_name:
                self._dynamic(base)
            raise self.unimplemented(node, "a sub-field of a struct")
        keys = tuple([key for key in node.keys if not isinstance(key, tree.Name)])
        field = self.schema.by_name.get(base.text)
        if field is None:
            return Json(self._dynamic(base), (base.text, *keys))
        if field.type is DataType.JSON:
            self.fields.add(field.id)
            return Json(field.id, keys)
        if field.type is not DataType.ARRAY:
            raise self.error(node, f"'[ ]' needs a JSON or ARRAY field, {field.name!r} is {field.type.name}")
        if len(keys) != 1 or not isinstance(keys[0], int):
            raise self.error(node, f"an element of ARRAY field {field.name!r} is written {field.name}[0]")
        self.fields.add(field.id)
        return Element(field.id, keys[0], field.element_type)

    def template(self, node: tree.Template) -> Constant:
        if node.name not in self.templates:
            near = self.nearest(node.name, self.templates)
            raise self.error(node, f"no value was given for template parameter {node.name!r}{near}")
        try:
            constant = constants.of(self.templates[node.name])
            hash(constant)
            return constant
        except ValueError as error:
            raise self.error(
                node, f"the value of template parameter {node.name!r} cannot be used: {error}"
            ) from error
        except RecursionError as error:
            raise self.error(node, f"the value of template parameter {node.name!r} nests too deep") from error

    def called(self, value: Column | Element | Json) -> str:
        """The field as a message names it: INT8 field 'rank'."""
        field = self.schema.by_id[value.field_id]
        if isinstance(value, Element):
            return f"element of ARRAY field {field.name!r} of {value.type.name}"
        return f"{field.type.name} field {field.name!r}"

    def nearest(self, name: str, known: Mapping[str, object] | Sequence[str]) -> str:
        found = difflib.get_close_matches(name, list(known), n=1)
        return f"; did you mean {found[0]!r}?" if found else ""

    def quoted(self, node: tree.Syntax) -> str:
        """A hint where `node` is a name that no field has: a text whose quotes were forgotten."""
        if not isinstance(node, tree.Name) or node.text in self.schema.by_name:
            return ""
        return f"; if {node.text} is a string, write it in quotes: '{node.text}'"

    def _column(self, node: tree.Name, field: Field) -> Column | Json:
        if field.type in _UNBUILT:
            raise self.unimplemented(node, f"{field.type.name} field {field.name!r}")
        self.fields.add(field.id)
        if field.type is DataType.JSON:
            return Json(field.id, ())
        return Column(field.id, field.type, field.element_type)

    def _dynamic(self, node: tree.Name) -> int:
        dynamic = self.schema.dynamic_field
        if dynamic is None:
            near = self.nearest(node.text, self.schema.by_name) or self.quoted(node)
            raise self.error(node, f"field {node.text!r} does not exist and the dynamic field is off{near}")
        self.fields.add(dynamic.id)
        return dynamic.id
