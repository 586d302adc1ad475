import pytest

from infra.names import fit_role


@pytest.mark.parametrize(
    ("name", "role", "named"),
    [
        ("smtp-proxy-prod", "587-blue", "smtp-proxy-prod-587-blue"),
        ("smtp-proxy-prod-relay", "587-blue", "smtp-pro-52f983-587-blue"),
        ("smtp-proxy-dev-relay", "587-blue", "smtp-pro-e3ad48-587-blue"),
    ],
)
def test_a_role_stays_readable_where_a_name_is_cut(name: str, role: str, named: str) -> None:
    assert fit_role(name, role, 32) == named
    assert len(named) <= 32 - 8
