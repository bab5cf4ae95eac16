"""Shards behind addresses train as files do, bit for bit, and fail with a sentence; nothing secret is repeated."""

import json
import logging
import shutil
import sys

import pytest
import torch
from torch.utils.data import DataLoader

from shared.data import check, quarantine, remote, tarindex
from shared.data.blend import Blend
from shared.data.indexed import Indexed
from shared.data.order import Positions
from shared.data.paths import tar_paths
from shared.data.quarantine import LEAST
from shared.data.remote import Remote, Unreachable
from shared.data.shards import DamagedSample, Shards
from shared.data.stream import Stream
from shared.data.wanted import Wanted

SIZE = (8, 8)
FOUR = "{000000..000003}.tar"


def greys(stream, positions=range(40)) -> list[int]:
    return [int(stream[position]["image"].float().mean().round()) for position in positions]


@pytest.fixture
def people(small_shards, served):
    """The twelve people with every field, behind the same address."""
    for file in small_shards.glob("0*"):
        shutil.copy2(file, served.folder / f"people-{file.name}")
    return f"{served.url}/people-{{000000..000002}}.tar"


def test_a_stream_over_http_is_that_of_the_files_bit_for_bit(small_shards, people):
    wanted = Wanted({"depth": None, "normal": None, "keypoints": None})
    near, far = (Stream(shards, size=(32, 24), wanted=wanted, seed=5) for shards in (small_shards, people))
    for position in range(26):
        one, other = near[position], far[position]
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert torch.equal(value.nan_to_num(-7), other[name].nan_to_num(-7)), name


def test_neither_workers_nor_a_restart_nor_a_slow_server_change_anything(many, served):
    whole = greys(Stream(many, size=SIZE, seed=1), range(8, 32))
    stream = Stream(f"{served.url}/{FOUR}", size=SIZE, seed=1)
    stream[0]  # the process has spoken with the server already
    served.slow = 0.02
    batches = Positions(4, start=2, stop=5)
    loader = DataLoader(stream, batch_sampler=batches, num_workers=1, multiprocessing_context="forkserver")
    seen = [int(grey.round()) for batch in loader for grey in batch["image"].float().mean((1, 2, 3))]
    assert seen + greys(Stream(f"{served.url}/{FOUR}", size=SIZE, seed=1), range(20, 32)) == whole
    assert stream.replaced == 0
    assert len(served.met) > 1, "each process has connections of its own"


def test_the_index_beside_a_shard_spares_reading_it(many, served):
    shards = Shards(f"{served.url}/{FOUR}")
    assert shards.counts == [10] * 4
    assert shards.sizes == [path.stat().st_size for path in sorted(many.glob("*.tar"))]
    assert not any(served.asked["GET", f"{k:06d}.tar"] for k in range(4))
    before = served.asked.copy()
    Shards(f"{served.url}/{FOUR}")
    assert {what for what, times in (served.asked - before).items() if times} == {("HEAD", f"{k:06d}.tar") for k in range(4)}


@pytest.mark.parametrize("beside", [None, b"no index", b'{"version": 1, "bytes": 7, "cut": false, "names": {}, "samples": []}'])
def test_an_index_is_built_once_where_there_is_none_that_fits(many, served, beside, caplog):
    local = [tarindex.load(path) for path in sorted(many.glob("*.tar"))]
    for path in many.glob("*.json"):
        path.unlink() if beside is None else path.write_bytes(beside)
    assert list(tarindex.load_all(tar_paths(f"{served.url}/{FOUR}"))) == local, "with the same checksums"
    assert caplog.text.count("it is fetched once from end to end") == 4
    before = served.asked["GET", "000000.tar"]
    Shards(f"{served.url}/{FOUR}")
    assert served.asked["GET", "000000.tar"] == before


def test_an_index_that_leads_out_of_its_shard_is_not_believed(many, served):
    path = many / "000000.tar.index.json"
    content = json.loads(path.read_text())
    content["samples"][0][0] = "../../secret"
    path.write_text(json.dumps(content))
    assert Shards(f"{served.url}/000000.tar").key(0) == "00"


def test_a_shard_that_changed_has_another_index(many, served):
    first = Shards(f"{served.url}/000000.tar")
    for file in ("000000.tar", "000000.tar.index.json"):
        shutil.copy2(many / file.replace("0.tar", "2.tar"), many / file)
    second = Shards(f"{served.url}/000000.tar")
    assert (first.key(0), second.key(0)) == ("00", "20")
    with pytest.raises(DamagedSample, match="its checksum differs"):
        first.read(3)


def test_a_server_that_stumbles_is_asked_again(served):
    shards = Shards(f"{served.url}/{FOUR}")
    served.fails = (503, 2)
    assert shards.read(0)["image"].shape == (8, 8, 3)
    served.fails = (503, 3)
    with pytest.raises(DamagedSample, match=r"000000.tar cannot be read: the server answers 503; is the server there") as caught:
        shards.read(0)
    assert isinstance(caught.value.__cause__, Unreachable)


def test_who_was_given_up_is_not_waited_for_again_until_it_answers(served):
    shards = Shards(f"{served.url}/{FOUR}")
    tries = len(remote.PAUSES) + 1
    asked = []
    for fails in (100, 100, 0, 100):
        served.fails, before = (503, fails), served.asked["GET", "000000.tar"]
        if fails:
            with pytest.raises(DamagedSample):
                shards.read(0)
        else:
            shards.read(0)
        asked.append(served.asked["GET", "000000.tar"] - before)
    assert asked == [tries, 1, 1, tries]


def test_a_shard_that_goes_is_named_once_and_passed_over(many, served, monkeypatch, caplog):
    monkeypatch.setattr(quarantine, "PAUSES", (0.0, 0.01))
    whole = greys(Stream(many, size=SIZE))
    stream = Stream(f"{served.url}/{FOUR}", size=SIZE)
    (many / "000002.tar").unlink()
    left = greys(stream)
    assert set(left) == {*range(20), *range(30, 40)}
    assert all(a == b for a, b in zip(whole, left, strict=True) if a // 10 != 2), "what is whole stays where it was"
    url = f"{served.url}/000002.tar"
    assert [text for text in caplog.messages if "000002" in text] == [
        f"{url} does not exist; check the spelling: it has gone; its 10 samples are passed over"
    ]


def test_a_server_that_goes_ends_the_stream_with_a_sentence(served, monkeypatch, caplog):
    monkeypatch.setattr(quarantine, "PAUSES", (0.0,))
    stream = Stream(f"{served.url}/{FOUR}", size=SIZE, window=4)
    assert len(set(greys(stream, range(LEAST // 2)))) > 20
    served.fails = (500, 10**9)
    with pytest.raises(DamagedSample, match=r"samples in a row are damaged|\(4 shards are gone\)"):
        greys(stream, range(LEAST // 2, 3 * LEAST))
    assert caplog.text.count("cannot be read: the server answers 500; is the server there, and the network?: it has gone") == 4


def test_nobody_at_the_address_is_a_sentence(served):
    url = f"{served.url}/000000.tar"
    served.shutdown()
    served.server_close()
    with pytest.raises(Unreachable, match=r"000000\.tar cannot be read: .*; is the server there, and the network\?"):
        Shards(url)


def test_a_server_without_ranges_is_refused(served):
    shards = Shards(f"{served.url}/{FOUR}")
    served.ranges = False
    with pytest.raises(DamagedSample, match=r"gave [\d,]+ bytes for the [\d,]+ that were asked for; use one that answers Range"):
        shards.read(0)


@pytest.mark.parametrize(
    ("status", "sentence"), [(404, "does not exist; check the"), (403, "may not be read"), (418, "the server answers 418")]
)
def test_what_no_further_try_changes_is_not_tried_again(served, status, sentence):
    shards = Shards(f"{served.url}/000000.tar")
    served.fails, before = (status, 100), served.asked["GET", "000000.tar"]
    with pytest.raises(DamagedSample, match=sentence):
        shards.read(0)
    assert served.asked["GET", "000000.tar"] == before + 1


def test_a_shard_that_is_not_there_is_named(served):
    with pytest.raises(FileNotFoundError, match=r"/000004\.tar does not exist; check the spelling"):
        Shards(f"{served.url}/{{000003..000004}}.tar")


def test_files_and_addresses_lie_in_one_list_and_mix_by_weight(many, served):
    both = [str(many / "000000.tar"), f"{served.url}/000001.tar"]
    assert sorted(greys(Stream(both, size=SIZE), range(20))) == list(range(20))
    sources = [{"shards": both[0], "weight": 3.0}, {"shards": both[1], "weight": 1.0}]
    seen = greys(Blend(sources, size=SIZE), range(40))
    assert sum(grey < 10 for grey in seen) == 30
    assert seen == greys(Blend([{**sources[0]}, {"shards": str(many / "000001.tar"), "weight": 1.0}], size=SIZE), range(40))


def test_validation_and_the_checker_read_addresses(served, capsys):
    valid = Indexed(f"{served.url}/{FOUR}", size=SIZE, wanted=Wanted({}))
    assert [int(valid[i].image.float().mean().round()) for i in (0, 39)] == [0, 39]
    assert check.main([f"{served.url}/{FOUR}", "--quiet"]) == 0
    told = capsys.readouterr().out
    assert "4 shards, 0.1 MB, 10 to 10 samples each" in told
    assert "0 samples are damaged" in told


REFUSED = [
    ("pipe:cat x.tar", "'pipe:cat' is no address that shards are read from; those begin with http://, https://, s3://, gs://"),
    ("file:///x.tar", "files on disk are given by their path alone"),
    ("ftp://host/x.tar", "'ftp://host/x.tar' is no address"),
    ("simplecache::https://host/x.tar", "is no address that shards are read from"),
    ("https://host/x.tar::file:///etc/passwd", "is no address that shards are read from"),
    ("https://ann:secret@host/x.tar", "https://host/x.tar came with a name or password.* ~/.netrc"),
    ("https://host/x.tar?X-Signature=secret", "https://host/x.tar came with something behind"),
    ("https://host/folder/", r"is a folder, which HTTP cannot list; name its shards: https://host/folder/\{000000"),
]


@pytest.mark.parametrize(("text", "sentence"), REFUSED)
def test_what_is_not_read_from_is_refused_with_a_sentence_that_keeps_secrets(text, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        tar_paths(text)
    assert "secret" not in str(caught.value)


def test_a_signature_of_another_server_is_not_repeated():
    assert remote._told(OSError("url='https://cdn/x?Signature=secret'")) == "url='https://cdn/x?..."


@pytest.mark.parametrize(("url", "library"), [("s3://b/x.tar", "s3fs"), ("gs://b/x.tar", "gcsfs"), ("http://h/x.tar", "aiohttp")])
def test_a_library_that_is_missing_is_named(url, library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ValueError, match=rf"{url} needs {library}, which is not installed; pip install 'vitruvian\[remote\]'"):
        tar_paths(url)


def test_any_file_system_of_fsspec_lists_folders_and_is_read_the_same_way(many, tmp_path, monkeypatch, caplog):
    """In memory instead of S3, which no test can reach; what differs is the library behind."""
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(remote.NEEDS, "memory", "fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(many), "/bucket/people", recursive=True)
    try:
        assert greys(Stream("memory://bucket/people/", size=SIZE)) == greys(Stream(many, size=SIZE))
        with caplog.at_level(logging.WARNING), pytest.raises(FileNotFoundError, match="memory://bucket/peopel/"):
            tar_paths("memory://bucket/peopel/")
    finally:
        memory.rm("/bucket", recursive=True)


def test_an_address_is_shown_and_compared_without_what_the_server_told():
    one, two = Remote("https://host/a/x.tar"), Remote("https://host/a/x.tar", 7, "v")
    assert (str(one), one.name, one) == ("https://host/a/x.tar", "x.tar", two)
    assert one.token != two.token
