"""Normal equations as sums: against NumPy's least squares."""

import numpy as np
import torch

from warp_phys.models.regression.normal_equations import Sums, drive_of_sums, solve


def test_each_state_is_weighted_by_its_residual() -> None:
    random = np.random.Generator(np.random.Philox(key=0))
    phi = random.normal(size=(50, 2, 3))
    truth = np.array([2.0, -1.0, 0.5])
    target = phi @ truth + random.normal(size=(50, 2)) * [0.01, 1.0]
    drive = drive_of_sums(torch.as_tensor(phi), torch.as_tensor(target))
    found = solve(Sums.from_flat(drive.sum(dim=0), 2, 3)).numpy()

    def weighted(scale: np.ndarray) -> np.ndarray:
        rows, values = phi / scale[:, None], target / scale
        return np.linalg.lstsq(rows.reshape(-1, 3), values.reshape(-1), rcond=None)[0]

    rough = weighted(np.sqrt(np.mean(target**2, axis=0)))
    expected = weighted(np.sqrt(np.mean((target - phi @ rough) ** 2, axis=0)))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(found, truth, atol=0.01)
