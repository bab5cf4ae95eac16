"""Groups of data take turns exactly, each at its own size, whoever looks and wherever a run begins."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from shared.data.blend import Blend
from shared.data.shards import write_shards
from shared.data.stream import Stream
from shared.data.turns import Group, Turns
from shared.data.wanted import Wanted
from shared.engine.loop import Loader
from shared.engine.session import Session

BOTH = Wanted({"depth": None, "seg": None})


def write(folder, grey: int, count: int, **fields):
    image = np.full((8, 8, 3), grey, np.uint8)
    write_shards([(str(i), {"image": image, **fields}) for i in range(count)], folder)
    return str(folder)


@pytest.fixture
def turns(tmp_path) -> Turns:
    """White pictures with depth, four at a time, twice as often as black ones with parts, two at a time and larger."""
    white = write(tmp_path / "white", 255, 7, depth=np.ones((8, 8), np.float32))
    black = write(tmp_path / "black", 0, 5, seg=np.zeros((8, 8), np.uint8))
    small = Stream(white, size=(8, 8), wanted=Wanted({"depth": None}))
    large = Blend([{"shards": black}], size=(16, 12), wanted=Wanted({"seg": None}))
    return Turns([Group(small, 4, 2.0), Group(large, 2)], wanted=BOTH)


def dealt(turns: Turns, start: int, stop: int, **share) -> list[list[tuple[int, int]]]:
    return list(turns.places(start=start, stop=stop, **share))


def test_groups_take_turns_in_the_ratio_of_their_weights(turns):
    batches = dealt(turns, 0, 300)
    assert [sum(batch[0][0] == group for batch in batches) for group in (0, 1)] == [200, 100]
    for batch in batches:
        assert {group for group, _ in batch} == {batch[0][0]}, "a micro-batch is of one group"
        assert len(batch) == (4, 2)[batch[0][0]]
    for group in (0, 1):
        seen = [position for batch in batches for g, position in batch if g == group]
        assert seen == list(range(len(seen))), "none is left out or comes twice"
    assert len(turns.places(start=5, stop=9)) == 4


def test_a_restart_begins_at_the_next_micro_batch(turns):
    assert dealt(turns, 7, 20) == dealt(turns, 0, 20)[7:]


def test_processes_have_the_same_group_at_the_same_time_and_see_together_what_one_sees(turns):
    halves = [dealt(turns, 3, 30, rank=rank, processes=2) for rank in (0, 1)]
    doubled = Turns([group._replace(batch=2 * group.batch) for group in turns.groups])
    assert [a + b for a, b in zip(*halves, strict=True)] == dealt(doubled, 3, 30)


def test_a_micro_batch_has_one_shape_and_what_its_group_lacks_is_unknown(turns):
    for batch in dealt(turns, 0, 6):
        got = default_collate([turns[place] for place in batch])
        group = batch[0][0]
        hw = ((8, 8), (16, 12))[group]
        assert set(got) == {"image", "depth", "seg", "box", "position"}
        assert got["image"].shape == (len(batch), 3, *hw)
        assert got["seg"].shape == got["depth"].shape == (len(batch), *hw)
        assert bool(got["depth"].isnan().all()) == (group == 1)
        assert bool((got["seg"] == 255).all()) == (group == 0)


def test_the_loader_deals_turns(turns):
    handed = pickle.loads(pickle.dumps(turns))  # as to processes that read ahead
    loader = Loader(handed, batch=99, accumulate=3, workers=0, session=Session(torch.device("cpu")))
    shapes = [tuple(batch["image"].shape) for batch in loader.between(1, 3)]
    assert sorted(shapes) == 2 * [(2, 3, 16, 12)] + 4 * [(4, 3, 8, 8)]
    assert sorted(shapes[:3]) == sorted(shapes[3:]), "each iteration has every group"


def test_by_one_number_it_is_a_stream_of_single_pictures(turns):
    greys = [int(turns[position]["image"].float().amax()) for position in range(30)]
    assert [greys.count(grey) for grey in (255, 0)] == [20, 10]


def test_it_can_be_told_what_there_is(turns):
    assert (turns.samples, turns.replaced) == (12, 0)
    assert turns.pictures == pytest.approx(10 / 3)
    assert turns.reading(3) == "nothing yet or nothing yet"


@pytest.mark.parametrize(("change", "told"), [({"weight": 0.0}, "is no share"), ({"batch": 0}, "batch=0; it is at least 1")])
def test_what_is_no_group_is_refused(turns, change, told):
    with pytest.raises(ValueError, match=told):
        Turns([turns.groups[0]._replace(**change)])
    with pytest.raises(ValueError, match="is no share"):
        Turns([])
