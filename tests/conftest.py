"""What several test files share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mfpgan.tracking.mlflow_store import Store

# Before anything imports torch: spinning OpenMP threads make tests several times slower beside another busy process.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data: $MFPGAN_DATA, or shared/data beside the repository; skips where there is none."""
    named = os.environ.get("MFPGAN_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    missing = [name for name in ("bsds500", "lvis_mini") if not (folder / name).is_dir()]
    if missing:
        pytest.skip(f"the real data is not here: no {' and no '.join(missing)} in {folder}; name it with MFPGAN_DATA")
    return folder


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keeps the tests out of the user's cache folder; one cache for the whole session."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MFPGAN_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new MLflow store; its migrations take a second, so the tests copy it."""
    from mfpgan.tracking.mlflow_store import Store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    Store(f"sqlite:///{path}")
    return path


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with no MLflow store and no setting of one."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(working_folder: Path, empty_database: Path) -> Store:
    """The working folder's store."""
    from mfpgan.tracking.mlflow_store import Store, store_uri

    shutil.copy(empty_database, working_folder / "mlflow.db")
    return Store(store_uri())
