"""Kafka over TLS, with users: what is trusted and allowed works, what is not is said in words, and soon."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from commute.errors import NotReachableError, UsageError
from commute.transports.kafka import KafkaOptions, KafkaWire, parse
from tests.brokers import broker_url, kafka_secured
from tests.transports.authority import make_authority
from tests.transports.kafka_rig import Rig
from tests.transports.wires import DEADLINE_S, messages, names

USER, GUEST = "commute:commute", "guest:guest"  # of .ci/servers.py: one may do all, the other nothing


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig(broker_url("kafka"))
    yield made
    made.close()


def url(rig: Rig, login: str = USER, *, ca_file: Path | None = None, host: str = "127.0.0.1", more: str = "") -> str:
    port, ours = kafka_secured()
    return f"kafka://{login}@{host}:{port}/{rig.topic}?ca_file={quote(str(ca_file or ours))}{more}"


def refusal(options: KafkaOptions, kind: type[Exception]) -> str:
    """What one is told who tries; within the limit of its options, which is shortened here."""
    with pytest.raises(kind) as caught:
        KafkaWire(replace(options, connect_s_max=2.0)).connect()
    return str(caught.value)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_messages_go_both_ways_with_the_authority_that_is_named(rig: Rig, mechanism: str) -> None:
    if mechanism != "PLAIN":  # that one is in the server's configuration
        kind = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
        made = rig.admin.alter_user_scram_credentials([UserScramCredentialUpsertion("commute", kind, b"commute")])
        made["commute"].result(DEADLINE_S)
    worker = rig.worker(parse(url(rig, more=f"&mechanism={mechanism}")))
    worker.wire.send(messages(2_000)).result(DEADLINE_S)
    worker.has(2_000)
    assert worker.ids == names(0, 2_000)


def test_a_wrong_password_is_said(rig: Rig) -> None:
    said = refusal(parse(url(rig, "commute:secret")), UsageError)
    assert "refuses the user" in said and "Invalid username or password" in said
    assert "look at user, password, security and mechanism" in said and "secret" not in said


def test_a_password_that_is_refused_later_is_said_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Of a connection that is made while all runs: it tries on, since a password can be set right at the broker."""
    sender = KafkaWire(replace(parse(url(rig)), confirm_s_max=3.0))
    rig.closers.append(sender.close)
    sender.connect()
    sender._options = replace(sender._options, password="secret")
    with caplog.at_level(logging.WARNING, "commute"), pytest.raises(NotReachableError):
        sender.send(messages(1)).result(DEADLINE_S)
    told = [line for line in caplog.messages if "Authentication failed" in line]
    assert len(told) == 1 and "secret" not in told[0]


def test_another_authority_is_not_trusted(rig: Rig, tmp_path: Path) -> None:
    options = parse(url(rig, ca_file=make_authority(tmp_path, "another")))
    for each in (options, replace(options, ca_file="")):
        said = refusal(each, UsageError)
        assert "is not trusted" in said and "ca_file=FILE" in said


def test_a_host_that_the_certificate_is_not_for_is_refused(rig: Rig) -> None:
    assert "the host as the certificate has it" in refusal(parse(url(rig, host="localhost")), UsageError)


def test_a_port_that_speaks_otherwise_is_said(rig: Rig) -> None:
    port, _ours = kafka_secured()
    assert "does it speak plaintext there (security=)?" in refusal(
        parse(f"kafka://127.0.0.1:{port}/t"), NotReachableError
    )
    other = parse(url(rig).replace(f":{port}", f":{parse(rig.base).hosts[0].rpartition(':')[2]}"))
    assert "does it speak sasl_ssl there (security=)?" in refusal(other, NotReachableError)


def test_a_file_without_certificates_is_said(rig: Rig, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for path in (empty, tmp_path / "missing.pem"):
        assert "has no certificates that can be read" in refusal(parse(url(rig, ca_file=path)), UsageError)


def test_who_may_not_write_is_told_so_each_time(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Where the producer itself is refused, that is one of its fatal errors: the next batch is tried anew."""
    rig.admin.create_topics([NewTopic(rig.topic, 1, 1)])[rig.topic].result(DEADLINE_S)
    assert "kafka-acls --add" in refusal(parse(url(rig, GUEST)), UsageError)
    may_look = AclBinding(
        ResourceType.TOPIC, rig.topic, ResourcePatternType.LITERAL, "User:guest", "*",
        AclOperation.DESCRIBE, AclPermissionType.ALLOW,
    )  # fmt: skip
    rig.admin.create_acls([may_look])[may_look].result(DEADLINE_S)
    sender = rig.sender(parse(url(rig, GUEST)))
    for _ in range(2):
        with pytest.raises(UsageError, match=r"does not let the user do that .*kafka-acls --add"):
            sender.send(messages(1)).result(DEADLINE_S)
    assert rig.end() == 0


def doctor(address: str) -> tuple[int, dict[str, str], str]:
    """The status of `commute doctor`, what it finds of the broker, and all that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "commute", "doctor", address, "--json"],
        capture_output=True, text=True, timeout=2 * DEADLINE_S, check=False,
    )  # fmt: skip
    parts = json.loads(done.stdout)["parts"] if done.stdout else [{"findings": []}]
    return done.returncode, {each["what"]: each["text"] for each in parts[0]["findings"]}, done.stdout + done.stderr


def test_the_doctor_says_it(rig: Rig) -> None:
    rig.admin.create_topics([NewTopic(rig.topic, 1, 1)])[rig.topic].result(DEADLINE_S)
    status, found, _said = doctor(url(rig))
    assert status == 0 and "user commute" in found["broker"] and "encryption" not in found
    status, _found, said = doctor(url(rig, "commute:secret"))
    assert status != 0 and "refuses the user" in said and "secret" not in said
