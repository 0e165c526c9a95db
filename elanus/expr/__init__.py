"""The filter language: text -> syntax tree -> typed plan."""

from collections.abc import Mapping

from elanus.expr.binder import Binder
from elanus.expr.parser import Limits, parse_tree
from elanus.expr.plan import Always, Json, Plan, Predicate
from elanus.expr.scope import Scope, TemplateValue
from elanus.model.errors import InvalidExpression
from elanus.model.schema import Schema

__all__ = ["Limits", "Plan", "Predicate", "TemplateValue", "json_path", "parse"]

_DEFAULT_LIMITS = Limits()


def parse(
    text: str,
    schema: Schema,
    templates: Mapping[str, TemplateValue] | None = None,
    limits: Limits = _DEFAULT_LIMITS,
) -> Plan:
    """The typed plan of a filter; an empty one is true for every row.

    Raises InvalidExpression with the position and what was expected, Unimplemented with the name of what is
    known to the language but not built.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidExpression(
            f"the character at position {error.start} is not valid text", text, error.start
        ) from error
    if not text.strip(" \t\r\n"):
        return Plan(Always(True), frozenset(), schema.primary.id)
    tree = parse_tree(text, limits)
    scope = Scope(text, schema, templates or {})
    root = Binder(scope, limits.max_depth).condition(tree)
    return Plan(root, frozenset(scope.fields), schema.primary.id)


def json_path(text: str, schema: Schema) -> Json:
    """What a path such as `meta["a"]["b"]` or a dynamic key names. Raises InvalidExpression."""
    tree = parse_tree(text, _DEFAULT_LIMITS)
    scope = Scope(text, schema, {})
    found = Binder(scope, _DEFAULT_LIMITS.max_depth).bind(tree)
    if not isinstance(found, Json):
        raise scope.error(tree, "expected a path of a JSON field or of the dynamic field")
    return found
