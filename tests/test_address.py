from __future__ import annotations

import pytest

from roost.address import without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("./digits.roost", "./digits.roost"),
        ("http://127.0.0.1:19530", "http://127.0.0.1:19530"),
        ("https://root:hunter2@milvus:19530/db", "https://***@milvus:19530/db"),
        ("https://hunter2@milvus:19530", "https://***@milvus:19530"),
        ("http://u:hunter2@x@milvus", "http://***@milvus"),
        ("postgresql+psycopg://u:a/hunter2@db/roost", "postgresql+psycopg://***@db/roost"),
        (
            "postgresql://db/roost?sslmode=require&password=hunter2&x=1",
            "postgresql://db/roost?sslmode=require&password=***&x=1",
        ),
        ("https://zilliz/?api_key=hunter2", "https://zilliz/?api_key=***"),
        ("cannot reach 'http://u:hunter2@milvus' now", "cannot reach 'http://***@milvus' now"),
    ],
)
def test_secrets_are_hidden_and_the_rest_stays(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
