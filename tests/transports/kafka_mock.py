"""librdkafka's own pretended cluster, for what a real one does at moments that cannot be chosen."""

from __future__ import annotations

import ctypes

from confluent_kafka import Producer, cimpl


class MockCluster:
    """Nodes in this process, as long as it is held. What it cannot do, see rdkafka_mock.h; topics are made here."""

    def __init__(self, nodes: int = 3) -> None:
        self._library = ctypes.CDLL(cimpl.__file__)
        self._host = Producer({"test.mock.num.brokers": nodes, "log_level": 0})
        client = ctypes.c_void_p.from_address(id(self._host) + object.__basicsize__)
        self._library.rd_kafka_handle_mock_cluster.restype = ctypes.c_void_p
        self._library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        self._library.rd_kafka_mock_get_requests.restype = ctypes.c_void_p
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_handle_mock_cluster(client))
        self._library.rd_kafka_mock_start_request_tracking(self._cluster)

    @property
    def url(self) -> str:
        servers: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return f"kafka://{servers.decode()}"

    def make(self, topic: str, partitions: int) -> None:
        assert self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1) == 0

    def first_join_waits(self, delay_s: float) -> None:
        """How long the coordinator of a new group waits for more members."""
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, int(1_000 * delay_s))

    def answer(self, topic: str, code: int) -> None:
        """What is said of the topic from now on to who asks for metadata: an error's code, 0 for none."""
        self._library.rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), code)

    def asked(self, api_key: int) -> int:
        """How many requests of a kind came to all nodes."""
        found, count = self._library.rd_kafka_mock_get_requests, ctypes.c_size_t()
        requests = ctypes.c_void_p(found(self._cluster, ctypes.byref(count)))
        each = ctypes.cast(requests, ctypes.POINTER(ctypes.c_void_p))
        keys = [self._library.rd_kafka_mock_request_api_key(ctypes.c_void_p(each[n])) for n in range(count.value)]
        self._library.rd_kafka_mock_request_destroy_array(requests, count)
        return keys.count(api_key)
