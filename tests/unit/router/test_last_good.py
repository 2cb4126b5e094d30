"""What is kept for a start without any source."""

from __future__ import annotations

from pathlib import Path

from modelrouter.router.inputs import Inputs
from modelrouter.router.last_good import LastGoodConfig
from modelrouter.router.services import Group, Port, Services


def test_configuration_keys_and_endpoints_come_back(tmp_path: Path) -> None:
    kept = LastGoodConfig(tmp_path / "state")
    assert kept.load() is None
    inputs = Inputs({"version": "1"}, {"provider": {"api-key": "planted"}})
    services, again = Services(), Services()
    services.put("a", "a-1", Group((Port("http", 8000),), (("10.0.0.1", "u"),)))
    kept.save(inputs)
    kept.save_endpoints(services.plain())
    assert LastGoodConfig(tmp_path / "state").load() == inputs
    kept.load_endpoints(again)
    assert again.groups == services.groups


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    kept = LastGoodConfig(tmp_path)
    kept.save(Inputs({"version": "1"}, {"provider": {"api-key": "planted"}}))
    kept.save_endpoints(Services().plain())
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path


def test_broken_endpoints_are_as_good_as_none(tmp_path: Path) -> None:
    for content in ("", "{", "[]", '{"services": 7}'):
        (tmp_path / "last-good-endpoints.json").write_text(content)
        services = Services()
        LastGoodConfig(tmp_path).load_endpoints(services)
        assert services.groups == {}
