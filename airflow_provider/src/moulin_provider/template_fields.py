"""Which fields of a task Airflow renders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence


def template_fields(*names: str, **plain: str | None) -> Sequence[str]:
    """The `template_fields` of an operator: the class has all of them, a task those that may hold a template.

    A field that is left at its `plain` default holds none. Airflow would ask its configuration about it all the same,
    in every process that parses the DAG file. A field that is set later is rendered, because what a task is asked for
    is what it holds then. Mapped tasks go by the class.
    """
    return cast("Sequence[str]", _TemplateFields(names, plain))


class _TemplateFields:
    def __init__(self, names: tuple[str, ...], plain: dict[str, str | None]) -> None:
        self._names = names
        self._plain = plain
        self._others = [name for name in names if name not in plain]

    def __get__(self, task: Any, kind: type | None = None) -> Sequence[str]:
        if task is None:
            return self._names
        held = vars(task)
        # Airflow asks several times for each task, most of which say none of these.
        for name, default in self._plain.items():
            if held.get(name) != default:
                return [name for name in self._names if name not in self._plain or held.get(name) != self._plain[name]]
        return self._others.copy()
