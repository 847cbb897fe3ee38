"""Tells clients apart by their addresses, for everything that is counted for each of them."""

from __future__ import annotations

from ipaddress import ip_address, ip_network


def network_of(address: str) -> str:
    """Give the client's address; of IPv6 the network, since one household has 2^64 addresses."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((found, 64), strict=False)) if found.version == 6 else address


def is_loopback(address: str) -> bool:
    """Say whether *address* is this machine's own, as 127.0.0.1 is and ::1."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def is_within(address: str, networks: tuple[str, ...]) -> bool:
    """Say whether *address* is one of *networks*, which are addresses or networks, or in one."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return any(found in ip_network(network) for network in networks)
