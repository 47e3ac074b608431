"""Reading of PEtab problems."""
from __future__ import annotations
import os
from pathlib import Path
from warp_phys.petab.assemble import assemble
from warp_phys.petab.sbml_model import read_model
from warp_phys.petab.tables import read_tables
def assembled_problem(path):
    tables = read_tables(Path(path))
    model = read_model(tables.model)
    return tables, model, assemble(tables, model)
