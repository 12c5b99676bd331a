"""amqp:// URLs: what they say, and that no message shows a password."""

from __future__ import annotations

import pytest

from commute.errors import UsageError
from commute.transports.rabbitmq import parse


def test_urls_are_read_and_shown_without_the_password() -> None:
    options = parse("amqps://us%40er:s%2Fcret@rabbit.example/shop?queue=orders&kind=classic&heartbeat_s=5")
    assert (options.host, options.port, options.vhost, options.user) == ("rabbit.example", 5671, "shop", "us@er")
    assert (options.password, options.stream, options.kind, options.heartbeat_s) == ("s/cret", "orders", "classic", 5)
    assert options.shown == "amqps://us%40er:***@rabbit.example:5671/shop?queue=orders"
    assert "s/cret" not in repr(options)
    plain = parse("amqp://[::1]/")
    assert (plain.host, plain.port, plain.vhost, plain.stream, plain.kind) == ("::1", 5672, "/", "events", "quorum")
    assert plain.shown == "amqp://guest:***@[::1]:5672/?queue=events"


@pytest.mark.parametrize(
    "url",
    ["amqp://", "amqp://u:pw@h:x/", "amqp://u:pw@h/a/b", "amqp://u:pw@h/?stream=a", "amqp://u:pw@h/?kind=stream",
     "amqp://u:pw@h/?queue=", "amqp://u:pw@h/?queue=amq.x", "amqp://u:pw@h/?heartbeat_s=0", "http://u:pw@h/"],
)  # fmt: skip
def test_other_urls_are_refused_without_the_password(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(url)
    assert refused.value.slug == "broker-url"
    assert "pw@" not in str(refused.value)
