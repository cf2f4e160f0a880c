"""`roost model`."""

from __future__ import annotations

import json

import numpy as np
import pytest


def test_list_shows_the_newest_version(roost, workspace_path):
    (model,) = json.loads(roost("model", "list", workspace_path, "--json").stdout)
    assert (model["name"], model["newest"]["version"], model["newest"]["dim"]) == ("pca", 2, 4)
    assert "pca" in roost("model", "list", workspace_path).stdout


def test_versions_are_listed_with_their_aliases(roost, workspace_path):
    versions = json.loads(roost("model", "versions", workspace_path, "pca", "--json").stdout)
    assert [version["version"] for version in versions] == [1, 2]
    assert "champion" in versions[1]["aliases"]
    assert "champion--image_search" in roost("model", "versions", workspace_path, "pca").stdout


def test_show_takes_a_number_and_an_alias(roost, workspace_path):
    by_number = json.loads(roost("model", "show", workspace_path, "pca/2", "--json").stdout)
    by_alias = json.loads(roost("model", "show", workspace_path, "pca/champion", "--json").stdout)
    assert by_number == by_alias
    assert by_number["fingerprint"] in roost("model", "show", workspace_path, "pca/2").stdout


def test_the_card_has_what_people_write_into_it(roost, workspace_path):
    written = roost("model", "write-card", workspace_path, "pca/2", "--section", "limitations=only digits")
    assert written.exit_code == 0, written.stderr
    assert "only digits" in roost("model", "card", workspace_path, "pca/2").stdout
    assert "only digits" in json.loads(roost("model", "card", workspace_path, "pca/2", "--json").stdout)["markdown"]


def test_lineage_of_a_deployment_names_its_version(roost, workspace_path):
    tree = json.loads(roost("model", "lineage", workspace_path, "image-search/pca-v2", "--json").stdout)
    assert (tree["kind"], tree["origins"][0]["name"]) == ("deployment", "pca/2")
    assert "version pca/2" in roost("model", "lineage", workspace_path, "image-search/pca-v2").stdout


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("show", "pca/9"), 1, "no version 9"),
        (("show", "pca"), 2, "name a version as in"),
        (("versions", "pac"), 1, "did you mean 'pca'"),
        (("card", "none/1"), 1, "no model 'none'"),
        (("lineage", "nothing"), 1, "nothing"),
    ],
)
def test_what_is_not_there_is_an_error(roost, workspace_path, arguments, status, said):
    command, name = arguments
    result = roost("model", command, workspace_path, name)
    assert result.exit_code == status
    assert said in result.stderr


def test_register_from_a_function_makes_the_workspace(roost, shop):
    (shop / "rows.txt").write_text("1\n2\n")
    options = ["--from", "cli_shop:model", "--metric", "p=0.5", "--tag", "team=search", "--owner", "ann"]
    result = roost("model", "register", "new", "digits", *options, "--data", "rows.txt", "--json")
    assert result.exit_code == 0, result.stderr
    made = json.loads(result.stdout)
    assert (made["name"], made["version"], made["dim"], made["metrics"]) == ("digits", 1, 3, {"p": 0.5})
    assert (made["tags"]["team"], made["owner"], made["data"][0]["name"]) == ("search", "ann", "rows.txt")


def test_register_an_onnx_file(roost, shop):
    onnx = pytest.importorskip("onnx")
    matrix = onnx.numpy_helper.from_array(np.eye(16, 2, dtype="float32"), "m")
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", dim])
        for name, dim in (("x", 16), ("y", 2))
    ]
    node = onnx.helper.make_node("MatMul", ["x", "m"], ["y"])
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [matrix])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, "model.onnx")
    result = roost("model", "register", "new", "small", "--onnx", "model.onnx", "--json")
    assert result.exit_code == 0, result.stderr
    assert (json.loads(result.stdout)["kind"], json.loads(result.stdout)["dim"]) == ("onnx", 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "say where the model is"),
        (("--onnx", "no.onnx"), "no file no.onnx"),
        (("--from", "cli_shop"), "not an import path"),
        (("--from", "cli_shop:nothing"), "cannot be imported"),
        (("--from", "cli_shop:model", "--metric", "p"), "--metric takes name=value"),
        (("--from", "cli_shop:model", "--metric", "p=high"), "takes a number"),
    ],
)
def test_register_says_what_is_wrong(roost, shop, workspace_path, options, said):
    result = roost("model", "register", workspace_path, "digits", *options)
    assert result.exit_code == 2
    assert said in result.stderr
