"""The part of a model that writes and reads its files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from warp_phys.models.choices import Choices, restore
from warp_phys.models.coordinates import Coordinate, Coordinates
from warp_phys.models.drives.drive import Drive
from warp_phys.models.files import find_system, load_weights, read_model, write_model
from warp_phys.models.heads.head import Head
from warp_phys.models.heads.information import Information
from warp_phys.models.information.stored import options_from_json
from warp_phys.models.network import Network
from warp_phys.models.settings import Settings
from warp_phys.models.training_facts import TrainingFacts
from warp_phys.recurrence.transitions.transition import Transition
from warp_phys.systems.model.system import System

# Before the names of the tensors of a model that another one starts from.
_START = "start."


class StoredModel(nn.Module):
    """A model of a system that is stored in files."""

    system: System
    choices: Choices

    @property
    def settings(self) -> Settings:
        """The model's choices as plain values."""
        raise NotImplementedError

    def _set_up(self, system: System, choices: Choices) -> None:
        raise NotImplementedError

    def build(self, facts: TrainingFacts, coordinates: Coordinates, *, seed: int) -> Network:
        """Make the network."""
        raise NotImplementedError

    def built(self) -> tuple[Network, TrainingFacts]:
        """Return network and facts."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model as safetensors with a JSON header.

        Priors of the information head are stored as their moments in unconstrained coordinates.

        Raises:
            UsageError: The model is not trained, or the name does not end in .safetensors.
            OutputExistsError: The file exists and `overwrite` is off.
        """
        tensors, header = self._stored()
        write_model(path, tensors, header, overwrite=overwrite)

    def _stored(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and the header of a file."""
        header: dict[str, Any] = {
            "kind": "WarpPhys",
            "system": self.system.name,
            "system_options": self.system.options,
            "parameters": list(self.system.parameter_names),
            "settings": self.settings.to_json(),
        }
        if isinstance(self.choices.head, Information):
            tensors, header["head"] = self.choices.head.stored(self.system)
            if self.choices.head.start is not None:
                nested, header["start"] = self.choices.head.start._stored()
                tensors |= {f"{_START}{name}": tensor for name, tensor in nested.items()}
            return tensors, header
        network, facts = self.built()
        header |= {"facts": facts.to_json(), "coordinates": network.coordinates.to_json()}
        return network.state_dict(), header

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        system: System | None = None,
        head: Head | None = None,
        drive: Drive | None = None,
        structure: type[Transition] | None = None,
    ) -> Self:
        """Read a model written by `save`; nothing in the file is executed.

        Args:
            path: The file.
            system: Needed for a system of the user's own: the file holds its name, not its code.
            head: Needed for a head of the user's own, made as it was for training.
            drive: Needed for a drive of the user's own, made as it was for training.
            structure: Needed for a structure of the user's own.

        Raises:
            SchemaError: The file is not a model of this class, or of another system, head, drive
                or structure.
        """
        tensors, header = read_model(path, "WarpPhys")
        own = {"head": head, "drive": drive, "structure": structure}
        return cls._restored(tensors, header, find_system(header, system, path), path, own)

    @classmethod
    def _restored(
        cls,
        tensors: Mapping[str, Tensor],
        header: Mapping[str, Any],
        known: System,
        path: str | os.PathLike[str],
        own: Mapping[str, Any],
    ) -> Self:
        """Return the model of a file, from its tensors and its header."""
        model, name = cls(known), Path(path).name
        if "head" in header:
            arguments = options_from_json(header["head"]["options"])
            if "start" in header:
                inner = {
                    key.removeprefix(_START): tensor
                    for key, tensor in tensors.items()
                    if key.startswith(_START)
                }
                arguments["start"] = cls._restored(inner, header["start"], known, path, own)
            model._set_up(known, restore(header["settings"], name, arguments))
            if isinstance(model.choices.head, Information):
                model.choices.head.restore(header["head"], tensors)
            return model
        model._set_up(known, restore(header["settings"], name, **own))
        facts = TrainingFacts.from_json(header["facts"])
        entries = [Coordinate.from_json(entry) for entry in header["coordinates"]]
        network = model.build(facts, Coordinates(known, entries, len(facts.outputs)), seed=0)
        network.for_inference()
        load_weights(network, tensors, path)
        return model
