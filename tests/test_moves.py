"""What the discriminator sees is turned, mirrored and shifted: by hand, and as facts about every draw."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mfpgan.training.moves import FARTHEST, STILL, Move, apply_moves, draw_move


def picture(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32)[None, None]


def moved(pictures: Tensor, move: Move) -> list[list[float]]:
    rows: list[list[float]] = apply_moves(pictures, [move])[0, 0].tolist()
    return rows


TWO_BY_THREE = picture([1, 2, 3], [4, 5, 6])


def test_moves_of_two_rows_by_hand() -> None:
    assert moved(TWO_BY_THREE, Move(2, False, 0, 0)) == [[6, 5, 4], [3, 2, 1]]
    assert moved(TWO_BY_THREE, Move(0, True, 0, 0)) == [[3, 2, 1], [6, 5, 4]]
    assert moved(TWO_BY_THREE, Move(0, False, 1, 0)) == [[0, 0, 0], [1, 2, 3]]
    assert moved(TWO_BY_THREE, Move(0, False, -1, 1)) == [[0, 4, 5], [0, 0, 0]]
    assert moved(TWO_BY_THREE, Move(0, False, 0, -2)) == [[3, 0, 0], [6, 0, 0]]


def test_moves_of_a_square_by_hand() -> None:
    square = picture([1, 2], [3, 4])
    assert moved(square, Move(1, False, 0, 0)) == [[2, 4], [1, 3]], "a quarter turn against the clock"
    assert moved(square, Move(3, False, 0, 0)) == [[3, 1], [4, 2]]
    # First the turn, then the mirror [[4, 2], [3, 1]], then the shift.
    assert moved(square, Move(1, True, 1, 0)) == [[0, 0], [4, 2]]
    assert moved(square, Move(1, True, 0, 1)) == [[0, 4], [0, 3]]


def test_who_stays_is_the_same_tensor_and_each_picture_has_its_own_move() -> None:
    two = torch.cat([TWO_BY_THREE, TWO_BY_THREE + 10])
    assert apply_moves(two, [STILL, STILL]) is two
    one = apply_moves(two, [STILL, Move(2, False, 0, 0)])
    assert torch.equal(one[0], two[0])
    assert one[1, 0].tolist() == [[16, 15, 14], [13, 12, 11]]


def test_the_gradient_goes_back_where_the_pixel_came_from() -> None:
    pictures = TWO_BY_THREE.clone().requires_grad_()
    # Half a turn, then one to the right: 6 and 5 land beside the zeros, 4 and 1 leave... [[0, 6, 5], [0, 3, 2]].
    after = apply_moves(pictures, [Move(2, False, 0, 1)])
    assert after[0, 0].tolist() == [[0, 6, 5], [0, 3, 2]]
    (after * picture([10, 20, 30], [40, 50, 60])).sum().backward()
    assert pictures.grad is not None
    assert pictures.grad[0, 0].tolist() == [[0, 60, 50], [0, 30, 20]]


sides = st.integers(1, 24)


@settings(max_examples=40, deadline=None)
@given(sides, sides, st.integers(0, 2**32 - 1))
def test_a_mask_painted_into_the_photo_stays_on_it_and_nothing_is_resampled(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = torch.from_numpy(rng.random((3, 1, height, width)) < 0.5).float()
    values = torch.arange(1.0, 1 + 3 * height * width).view(3, 1, height, width)
    image = torch.cat([mask, values, mask * values], 1)
    moves = [draw_move(rng, height, width, 1.0) for _ in range(3)]
    after, mask_after = apply_moves(image, moves), apply_moves(mask, moves)
    assert torch.equal(after[:, :1], mask_after)
    assert torch.equal(after[:, 1:2] * mask_after, after[:, 2:])
    for item, move in enumerate(moves):
        seen = after[item, 1].flatten()
        seen = seen[seen > 0]
        assert len(seen.unique()) == len(seen), "no pixel twice"
        assert len(seen) == (height - abs(move.down)) * (width - abs(move.right)), "only the shift loses pixels"
        assert torch.isin(seen, values[item]).all(), "and none is made up"


@settings(max_examples=40, deadline=None)
@given(sides, sides, st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_draws_keep_their_limits_and_are_a_function_of_the_chance(
    height: int, width: int, seed: int, probability: float
) -> None:
    def draw(chosen: float) -> list[Move]:
        return [draw_move(np.random.default_rng([seed, item]), height, width, chosen) for item in range(6)]

    moves, everyone = draw(probability), draw(1.0)
    assert moves == draw(probability)
    assert draw(0.0) == [STILL] * 6
    # Who moves depends on the probability, how they move does not.
    assert all(move in (STILL, full) for move, full in zip(moves, everyone, strict=True))
    for move in everyone:
        assert abs(move.down) <= height * FARTHEST
        assert abs(move.right) <= width * FARTHEST
        assert move.turns in ((0, 1, 2, 3) if height == width else (0, 2))


def test_every_turn_mirror_and_shift_is_drawn_and_half_of_the_pictures_move() -> None:
    rng = np.random.default_rng(0)
    square = [draw_move(rng, 16, 16, 1.0) for _ in range(400)]
    tall = [draw_move(rng, 24, 16, 1.0) for _ in range(400)]
    assert {move.turns for move in square} == {0, 1, 2, 3}
    assert {move.turns for move in tall} == {0, 2}
    assert {move.mirrored for move in square} == {False, True}
    assert {move.down for move in tall} == {-3, -2, -1, 0, 1, 2, 3}
    assert {move.right for move in tall} == {-2, -1, 0, 1, 2}
    still = sum(draw_move(rng, 64, 64, 0.5) == STILL for _ in range(1000))
    assert 430 < still < 570
    assert len(set(square)) > 50, "each picture has luck of its own"
