from __future__ import annotations

import pytest

DATA = "data: {file: a.csv, target_cols: [y]}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: {depht: 3}", "model.depht is unknown; did you mean depth?"),
        ("model: {max_lr: 3}", "model.max_lr is unknown; did you mean optimization.max_lr?"),
        ("modle: {}", "modle is unknown; did you mean model?"),
        (
            "study: {zzz: 1}",
            "study.zzz is unknown; known are name, storage, folder, outage_limit_s",
        ),
        ("model: {depth: three}", "model.depth must be a whole number, not 'three'"),
        ("model: {depth: 2.5}", "model.depth must be a whole number, not 2.5"),
        ("model: {depth: true}", "model.depth must be a number, not true"),
        ("model: {depth: [3]}", "model.depth must be a whole number, not a list"),
        ("model: {depth: }", "model.depth must be a whole number, not null"),
        ("model: {depth: 0}", "model.depth must be above 0, not 0"),
        ("model: {n_experts: 1}", "model.n_experts must be at least 2, not 1"),
        ("model: {dropout: x}", "model.dropout must be a number, not 'x'"),
        ("model: {dropout: 1}", "model.dropout must be below 1, not 1"),
        ("model: {dropout: .nan}", "model.dropout must be a finite number, not nan"),
        ("model: {dropout: -0.1}", "model.dropout must be at least 0, not -0.1"),
        ("model: {batch_norm: maybe}", "model.batch_norm must be true or false, not 'maybe'"),
        ("model: {ffn_type: banched}", "model.ffn_type is 'banched'; did you mean branched?"),
        ("model: {aggregation: 3}", "model.aggregation is 3; write one of mean, sum, norm"),
        ("model: {activation: relu}", "model.activation is 'relu'; did you mean RELU?"),
        ("model: 3", "model must be a section with keys, not 3"),
        ("model:", "model must be a section with keys, not null"),
        ("study: {name: 2024}", "study.name must be text, not 2024; write it in quotes"),
        (
            "study: {name: 2024-01-02}",
            "study.name must be text, not 2024-01-02; write it in quotes",
        ),
        ("study: {folder: 3}", "study.folder must be a path, not 3"),
        (
            "study: {name: ../x}",
            "study.name is '../x'; it names a folder, so write it without / and \\",
        ),
        ("seed: 1.5", "seed must be a whole number, not 1.5"),
        ("seed: -1", "seed must be at least 0, not -1"),
        ("seed: 4294967296", "seed must be below 4294967296, not 4294967296"),
        ("optimization: {seed: -1}", "optimization.seed must be at least 0, not -1"),
        ("1: 2", "1 is a key that is no text; write it in quotes"),
        ("enqueue: {depth: 3}", "enqueue must be a list, not a mapping"),
        ("search_space: [depth]", "search_space must be a mapping, not a list"),
        (
            "model: {molecule_features: rdkit}",
            "model.molecule_features has 'rdkit'; write none, or some of morgan_binary, "
            "morgan_count, rdkit_2d, v1_rdkit_2d, v1_rdkit_2d_normalized, charge joined by +",
        ),
        (
            "model: {molecule_features: charge+charge}",
            "model.molecule_features names a feature twice: charge+charge",
        ),
    ],
)
def test_a_wrong_value_is_said_in_words_of_the_file(problems, text, expected):
    assert problems(DATA + text) == [f"sweep.yaml:2: {expected}"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("file: a.csv", "data.target_cols is missing"),
        ("file: a.csv, target_cols: y", "data.target_cols must be a list, not 'y'"),
        ("file: a.csv, target_cols: []", "data.target_cols is empty; write at least one"),
        (
            "file: a.csv, target_cols: [a, NO]",
            "data.target_cols.1 must be text, not false; write it in quotes",
        ),
        (
            "file: a.csv, target_cols: [y], target_transforms: [log]",
            "data.target_transforms.0 is 'log'; did you mean log10?",
        ),
        (
            "file: a.csv, target_cols: [y], target_transforms: {y: log}",
            "data.target_transforms.y is 'log'; did you mean log10?",
        ),
        (
            "file: a.csv, target_cols: [y], target_transforms: 3",
            "data.target_transforms must be a list or a mapping, not 3",
        ),
        (
            "file: a.csv, target_cols: [y], target_weights: [0]",
            "data.target_weights.0 must be above 0, not 0",
        ),
    ],
)
def test_a_wrong_value_of_data_is_said_in_words_of_the_file(problems, data, expected):
    assert problems(f"data: {{{data}}}") == [f"sweep.yaml:1: {expected}"]


def test_a_file_without_data_says_so(problems):
    assert problems("seed: 1") == ["sweep.yaml: data is missing"]
    assert problems("seed: 1\ndata: 3") == ["sweep.yaml:2: data must be a section with keys, not 3"]


def test_each_problem_has_the_line_of_its_own_key(problems):
    found = problems(
        """
        # a comment
        data:
          file: a.csv

          smiles_cl: SMILES
          target_cols:
            - A
            - 3
        search_space:
          depth:
            type: randint
            low: 2
            high: x
        """
    )
    assert found == [
        "sweep.yaml:5: data.smiles_cl is unknown; did you mean smiles_col?",
        "sweep.yaml:8: data.target_cols.1 must be text, not 3; write it in quotes",
        "sweep.yaml:13: search_space.depth.high must be a whole number, not 'x'",
    ]


def test_wrong_values_and_broken_rules_are_reported_at_once(problems):
    found = problems(
        """
        data:
          file: a.csv
          data_dir: folds
          smiles_cl: SMILES
          target_cols: [A, A]
          target_weights: [1, 2, 3]
        model: {depth: x}
        seed: 1
        optimization: {seed: 2, batch_size: 0}
        metric: val_rsme
        scheduler: {max_t: 5, grace_period: 6}
        search_space:
          depth: {type: randint, low: 3, high: 2}
          dropuot: {type: uniform, low: 0, high: 0.5}
          dropout: {type: uniform, low: 0, high: 1.5}
          n_experts: {type: randint, low: 2, high: 4, condition: "depth == 3 and ffn_typ == 'x'"}
        """
    )
    assert [line.split(" ")[0] + " " + line.split(" ")[1] for line in found] == [
        "sweep.yaml:2: data.file",
        "sweep.yaml:4: data.smiles_cl",
        "sweep.yaml:5: data.target_cols.1",
        "sweep.yaml:6: data.target_weights",
        "sweep.yaml:7: model.depth",
        "sweep.yaml:9: optimization.batch_size",
        "sweep.yaml:9: optimization.seed",
        "sweep.yaml:10: metric",
        "sweep.yaml:11: scheduler.grace_period",
        "sweep.yaml:13: search_space.depth",
        "sweep.yaml:14: search_space.dropuot",
        "sweep.yaml:15: search_space.dropout.high",
        "sweep.yaml:16: search_space.n_experts.condition",
    ]


def test_a_broken_key_raises_no_second_complaint_elsewhere(problems):
    text = "data: {file: 3, target_cols: [y]}\nmode: up\nmetric: val_r2\nscheduler: {max_t: x}"
    assert len(problems(text)) == 3
