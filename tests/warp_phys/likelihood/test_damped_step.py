"""The damped step against the whole system of each group, assembled and solved densely."""

import pytest
import torch
from torch import Tensor

from warp_phys.likelihood.damped_step import Normal, damped_step, group_maximum, unpack

SHARED, OWN = 2, 3
GROUPS = torch.tensor([0, 1, 0, 2, 0, 2])
DAMPING = torch.tensor([1e-3, 0.7, 20.0], dtype=torch.float64)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def positive_definite(lanes: int, size: int) -> Tensor:
    """Random matrices whose unknowns differ by orders of magnitude."""
    root = draw(lanes, size, 2 * size) * torch.logspace(-3, 3, size, dtype=torch.float64)[:, None]
    return root @ root.mT


def own_only(lanes: int = 7, size: int = 4) -> tuple[Normal, Tensor]:
    matrix = positive_definite(lanes, size)
    normal = Normal(
        matrix=matrix,
        scale=matrix.diagonal(dim1=1, dim2=2),
        vector=draw(lanes, size, seed=1),
        group=torch.arange(lanes),
        groups=lanes,
        shared=0,
    )
    return normal, torch.logspace(-6, 2, lanes, dtype=torch.float64)


def arrow(shared: int = SHARED, own: int = OWN) -> Normal:
    matrix = positive_definite(len(GROUPS), shared + own)
    return Normal(
        matrix=matrix,
        scale=matrix.diagonal(dim1=1, dim2=2),
        vector=draw(len(GROUPS), shared + own, seed=1),
        group=GROUPS,
        groups=3,
        shared=shared,
    )


def nothing_frozen(normal: Normal) -> Tensor:
    return torch.zeros_like(normal.vector, dtype=torch.bool)


def places(normal: Normal, group: int) -> list[tuple[int, list[int]]]:
    """Return each lane of a group and where its unknowns stand in the group's whole system."""
    shared, own = normal.shared, normal.vector.shape[1] - normal.shared
    lanes = (normal.group == group).nonzero()[:, 0].tolist()
    return [
        (lane, [*range(shared), *range(shared + own * place, shared + own * (place + 1))])
        for place, lane in enumerate(lanes)
    ]


def whole_step(normal: Normal, damping: Tensor, frozen: Tensor, group: int) -> dict[int, Tensor]:
    """Assemble the whole damped system of a group, drop what is frozen, and solve it."""
    lanes = places(normal, group)
    size = lanes[-1][1][-1] + 1
    matrix, scale = torch.zeros(size, size).double(), torch.zeros(size).double()
    vector, held = torch.zeros(size).double(), torch.zeros(size, dtype=torch.bool)
    for lane, where in lanes:
        at = torch.tensor(where)
        matrix[at[:, None], at] += normal.matrix[lane]
        scale[at] += normal.scale[lane]
        vector[at] += normal.vector[lane]
        held[at] |= frozen[lane]
    free = (~held).nonzero()[:, 0]
    damped = matrix + damping[group] * torch.diag(scale)
    step = torch.zeros_like(vector)
    step[free] = torch.linalg.solve(damped[free[:, None], free], vector[free])
    return {lane: step[where] for lane, where in lanes}


def same_as_whole(normal: Normal, frozen: Tensor) -> None:
    step, fine = damped_step(normal, DAMPING, frozen)
    assert fine.all()
    for group in range(3):
        for lane, expected in whole_step(normal, DAMPING, frozen, group).items():
            torch.testing.assert_close(step[lane], expected, rtol=1e-8, atol=0.0)


class TestOwnUnknowns:
    def test_is_the_dense_solution(self) -> None:
        normal, damping = own_only()
        step, fine = damped_step(normal, damping, nothing_frozen(normal))
        damped = normal.matrix + torch.diag_embed(damping[:, None] * normal.scale)
        torch.testing.assert_close(
            step, torch.linalg.solve(damped, normal.vector), rtol=1e-9, atol=0.0
        )
        assert fine.all()

    def test_damps_by_the_given_scale(self) -> None:
        """With curvature added to the matrix the diagonal without it still sets the scale."""
        normal, damping = own_only()
        scale = 2.0 * normal.scale
        other = Normal(normal.matrix, scale, normal.vector, normal.group, normal.groups, 0)
        step, _ = damped_step(other, damping, nothing_frozen(normal))
        damped = normal.matrix + torch.diag_embed(damping[:, None] * scale)
        torch.testing.assert_close(
            step, torch.linalg.solve(damped, normal.vector), rtol=1e-9, atol=0.0
        )

    def test_what_is_frozen_stays_and_the_rest_moves_without_it(self) -> None:
        normal, damping = own_only()
        frozen = nothing_frozen(normal)
        frozen[2, [0, 3]] = True
        frozen[4] = True
        step, fine = damped_step(normal, damping, frozen)
        assert (step[frozen] == 0.0).all()
        assert fine.all()
        left = normal.matrix[2][1:3, 1:3] + torch.diag(damping[2] * normal.scale[2, 1:3])
        expected = torch.linalg.solve(left, normal.vector[2, 1:3])
        torch.testing.assert_close(step[2, 1:3], expected, rtol=1e-9, atol=0.0)

    @pytest.mark.parametrize("entry", [-1.0, torch.nan, torch.inf])
    def test_not_positive_definite(self, entry: float) -> None:
        """Such a system is flagged, does not move, and leaves the others bit-identical."""
        normal, damping = own_only()
        expected, _ = damped_step(normal, damping, nothing_frozen(normal))
        normal.matrix[3, 1, 1] = entry
        scale = normal.matrix.diagonal(dim1=1, dim2=2).abs()
        broken = Normal(normal.matrix, scale, normal.vector, normal.group, normal.groups, 0)
        step, fine = damped_step(broken, damping, nothing_frozen(normal))
        others = torch.arange(7) != 3
        assert fine.tolist() == others.tolist()
        assert torch.equal(step[others], expected[others])

    def test_an_unknown_that_nothing_depends_on_stays(self) -> None:
        normal, damping = own_only()
        normal.matrix[:, 1], normal.matrix[:, :, 1] = 0.0, 0.0
        step, fine = damped_step(normal, damping, nothing_frozen(normal))
        assert fine.all()
        assert (step[:, 1] == 0.0).all()
        assert (step[:, [0, 2, 3]] != 0.0).all()

    def test_a_lane_alone_has_the_same_bits(self) -> None:
        normal, damping = own_only()
        together, _ = damped_step(normal, damping, nothing_frozen(normal))
        one = Normal(
            normal.matrix[5:6], normal.scale[5:6], normal.vector[5:6], torch.arange(1), 1, 0
        )
        alone, _ = damped_step(one, damping[5:6], nothing_frozen(one))
        assert torch.equal(alone[0], together[5])


class TestSharedUnknowns:
    @pytest.mark.parametrize(("shared", "own"), [(2, 3), (1, 1), (3, 0)])
    def test_is_the_dense_solution(self, shared: int, own: int) -> None:
        normal = arrow(shared, own)
        same_as_whole(normal, nothing_frozen(normal))

    def test_shared_unknowns_move_alike(self) -> None:
        normal = arrow()
        step, _ = damped_step(normal, DAMPING, nothing_frozen(normal))
        for group in range(3):
            mine = step[group == GROUPS, :SHARED]
            assert torch.equal(mine, mine[:1].expand_as(mine))

    def test_what_is_frozen_stays(self) -> None:
        normal = arrow()
        frozen = nothing_frozen(normal)
        frozen[GROUPS == 0, 1] = True  # a shared unknown, on all lanes of its group
        frozen[0, 3] = True  # own ones
        frozen[3, SHARED:] = True
        same_as_whole(normal, frozen)
        step, _ = damped_step(normal, DAMPING, frozen)
        assert (step[frozen] == 0.0).all()

    @pytest.mark.parametrize("place", [0, SHARED])
    def test_not_positive_definite(self, place: int) -> None:
        normal = arrow()
        untouched, _ = damped_step(normal, DAMPING, nothing_frozen(normal))
        matrix = normal.matrix.clone()
        matrix[2, place, place] = -1e9
        broken = Normal(matrix, normal.scale, normal.vector, GROUPS, 3, SHARED)
        step, fine = damped_step(broken, DAMPING, nothing_frozen(normal))
        assert fine.tolist() == [False, True, True]
        others = GROUPS != 0
        torch.testing.assert_close(step[others], untouched[others], rtol=1e-14, atol=0.0)


def test_unpack_reads_the_lower_triangle_row_by_row() -> None:
    expected = torch.tensor([[1.0, 2.0, 4.0], [2.0, 3.0, 5.0], [4.0, 5.0, 6.0]])
    assert torch.equal(unpack(torch.arange(1.0, 7.0), 3), expected)


def test_group_maximum() -> None:
    values = torch.tensor([[1.0, 5.0], [2.0, 0.0], [3.0, 4.0]])
    found = group_maximum(values, torch.tensor([1, 0, 1]), 3)
    assert found.tolist() == [[2.0, 0.0], [3.0, 5.0], [0.0, 0.0]]
