import torch

from launch.seeding import derive_seed, fast_fp32_error, seed_shard


def test_fast_fp32_error_is_measured_against_fp64() -> None:
    assert 0 < fast_fp32_error() < 1e-2


def test_equal_keys_give_equal_streams_and_others_do_not() -> None:
    def draw(*key: int) -> list[float]:
        seed_shard(*key)
        return torch.rand(4).tolist()

    keys = [(seed, step, shard) for seed in (0, 1) for step in (0, 1, 11) for shard in (0, 1)]
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)
    assert draw(1, 2, 3) == draw(1, 2, 3)


def test_the_parts_of_a_key_do_not_run_together() -> None:
    assert derive_seed(1, 11) != derive_seed(11, 1)
    assert 0 <= derive_seed(1, "x") < 2**63
