"""Arrays that wait on disk come back as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mfpgan.data.spool import Spool


@pytest.mark.parametrize("on_disk", [True, False])
def test_arrays_come_back_in_any_order(on_disk: bool, tmp_path: Path) -> None:
    arrays = [np.arange(5, dtype=np.int32), np.zeros(0, np.int32), np.array([-(2**31), 2**31 - 1], np.int32)]
    with Spool(tmp_path if on_disk else None) as spool:
        assert [spool.add(array) for array in arrays] == [0, 1, 2]
        assert [spool[number].tolist() for number in (2, 0, 1, -1)] == [arrays[n].tolist() for n in (2, 0, 1, 2)]
        assert spool.add(arrays[0]) == 3, "also after reading"
        assert [len(array) for array in spool] == [5, 0, 2, 5]
        with pytest.raises(IndexError):
            spool[4]
        assert not any(name.suffix for name in tmp_path.iterdir()), "a file without a name"
