"""The test brokers: what each needs, where it keeps its data, how it is started and asked whether it answers.

All listen on 127.0.0.1 only, on ports that are not the usual ones, and keep what they write below their own folder.
They are set up to start fast and to be small, not to be quick: what they confirm is as durable as the broker makes it
by default, since tests kill them. Mosquitto would lose half an hour of messages by default, so it saves after each
change (unless COMMUTE_MOSQUITTO=default); that writes all that it holds, so ten times the backlog takes it a hundred
times as long.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import handshakes
from machine import NotAvailableError, last_line, program, run, start_of

HERE = Path(__file__).resolve().parent
JARS_S_MAX = 240
SETUP_S_MAX = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One process to start."""

    command: list[str]
    role: str = "server"
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None  # another one than ours
    listens_at: int | None = None  # the next process is started when it does


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One broker. `launches` writes its configuration and makes its data folder; the server itself comes last."""

    name: str
    packages: Mapping[str, str]  # program -> Debian package that brings it
    ports: Mapping[str, int]  # preferred
    url: str  # with the names of ports
    launches: Callable[[Path, Mapping[str, int]], list[Launch]]
    answers: Callable[[int], None]
    asked: tuple[str, ...] = ("main",)  # the ports that have to answer
    roles: tuple[str, ...] = ("server",)  # of the processes that are the server, each a node of it
    by_default: bool = True  # started with the others; else only by its name
    stop_signal: int = signal.SIGTERM
    start_s_max: float = 90.0
    stop_s_max: float = 30.0


def needed(name: str) -> str:
    path = program(name)
    if path is None:
        raise NotAvailableError(f"{name} is not installed")
    return path


def written(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


# RabbitMQ


def rabbitmq(folder: Path, ports: Mapping[str, int]) -> list[Launch]:
    """Its own epmd first: one that Erlang starts is shared with every Erlang program, and stays behind."""
    configuration = [
        f"listeners.tcp.default = 127.0.0.1:{ports['main']}",
        "log.console = true",
        "log.console.level = warning",
        "log.file = false",
        "disk_free_limit.absolute = 100MB",
        "vm_memory_high_watermark.absolute = 1GB",
    ]
    data = folder / "data"
    data.mkdir(exist_ok=True)
    env = {
        "HOME": str(folder),  # the cookie is there
        "ERL_AFLAGS": "-start_epmd false",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(ports["epmd"]),
        "RABBITMQ_NODENAME": "commute@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(ports["main"]),
        "RABBITMQ_DIST_PORT": str(ports["distribution"]),
        "RABBITMQ_MNESIA_BASE": str(data),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONFIG_FILE": str(written(folder / "rabbitmq.conf", configuration)),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(written(folder / "advanced.config", ["[]."])),
        "RABBITMQ_CONF_ENV_FILE": str(written(folder / "rabbitmq-env.conf", [])),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(written(folder / "enabled_plugins", ["[]."])),
        # Schedulers that spin while they wait would take the cores from the tests.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}"
        " +sbwt none +sbwtdcpu none +sbwtdio none",
        # The script then becomes the server, in place of watching it: the pid is the server's.
        "RUNNING_UNDER_SYSTEMD": "true",
    }
    epmd = [needed("epmd"), "-address", "127.0.0.1", "-port", str(ports["epmd"])]
    first = Launch(role="epmd", command=epmd, env=env, listens_at=ports["epmd"])
    return [first, Launch(command=[needed("rabbitmq-server")], env=env)]


# Mosquitto


def mosquitto(folder: Path, ports: Mapping[str, int]) -> list[Launch]:
    """Limits off, as far as it lets them; started by root it would become another user, who may not write here."""
    (folder / "data").mkdir(exist_ok=True)
    saves = os.environ.get("COMMUTE_MOSQUITTO") != "default"
    configuration = [
        f"listener {ports['main']} 127.0.0.1",
        "allow_anonymous true",
        "persistence true",
        f"persistence_location {folder / 'data'}/",
        *(["autosave_interval 1", "autosave_on_changes true"] if saves else []),
        "max_inflight_messages 0",
        "max_queued_messages 0",
        "max_queued_bytes 0",
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
    ]
    if os.geteuid() == 0:
        configuration.append("user root")
    written(folder / "mosquitto.conf", configuration)
    return [Launch(command=[needed("mosquitto"), "-c", "mosquitto.conf"])]


# Apache Kafka


NODES = ("node-1", "node-2", "node-3")
USER, PASSWORD = "commute", "commute"


def kafka(folder: Path, ports: Mapping[str, int]) -> list[Launch]:
    """One node that is broker and controller (KRaft), without the copies and waits meant for clusters. At the port
    `sasl` it speaks TLS, with certificate.pem, and asks who one is: USER may do all, guest may look at nothing."""
    certified(folder)
    configuration = [
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        f"super.users=User:ANONYMOUS;User:{USER}",
        "ssl.keystore.type=PEM",
        "ssl.keystore.location=keystore.pem",
        "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256",
        "listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule "
        f'required user_{USER}="{PASSWORD}" user_guest="guest";',
        "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config="
        "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        "offsets.topic.replication.factor=1",
        "transaction.state.log.replication.factor=1",
        "transaction.state.log.min.isr=1",
        "share.coordinator.state.topic.replication.factor=1",
        "share.coordinator.state.topic.min.isr=1",
    ]
    voters = f"1@127.0.0.1:{ports['controller']}"
    listeners = {"PLAINTEXT": ports["main"], "SASL_SSL": ports["sasl"]}
    return [kafka_node(folder, 1, listeners, voters, configuration, ["-Xms128m", "-Xmx384m"])]


def kafka_cluster(folder: Path, ports: Mapping[str, int]) -> list[Launch]:
    """Three such nodes. A topic has three copies and is confirmed by two, unless it says otherwise."""
    configuration = [
        "default.replication.factor=3",
        "min.insync.replicas=2",
        # How long a follower may be silent, or behind, and still be waited for: tests wait as long.
        "replica.lag.time.max.ms=3000",
        "replica.fetch.wait.max.ms=200",
    ]
    voters = ",".join(f"{number}@127.0.0.1:{ports[f'controller-{number}']}" for number in (1, 2, 3))
    jvm = ["-Xms64m", "-Xmx256m", "-XX:TieredStopAtLevel=1"]  # soon there, though never fast
    with ThreadPoolExecutor(len(NODES)) as pool:  # each makes its storage first, with a Java of its own
        made = [
            pool.submit(kafka_node, folder, number, {"PLAINTEXT": ports[f"node-{number}"]}, voters, configuration, jvm)
            for number in (1, 2, 3)
        ]
    return [replace(one.result(), role=role) for role, one in zip(NODES, made, strict=True)]


def kafka_node(
    folder: Path, number: int, ports: Mapping[str, int], voters: str, more: list[str], jvm: list[str]
) -> Launch:
    """Broker and controller in one process, with small indexes and few threads. `ports`: where it listens, by Kafka's
    name of the protocol; `voters`: all controllers."""
    listeners = ",".join(f"{protocol}://127.0.0.1:{port}" for protocol, port in ports.items())
    controller = next(voter.partition("@")[2] for voter in voters.split(",") if voter.startswith(f"{number}@"))
    data = Path("data") if voters.count("@") == 1 else Path("data", str(number))
    configuration = [
        "process.roles=broker,controller",
        f"node.id={number}",
        f"listeners={listeners},CONTROLLER://{controller}",
        f"advertised.listeners={listeners}",
        "controller.listener.names=CONTROLLER",
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL",
        f"controller.quorum.voters={voters}",
        f"log.dirs={data}",
        "log.index.size.max.bytes=1048576",
        "log.cleaner.dedupe.buffer.size=16777216",
        "num.network.threads=2",
        "num.io.threads=4",
        "background.threads=2",
        "offsets.topic.num.partitions=4",
        "transaction.state.log.num.partitions=4",
        "share.coordinator.state.topic.num.partitions=1",
        "group.initial.rebalance.delay.ms=0",
        "controlled.shutdown.enable=false",
        # After kill -9 the node's former life holds its registration for this long.
        "broker.session.timeout.ms=3000",
        "broker.heartbeat.interval.ms=500",
        *more,
    ]
    file = written(folder / f"server-{number}.properties", configuration).name
    java = [
        needed("java"),
        *jvm,
        "-XX:+UseSerialGC",
        f"-Dlog4j2.configurationFile={HERE / 'kafka' / 'log4j2.properties'}",
        "-cp",
        f"{jars(folder.parent / 'kafka')}/*",
    ]
    if not (folder / data / "meta.properties").exists():
        shutil.rmtree(folder / data, ignore_errors=True)
        new = ["format", "--config", file, "--cluster-id", "commute-test-cluster"]
        done = run([*java, "kafka.tools.StorageTool", *new], timeout_s=SETUP_S_MAX, cwd=folder)
        if done.returncode != 0:
            raise NotAvailableError(f"Kafka's storage could not be made: {last_line(done.stdout)}")
    return Launch(command=[*java, "kafka.Kafka", file])


def certified(folder: Path) -> None:
    """Have a key and a certificate for 127.0.0.1 that vouches for itself: certificate.pem, and both in keystore.pem."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    if (folder / "keystore.pem").exists():
        return
    command = [needed("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "3650", "-subj", "/CN=commute-test", "-addext", "subjectAltName=IP:127.0.0.1"]
    done = run([*command, "-keyout", str(key), "-out", str(certificate)], timeout_s=SETUP_S_MAX)
    if done.returncode != 0:
        raise NotAvailableError(f"openssl made no certificate: {last_line(done.stdout)}")
    key.chmod(0o600)
    written(folder / "keystore.pem", [key.read_text(), certificate.read_text()])


_maven = threading.Lock()


def jars(folder: Path) -> Path:
    """The folder of Kafka's jars, copied by Maven once for each content of the POM."""
    pom = HERE / "kafka" / "pom.xml"
    content = hashlib.sha256(pom.read_bytes()).hexdigest()[:12]
    place = folder / f"jars-{content}"
    with _maven:
        if not place.is_dir():
            fetch(pom, folder, place)
    return place


def fetch(pom: Path, folder: Path, place: Path) -> None:
    """Have Maven copy the jars to `place`, in place of older ones in `folder`. Raises NotAvailableError."""
    for older in folder.glob("jars-*"):
        shutil.rmtree(older)
    command = [needed("mvn"), "--batch-mode", "--no-transfer-progress", "-f", str(pom), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={place}.part"]
    done = run(command, timeout_s=JARS_S_MAX)
    if done.returncode != 0:
        errors = [line for line in done.stdout.splitlines() if line.startswith("[ERROR]")]
        raise NotAvailableError(f"Maven could not fetch its jars: {(errors or [last_line(done.stdout)])[0][:300]}")
    Path(f"{place}.part").rename(place)


# PostgreSQL


def postgresql(folder: Path, ports: Mapping[str, int]) -> list[Launch]:
    """It refuses to run as root: then it is the user postgres, and its data are where that user may go."""
    user = "postgres" if os.geteuid() == 0 else None
    data = folder_for(user, folder)
    if not (data / "PG_VERSION").exists():
        new = [needed("initdb"), "-D", str(data), "--username=commute", "--encoding=UTF8", "--locale=C", "--no-sync"]
        new += ["--auth-local=trust", "--auth-host=scram-sha-256"]
        alone = [needed("postgres"), "--single", "-D", str(data), "postgres"]
        first = "ALTER USER commute PASSWORD 'commute'\nCREATE DATABASE commute\n"
        for command, typed in ((new, ""), (alone, first)):
            done = run(command, timeout_s=SETUP_S_MAX, user=user, typed=typed, cwd=Path("/"))
            if done.returncode != 0:
                shutil.rmtree(data)
                raise NotAvailableError(f"its data folder could not be made: {last_line(done.stdout)}")
    forget_the_dead(data / "postmaster.pid")
    options = {
        "port": ports["main"],
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "shared_buffers": "32MB",
    }
    command = [needed("postgres"), "-D", str(data)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    return [Launch(command=command, user=user)]


def forget_the_dead(lock: Path) -> None:
    """Remove PostgreSQL's lock file if its process is dead and merely not collected by its parent, which may take
    seconds, or for ever in a container: PostgreSQL cannot tell that from a living one. That no server process still
    uses the data it finds out by other means."""
    if lock.exists() and start_of(int(lock.read_text().split()[0])) is None:
        lock.unlink()


def folder_for(user: str | None, folder: Path) -> Path:
    """A data folder that `user` owns and can reach: below `folder`, or, where a clone is private, a temporary one."""
    data = folder / "data"
    if data.exists():
        return data.resolve()
    data.mkdir(mode=0o700)
    if user is None:
        return data
    shutil.chown(data, user, user)
    if run(["test", "-w", str(data)], timeout_s=10, user=user, cwd=Path("/")).returncode == 0:
        return data
    data.rmdir()
    elsewhere = Path(tempfile.mkdtemp(prefix="commute-postgresql-"))
    shutil.chown(elsewhere, user, user)
    data.symlink_to(elsewhere)
    return elsewhere


def drop_data(folder: Path) -> None:
    """Forget what the broker in this folder stored; it must not run."""
    data = folder / "data"
    if data.is_symlink():
        shutil.rmtree(data.resolve(), ignore_errors=True)
        data.unlink()
    shutil.rmtree(data, ignore_errors=True)


SERVERS = {
    server.name: server
    for server in (
        Server(
            name="rabbitmq",
            packages={"rabbitmq-server": "rabbitmq-server", "epmd": "erlang-base"},
            ports={"main": 20672, "distribution": 20673, "epmd": 20674},
            url="amqp://guest:guest@127.0.0.1:{main}/",
            launches=rabbitmq,
            answers=handshakes.amqp,
        ),
        Server(
            name="mqtt",
            packages={"mosquitto": "mosquitto"},
            ports={"main": 20883},
            url="mqtt://127.0.0.1:{main}",
            launches=mosquitto,
            answers=handshakes.mqtt,
            start_s_max=30,
        ),
        Server(
            name="kafka",
            packages={"java": "default-jre-headless", "mvn": "maven", "openssl": "openssl"},
            ports={"main": 20092, "controller": 20093, "sasl": 20090},
            url="kafka://127.0.0.1:{main}",
            launches=kafka,
            answers=handshakes.kafka,
        ),
        Server(
            name="kafka3",
            packages={"java": "default-jre-headless", "mvn": "maven"},
            ports=dict(zip((*NODES, "controller-1", "controller-2", "controller-3"), range(20094, 20100), strict=True)),
            url="kafka://127.0.0.1:{node-1},127.0.0.1:{node-2},127.0.0.1:{node-3}",
            launches=kafka_cluster,
            answers=handshakes.kafka,
            asked=NODES,
            roles=NODES,
            by_default=False,
            stop_signal=signal.SIGKILL,  # the last two would wait for a majority
        ),
        Server(
            name="postgresql",
            packages={"postgres": "postgresql", "initdb": "postgresql"},
            ports={"main": 20432},
            url="postgresql://commute:commute@127.0.0.1:{main}/commute",
            launches=postgresql,
            answers=handshakes.postgresql,
            stop_signal=signal.SIGINT,  # do not wait for clients to leave
        ),
    )
}
