"""The matrix script's own judgement."""

from __future__ import annotations

import airflow_matrix


def test_what_is_only_mentioned_is_not_told() -> None:
    told = {name: ["something"] for name in airflow_matrix.TOLD}
    assert airflow_matrix.untold([told]) == []
    told.update(hooks=[], operators=["hooks of triggers"])
    del told["triggers"]
    assert airflow_matrix.untold([told]) == ["hooks", "triggers"]
