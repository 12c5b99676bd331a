"""Which partition a label belongs to, as Kafka's Java client chooses it.

Every producer of a stream, whoever wrote it, has to put equal labels on one partition: so the hash is the one that
the field already uses, also for the queues ``Q.0`` to ``Q.15`` of RabbitMQ. Source: Austin Appleby, MurmurHash2
(public domain), with the seed and the sign bit of Apache Kafka's default partitioner.
"""

from __future__ import annotations

_SEED = 0x9747B28C
_M = 0x5BD1E995
_WORD = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The 32-bit hash of `data`, unsigned. O(bytes), about 1 µs for a short key."""
    size = len(data)
    whole = size & ~3
    h = _SEED ^ size
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _WORD
        k = (k ^ k >> 24) * _M & _WORD
        h = h * _M & _WORD ^ k
    if whole < size:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _WORD
    h = (h ^ h >> 13) * _M & _WORD
    return h ^ h >> 15


def partition_of(label: str, partitions: int) -> int:
    """The partition of a label, from 0 on; `partitions`, 1 or more, is how many there are. Hashes its UTF-8."""
    return (murmur2(label.encode()) & 0x7FFFFFFF) % partitions
