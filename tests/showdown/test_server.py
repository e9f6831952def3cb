import asyncio
import socket

import pytest
from poke_env import AccountConfiguration, RandomPlayer, ServerConfiguration
from websockets.sync.client import connect

from jaxnash.showdown import simulator
from jaxnash.showdown.server import Server
from jaxnash.showdown.teams import load_teams
from jaxnash.types import JaxnashError


def reachable(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def test_server_speaks_showdown_on_the_loopback_only():
    with Server() as server:
        with connect(server.url) as client:
            greeting = [client.recv(timeout=10) for _ in range(2)]
        assert any(message.startswith("|challstr|") for message in greeting)
        assert reachable("127.0.0.1", server.port)
        assert not reachable("127.0.0.2", server.port)  # answers where every interface is listened to
    assert not reachable("127.0.0.1", server.port)


def test_two_servers_and_a_battle_on_each():
    async def battle(server, name):
        configuration = ServerConfiguration(server.url, "")
        players = [
            RandomPlayer(
                account_configuration=AccountConfiguration(f"{name}{i}", None),
                battle_format="gen1ou",
                server_configuration=configuration,
                team=load_teams("train").packed[i],
                log_level=40,
            )
            for i in (0, 1)
        ]
        await asyncio.wait_for(players[0].battle_against(players[1], n_battles=2), 60)
        return players[0].n_finished_battles

    with Server() as one, Server() as other:
        assert one.port != other.port
        assert asyncio.run(battle(one, "one")) == 2
        assert asyncio.run(battle(other, "other")) == 2
    package = simulator.install() / "pokemon-showdown"
    assert not (package / "logs").exists() and not (package / "config" / "config.js").exists()


def test_busy_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(JaxnashError, match=f"port {port} cannot be used"), Server(port=port):
            pass
