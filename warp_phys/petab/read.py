"""Reading of PEtab problems."""

from __future__ import annotations

import os
from pathlib import Path

from warp_phys.petab.problem import PetabProblem
from warp_phys.petab.sbml_model import read_model
from warp_phys.petab.tables import read_tables


def read_petab(path: str | os.PathLike[str]) -> PetabProblem:
    r"""Read a parameter estimation problem in the PEtab format, version 1.

    The SBML model becomes a system: species are states, in concentrations or, where they have only
    substance units, in amounts. Reactions, rate and assignment rules, initial assignments,
    function definitions and piecewise functions, also of time, are translated to torch functions.
    Each pair of a condition and the one equilibrated before becomes a trajectory. Reading needs the
    packages python-libsbml and pyyaml: pip install 'warp-phys[petab]'. No text of a file is run as
    code.

    Args:
        path: The YAML file of the problem. Tables and model are found next to it.

    Returns:
        The problem, which unpacks as `system, data, arguments`, so that
        `fit(system, data, **arguments)` fits it. Its method `log_likelihood` evaluates the
        parameters of the problem.

    Raises:
        FileNotFoundError: A file does not exist.
        SchemaError: A table lacks a column, or the YAML file is not that of a problem.
        UnsupportedError: The problem has features that are not supported; the message names them.
        UsageError: A value or formula is not valid.
        MissingExtraError: python-libsbml or pyyaml is not installed.

    References:
        L. Schmiester et al., PLoS Comput. Biol. 17 (2021) e1008646,
        doi:10.1371/journal.pcbi.1008646.
        M. Hucka et al., J. Integr. Bioinform. 16 (2019) 20190021, doi:10.1515/jib-2019-0021.

    Example:
        >>> from pathlib import Path
        >>> import tempfile
        >>> import libsbml
        >>> document = libsbml.SBMLDocument(3, 2)
        >>> model = document.createModel("decay")
        >>> k = model.createParameter()
        >>> _ = k.setId("k"), k.setConstant(True), k.setValue(1.0)
        >>> x = model.createParameter()
        >>> _ = x.setId("x"), x.setConstant(False), x.setValue(1.0)
        >>> rule = model.createRateRule()
        >>> _ = rule.setVariable("x"), rule.setMath(libsbml.parseL3Formula("-k * x"))
        >>> files = {
        ...     "model.xml": libsbml.writeSBMLToString(document),
        ...     "problem.yaml": "format_version: 1\nparameter_file: parameters.tsv\n"
        ...     "problems:\n- condition_files: [conditions.tsv]\n"
        ...     "  observable_files: [observables.tsv]\n"
        ...     "  measurement_files: [measurements.tsv]\n  sbml_files: [model.xml]\n",
        ...     "parameters.tsv": "parameterId\tparameterScale\tlowerBound\tupperBound\t"
        ...     "nominalValue\testimate\nk\tlog10\t0.01\t100\t0.5\t1\n",
        ...     "conditions.tsv": "conditionId\nonly\n",
        ...     "observables.tsv": "observableId\tobservableFormula\tnoiseFormula\nseen\tx\t0.1\n",
        ...     "measurements.tsv": "observableId\tsimulationConditionId\tmeasurement\ttime\n"
        ...     "seen\tonly\t0.6\t1.0\nseen\tonly\t0.4\t2.0\n",
        ... }
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, text in files.items():
        ...         _ = (Path(folder) / name).write_text(text)
        ...     problem = read_petab(Path(folder) / "problem.yaml")
        >>> problem
        PetabProblem(problem: 1 estimated parameters, 2 measurements, 1 trajectories, 1 states)
        >>> round(problem.log_likelihood({"k": 0.5}), 3)
        2.714
    """
    source = Path(path)
    tables = read_tables(source)
    return PetabProblem(tables, read_model(tables.model))
