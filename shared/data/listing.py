"""The JSON member of a sample: small fields as lists of numbers, and beside them `facts`, which are no field.

    {"box": [x0, y0, x1, y1], "keypoints": [[x, y, visible], ...], "facts": {"shot": "full", "people": [...], ...}}

Facts are whatever is known of a sample: how it was made, who is in it. Whoever reads fields passes over them.
"""

import json
from collections.abc import Collection, Mapping
from types import NoneType
from typing import Any

import numpy as np

MAX_JSON_BYTES = 2**24
MAX_LISTED = 4096  # numbers of one field
FACTS = "facts"  # the entry that is no field


def rows(name: str, array: np.ndarray) -> Any:
    """A small array as nested lists for JSON, null where it is NaN."""
    if array.dtype.kind not in "fiub" or array.size > MAX_LISTED:
        raise ValueError(
            f"field {name!r} ({array.dtype}, shape {array.shape}) has no codec of its own, and JSON takes at most {MAX_LISTED} "
            "numbers; leave it out or add a codec to shared/data/codec.py"
        )
    if np.isinf(array).any():
        raise ValueError(f"field {name!r} holds an infinity; write NaN where a value is unknown")
    # By way of text: a float32 then is written with the nine digits that it has, not with the seventeen of its float64.
    listed = (array.astype(str).astype(np.float64) if array.dtype.kind == "f" else array).astype(object)
    listed[np.isnan(array)] = None
    return listed.tolist()


def write(listed: Mapping[str, Any]) -> bytes:
    """The member; the same entries give the same bytes."""
    try:
        content = json.dumps(listed, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"its facts are nothing that JSON can hold ({error}); use numbers, text, lists and tables of those"
        ) from error
    if len(content) > MAX_JSON_BYTES:
        raise ValueError(f"its JSON member would have {len(content):,} bytes; at most {MAX_JSON_BYTES:,} are read")
    return content


def fields(content: bytes, *, without: Collection[str]) -> dict[str, np.ndarray]:
    """The entries that are numbers or rectangular lists of numbers, as float32, but for those `without`; others are dropped."""
    arrays = {}
    for name, entry in entries(content).items():
        if name == FACTS or name in without or entry is None:
            continue
        try:
            listed = np.array(entry, object)
            if all(type(number) in {int, float, NoneType} for number in listed.flat):
                arrays[name] = listed.astype(np.float32)  # None becomes NaN
        except (ValueError, OverflowError):  # ragged lists, numbers beyond float32
            continue
    return arrays


def entries(content: bytes) -> dict[str, Any]:
    """The entries of a JSON object as they are; none where it is another thing.

    Raises:
        ValueError: it is too long, or no JSON.
    """
    if len(content) > MAX_JSON_BYTES:
        raise ValueError(f"the JSON member has {len(content):,} bytes; at most {MAX_JSON_BYTES:,} are read")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no readable JSON ({error})") from error
    return found if isinstance(found, dict) else {}
