"""Which calls a cassette is kept of."""

from pathlib import Path

import pytest

from agent.lifecycle.statuses import CallStatus
from agent.record.models import Call, Direction, EndReason
from server.cassettes.policy import CassettePolicy
from server.settings.cassette_values import Which


def policy(which: Which) -> CassettePolicy:
    return CassettePolicy(which, Path("cassettes"), 1_000_000, 30)


def ended(status: CallStatus, reason: EndReason) -> Call:
    return Call(
        id="0" * 32,
        direction=Direction.OUTBOUND,
        phone_number="+15550100123",
        pipeline="phone_call",
        profile={},
        status=status,
        end_reason=reason,
    )


def test_what_the_request_says_wins() -> None:
    assert policy("off").begins("a", True)
    assert not policy("all").begins("a", False)
    assert policy("all").begins("a", None)
    assert not policy("off").begins("a", None)


def test_a_share_is_the_same_on_every_instance_and_about_as_large() -> None:
    ids = [f"{number:032x}" for number in range(4_000)]
    begun = [policy(0.05).begins(call_id, None) for call_id in ids]

    assert begun == [policy(0.05).begins(call_id, None) for call_id in ids]
    assert 0.03 < sum(begun) / len(begun) < 0.07


@pytest.mark.parametrize(
    ("status", "reason", "kept"),
    [
        (CallStatus.COMPLETED, EndReason.CALLER, False),
        (CallStatus.COMPLETED, EndReason.NO_MODEL, True),
        (CallStatus.COMPLETED, EndReason.SYSTEM, True),
        (CallStatus.FAILED, EndReason.SYSTEM, True),
    ],
)
def test_of_failed_calls_alone(status: CallStatus, reason: EndReason, kept: bool) -> None:
    assert policy("failed").keeps(ended(status, reason), None) is kept
    assert policy("failed").keeps(ended(status, reason), True)
    assert policy("all").keeps(ended(status, reason), None)
