"""Labels land where Java's producers put them."""

from __future__ import annotations

import pytest

from commute.core.murmur2 import murmur2, partition_of


@pytest.mark.parametrize(
    ("data", "signed"),
    [  # the vectors of Kafka's own test of its Utils.murmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_kafkas(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed & 0xFFFFFFFF


def test_a_label_has_one_partition_and_labels_spread() -> None:
    assert partition_of("foobar", 12) == (-790332482 & 0x7FFFFFFF) % 12
    assert partition_of("größe", 7) == partition_of("gr\u00f6\u00dfe", 7)
    counts = [0] * 16
    for customer in range(16_000):
        counts[partition_of(str(customer), 16)] += 1
    assert min(counts) > 800
    assert max(counts) < 1_200
