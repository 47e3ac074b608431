"""Problems that are refused: what is not supported, and files that are broken."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import warp_phys as wp
from tests.warp_phys.petab.decay_problem import MEASURED, decay, read, tables
from tests.warp_phys.petab.small_problems import PARAMETER_COLUMNS, Sbml, table, write_problem
from warp_phys.systems.errors import (
    MissingExtraError,
    SchemaError,
    UnknownNameError,
    UnsupportedError,
    UsageError,
)


class TestRefused:
    def refuses(self, kind: type[Exception], words: str, folder: Path, *model, **given) -> None:
        with pytest.raises(kind) as caught:
            read(folder, *model, **given)
        assert words in str(caught.value)

    @pytest.mark.parametrize(
        ("trigger", "options", "words"),
        [
            ("time > 1", {"delay": "2"}, "model.xml has events with a delay (dose)"),
            ("time > 1", {"priority": "2"}, "model.xml has events with a priority (dose)"),
            ("A == 1", {}, "the trigger of event 'dose' in model.xml is not made of comparisons"),
        ],
    )
    def test_events(self, tmp_path: Path, trigger: str, options, words: str) -> None:
        model = decay().event("dose", trigger, {"A": "2"}, **options)
        self.refuses(UnsupportedError, words, tmp_path, model)

    def test_an_event_that_changes_a_compartment(self, tmp_path: Path) -> None:
        model = decay().event("grow", "time > 1", {"cell": "2"})
        words = "events that change the size of compartments (cell)"
        self.refuses(UnsupportedError, words, tmp_path, model)

    def test_events_and_a_steady_state(self, tmp_path: Path) -> None:
        model = decay().event("dose", "time > 1", {"A": "2"})
        measurements = table(MEASURED, ("A", "only", 1, "inf"))
        words = "model.xml has events, and experiments begin in a steady state"
        self.refuses(UnsupportedError, words, tmp_path, model, measurements=measurements)

    def test_everything_that_is_unsupported_at_once(self, tmp_path: Path) -> None:
        model = decay().event("dose", "time > 1", {"A": "2"}, delay="1")
        rule = model.model.createAlgebraicRule()
        rule.setMath(model.model.getReaction(0).getKineticLaw().getMath())
        words = "has events with a delay (dose); algebraic rules, which is not supported"
        self.refuses(UnsupportedError, words, tmp_path, model)

    def test_a_compartment_whose_size_changes(self, tmp_path: Path) -> None:
        model = decay().rule("cell", "1 + time")
        words = "compartments whose size changes (cell)"
        self.refuses(UnsupportedError, words, tmp_path, model)

    def test_a_delay(self, tmp_path: Path) -> None:
        model = decay().parameter("late", constant=False).rule("late", "delay(A, 1)")
        words = "the rule of 'late' in model.xml uses a delay, which is not supported"
        self.refuses(UnsupportedError, words, tmp_path, model)

    def test_no_differential_equation(self, tmp_path: Path) -> None:
        model = Sbml().parameter("lambda", 1.0).parameter("A", 1.0)
        self.refuses(UnsupportedError, "has no differential equation", tmp_path, model)

    def test_not_sbml(self, tmp_path: Path) -> None:
        self.refuses(UsageError, "expected model.xml as SBML, received", tmp_path, "no model")

    @pytest.mark.parametrize(
        ("old", "new", "kind", "words"),
        [
            ("format_version: 1", "format_version: 2.0.0", UnsupportedError, "PEtab version 2.0.0"),
            ("[model.xml]", "[model.xml, b.xml]", UnsupportedError, "has 2 models; one is"),
            ("[model.xml]", "[]", SchemaError, "problem.yaml names no model file"),
            ("problems:", "problem:", SchemaError, "expected problem.yaml as the YAML file of a"),
            ("format_version: 1", "{", SchemaError, "problem.yaml is not YAML"),
            ("[model.xml]", "[b.xml]", FileNotFoundError, "there is no model file b.xml next to"),
        ],
    )
    def test_a_yaml_file(self, tmp_path: Path, old: str, new: str, kind, words: str) -> None:
        path = write_problem(
            tmp_path, decay(), **tables(), yaml=lambda text: text.replace(old, new)
        )
        with pytest.raises(kind) as caught:
            wp.read_petab(path)
        assert words in str(caught.value)

    def test_yaml_makes_no_objects(self, tmp_path: Path) -> None:
        path = write_problem(
            tmp_path,
            decay(),
            **tables(),
            yaml=lambda text: f"x: !!python/object/apply:os.mkdir [made]\n{text}",
        )
        with pytest.raises(SchemaError, match="is not YAML"):
            wp.read_petab(path)
        assert not (tmp_path / "made").exists()

    def test_a_missing_column(self, tmp_path: Path) -> None:
        words = "the observable table observables.tsv lacks the column 'noiseFormula'; it has"
        observables = table("observableId observableFormula", ("A", "A"))
        self.refuses(SchemaError, words, tmp_path, observables=observables)

    def test_a_scale_and_a_distribution(self, tmp_path: Path) -> None:
        words = "expected parameterScale of 'k' as lin, log or log10; received 'log2'"
        parameters = table(PARAMETER_COLUMNS, ("k", "log2", 1, 2, 1, 1))
        self.refuses(UnsupportedError, words, tmp_path, parameters=parameters)
        words = "expected noiseDistribution of 'A' as normal or laplace; received 'cauchy'"
        columns = "observableId observableFormula noiseFormula noiseDistribution"
        observables = table(columns, ("A", "A", "1", "cauchy"))
        self.refuses(UnsupportedError, words, tmp_path, observables=observables)

    def test_unknown_names(self, tmp_path: Path) -> None:
        words = "unknown observable of problem.yaml 'B'"
        measurements = table(MEASURED, ("B", "only", 1, 1))
        self.refuses(UnknownNameError, words, tmp_path, measurements=measurements)
        words = "unknown condition of problem.yaml 'onli'; did you mean 'only'"
        measurements = table(MEASURED, ("A", "onli", 1, 1))
        self.refuses(UnknownNameError, words, tmp_path, measurements=measurements)
        words = "the observable 'A' needs 'B', which has no value"
        observables = table("observableId observableFormula noiseFormula", ("A", "B", "1"))
        self.refuses(UsageError, words, tmp_path, observables=observables)

    def test_a_number_that_is_none(self, tmp_path: Path) -> None:
        words = "expected the time of measurement 1 as a number, received 'noon'"
        measurements = table(MEASURED, ("A", "only", 1, "noon"))
        self.refuses(UsageError, words, tmp_path, measurements=measurements)

    def test_too_few_placeholders(self, tmp_path: Path) -> None:
        words = "expected 1 observableParameters in the measurements of 'A', received 0"
        formula = "observableParameter1_A * A"
        observables = table("observableId observableFormula noiseFormula", ("A", formula, "1"))
        self.refuses(UsageError, words, tmp_path, observables=observables)
        words = "expected 1 noiseParameters in the measurements of 'A', received 0"
        observables = table(
            "observableId observableFormula noiseFormula", ("A", "A", "noiseParameter1_A")
        )
        self.refuses(UsageError, words, tmp_path, observables=observables)

    def test_a_condition_sets_what_a_rule_determines(self, tmp_path: Path) -> None:
        model = decay().parameter("twice", constant=False).rule("twice", "2 * A")
        words = "the condition table sets 'twice', which a rule of model.xml determines"
        conditions = table("conditionId twice", ("only", 1.0))
        self.refuses(UnsupportedError, words, tmp_path, model, conditions=conditions)

    def test_a_state_set_after_a_steady_state(self, tmp_path: Path) -> None:
        words = "condition 'only' sets the state 'A' after the steady state of condition 'rest'"
        conditions = table("conditionId A", ("rest", ""), ("only", 1.0))
        measurements = table(f"{MEASURED} preequilibrationConditionId", ("A", "only", 1, 1, "rest"))
        self.refuses(
            UnsupportedError, words, tmp_path, conditions=conditions, measurements=measurements
        )

    @pytest.mark.parametrize(
        ("module", "package"), [("libsbml", "python-libsbml"), ("yaml", "pyyaml")]
    )
    def test_without_a_library(self, tmp_path: Path, monkeypatch, module, package) -> None:
        monkeypatch.setitem(sys.modules, module, None)
        path = write_problem(tmp_path, decay().text(), **tables())
        words = rf'{package}, which is not installed: pip install "warp-phys\[petab\]"'
        with pytest.raises(MissingExtraError, match=words):
            wp.read_petab(path)

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            (("factor", "lin", 0, 1, "", 0), "parameter 'factor' is not estimated and has no nom"),
            (("factor", "lin", 2, 1, 1, 1), "expected lowerBound of 'factor' below its upperBound"),
            (("factor", "log", -2, 1, 1, 1), "bounds of 'factor' on the scale log as positive"),
            (
                ("factor", "lin", 0, 1, 1, "yes"),
                "expected estimate of 'factor' as 0 or 1",
            ),
        ],
    )
    def test_a_line_of_the_parameter_table(self, tmp_path: Path, line, words: str) -> None:
        parameters = table(PARAMETER_COLUMNS, ("lambda", "log10", 0.1, 10, 0.5, 1), line)
        self.refuses(UsageError, words, tmp_path, parameters=parameters)

    @pytest.mark.parametrize(
        ("value", "time", "words"),
        [
            (1.0, -1, "expected the time of measurement 1, of 'A', as zero or more, received -1"),
            (
                1.0,
                "nan",
                "expected the time of measurement 1, of 'A', as zero or more",
            ),
            ("inf", 1.0, "expected the value of measurement 1, of 'A', as a finite number"),
            ("nan", 1.0, "the measurement tables of problem.yaml have no value"),
        ],
    )
    def test_a_measurement(self, tmp_path: Path, value, time, words: str) -> None:
        measurements = table(MEASURED, ("A", "only", value, time))
        self.refuses(UsageError, words, tmp_path, measurements=measurements)

    def test_a_logarithm_of_nothing(self, tmp_path: Path) -> None:
        observables = table(
            "observableId observableFormula noiseFormula observableTransformation",
            ("A", "A", 0.1, "log10"),
        )
        words = "the value of measurement 1, of 'A', as a positive number (scale log10), received 0"
        measurements = table(MEASURED, ("A", "only", 0, 1))
        self.refuses(
            UsageError, words, tmp_path, observables=observables, measurements=measurements
        )

    def test_a_line_twice(self, tmp_path: Path) -> None:
        words = "expected each line of the condition table once, found 'only' twice"
        self.refuses(SchemaError, words, tmp_path, conditions="conditionId\nonly\nonly\n")

    def test_a_condition_of_something_unknown(self, tmp_path: Path) -> None:
        words = "the condition table has the column 'zeta', which is neither in model.xml nor in"
        conditions = table("conditionId zeta", ("only", 1))
        self.refuses(UsageError, words, tmp_path, conditions=conditions)

    def test_noise_that_is_not_positive(self, tmp_path: Path) -> None:
        observables = table(
            "observableId observableFormula noiseFormula", ("A", "A", "0.1 - 0.5 * A")
        )
        problem = read(tmp_path, observables=observables)
        with pytest.raises(UsageError, match="expected the noise of 'A' as positive, received -"):
            problem.log_likelihood()

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            (
                "parameters.tsv",
                b"\xff\xfe",
                "the parameter table parameters.tsv is no table",
            ),
            ("conditions.tsv", b"", "the condition table conditions.tsv is no table of tab"),
            ("problem.yaml", b"\xff", "problem.yaml is not YAML"),
            ("problem.yaml", b"problems: [1]", "expected problem.yaml as the YAML file of a PEtab"),
        ],
    )
    def test_a_file_of_something_else(self, tmp_path: Path, name, content, words) -> None:
        path = write_problem(tmp_path, decay(), **tables())
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SchemaError) as caught:
            wp.read_petab(path)
        assert words in str(caught.value)
