"""Failed attempts of an address: some at once, then one a second, in bounded memory."""

from server.http.attempt_limit import ADDRESSES_AT_MOST, AT_ONCE, AttemptLimit


def test_an_address_that_fails_too_often_waits_and_others_do_not() -> None:
    now = 100.0
    limit = AttemptLimit(clock=lambda: now)
    assert [limit.take("192.0.2.1") for _ in range(AT_ONCE + 2)] == [0] * AT_ONCE + [1, 1]
    assert limit.take("192.0.2.2") == 0
    now += 1
    assert [limit.take("192.0.2.1") for _ in range(2)] == [0, 1]
    now += 10 * AT_ONCE
    assert [limit.take("192.0.2.1") for _ in range(AT_ONCE + 1)] == [0] * AT_ONCE + [1]


def test_the_addresses_of_one_ipv6_network_are_one_client() -> None:
    limit = AttemptLimit(clock=lambda: 0.0)
    taken = [limit.take(f"2001:db8::{host:x}") for host in range(AT_ONCE + 1)]
    assert taken == [0] * AT_ONCE + [1]
    assert limit.take("2001:db8:0:1::1") == 0


def test_the_latest_addresses_are_remembered_and_no_more() -> None:
    limit = AttemptLimit(clock=lambda: 0.0)
    for _ in range(AT_ONCE):
        limit.take("192.0.2.1")
    for number in range(ADDRESSES_AT_MOST - 1):
        limit.take(f"client {number}")
    assert limit.take("192.0.2.1") == 1
    limit.take("one more")
    assert limit.take("192.0.2.1") == 0
