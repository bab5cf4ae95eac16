"""What tests that render have in common: they are skipped where the renderer cannot be installed."""

import pytest


@pytest.fixture(scope="session")
def embree() -> None:
    """Embree, which has wheels for x86 only; without it people can be read, but not rendered."""
    pytest.importorskip("embreex", reason="rendering people needs the extra `synthetic`, whose embreex is not installed")
