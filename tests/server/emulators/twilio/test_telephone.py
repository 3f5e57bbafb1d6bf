import asyncio

import pytest
from twilio.request_validator import RequestValidator

from server.emulators.twilio import (
    Answer,
    Behaviour,
    Busy,
    CallbackPlan,
    CallOver,
    Handset,
    HangUp,
    NoAnswer,
    Person,
    Rejected,
    TwilioEmulator,
    Unreachable,
    Voicemail,
)
from tests.server.emulators.twilio.application import Application
from tests.server.emulators.twilio.conftest import form

PAUSE = '<Response><Pause length="60"/></Response>'


def told(application: Application) -> list[str]:
    return [seen.form["CallStatus"] for seen in application.seen("/status")]


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("behaviour", "statuses", "sip_code"),
    [
        (Busy(), ["initiated", "busy"], "486"),
        (Busy(ring_secs=0.05), ["initiated", "ringing", "busy"], "486"),
        (Rejected(ring_secs=0.05), ["initiated", "ringing", "busy"], "603"),
        (Unreachable(), ["initiated", "failed"], "404"),
        (NoAnswer(), ["initiated", "ringing", "no-answer"], "487"),
        (Answer(ring_secs=5), ["initiated", "ringing", "no-answer"], "487"),
        (Answer(ring_secs=0.05), ["initiated", "ringing", "in-progress", "completed"], "200"),
    ],
)
async def test_each_way_of_ringing_tells_its_statuses_in_order(
    twilio: TwilioEmulator,
    application: Application,
    behaviour: Behaviour,
    statuses: list[str],
    sip_code: str,
) -> None:
    twilio.people["+15550100"] = behaviour
    call = twilio.place(form(application, Timeout="1"))
    assert await call.settled() == statuses[-1]
    assert told(application) == statuses
    assert [status for _, status in call.record.statuses] == ["queued", *statuses]
    last = application.seen("/status")[-1].form
    assert last["SipResponseCode"] == sip_code
    assert last["CallDuration"] == "0"
    sequence = [seen.form["SequenceNumber"] for seen in application.seen("/status")]
    assert sequence == [str(number) for number in range(len(statuses))]


async def test_every_request_is_signed_over_its_url_and_form(
    twilio: TwilioEmulator, application: Application
) -> None:
    application.answers["/twiml"] = "<Response/>"
    call = twilio.place(form(application, Url=application.url("/twiml?a=1&b=2#rc=2")))
    await call.settled()
    assert len(application.requests) == 5
    validator = RequestValidator(twilio.auth_token)
    for seen in application.requests:
        assert validator.validate(seen.url, seen.form, seen.signature), seen
        assert seen.form["CallSid"] == call.sid
        assert seen.form["AccountSid"] == twilio.account_sid


async def test_twiml_by_get_carries_its_parameters_in_the_query(
    twilio: TwilioEmulator, application: Application
) -> None:
    application.answers["/twiml"] = "<Response/>"
    call = twilio.place(form(application, Method="GET"))
    await call.settled()
    (seen,) = application.seen("/twiml")
    assert (seen.method, seen.form) == ("GET", {})
    assert f"CallSid={call.sid}" in seen.url
    assert RequestValidator(twilio.auth_token).validate(seen.url, {}, seen.signature)


async def test_only_the_events_asked_for_are_told(
    twilio: TwilioEmulator, application: Application
) -> None:
    order = form(application)
    del order["StatusCallbackEvent"]
    await twilio.place(order).settled()
    assert told(application) == ["completed"]


async def test_an_unknown_event_is_a_warning(
    twilio: TwilioEmulator, application: Application
) -> None:
    call = twilio.place(form(application, StatusCallbackEvent="picked-up completed"))
    await call.settled()
    assert 21626 in [error.code for error in call.record.errors]
    assert told(application) == ["completed"]


async def test_callbacks_can_be_lost_and_doubled(
    twilio: TwilioEmulator, application: Application
) -> None:
    twilio.callbacks = CallbackPlan(lose={"answered", "completed"}, twice=True)
    call = twilio.place(form(application))
    await call.settled()
    assert told(application) == ["initiated", "initiated", "ringing", "ringing"]
    assert [(told.event, told.lost, told.answers) for told in call.record.callbacks] == [
        ("initiated", False, [204, 204]),
        ("ringing", False, [204, 204]),
        ("answered", True, []),
        ("completed", True, []),
    ]


async def test_a_late_callback_is_overtaken(
    twilio: TwilioEmulator, application: Application
) -> None:
    twilio.callbacks = CallbackPlan(delay_secs={"ringing": 0.3})
    await twilio.place(form(application)).settled()
    assert told(application) == ["initiated", "in-progress", "completed", "ringing"]


async def test_an_application_that_is_gone_is_noted(
    twilio: TwilioEmulator, application: Application
) -> None:
    call = twilio.place(form(application, StatusCallback="http://127.0.0.1:9/status"))
    await call.settled()
    assert [callback.answer for callback in call.record.callbacks] == [None] * 4


async def test_the_person_hangs_up(twilio: TwilioEmulator, application: Application) -> None:
    application.answers["/twiml"] = PAUSE
    twilio.people["+15550100"] = Person([HangUp()])
    call = twilio.place(form(application))
    assert await call.ended() == "completed"
    assert call.hung_up_by == "caller"


async def test_who_waits_for_what_never_comes_is_told(
    twilio: TwilioEmulator, application: Application
) -> None:
    twilio.people["+15550100"] = Busy()
    call = twilio.place(form(application))
    with pytest.raises(CallOver):
        await call.until("in-progress")
    with pytest.raises(CallOver):
        await call.happened("stream.started")


async def test_a_person_who_fails_hangs_up_and_leaves_a_note(
    twilio: TwilioEmulator, application: Application
) -> None:
    async def clumsy(phone: Handset) -> None:
        await phone.press("x")

    application.answers["/twiml"] = PAUSE
    twilio.people["+15550100"] = clumsy
    call = twilio.place(form(application))
    await call.settled()
    (failed,) = call.record.all("person.failed")
    assert "'x'" in failed.detail["problem"]


@pytest.mark.parametrize(
    ("behaviour", "wanted", "answered_by"),
    [
        (Answer(), "Enable", "human"),
        (Voicemail("Leave a message."), "Enable", "machine_start"),
        (Voicemail("Hello."), "DetectMessageEnd", "machine_end_beep"),
    ],
)
async def test_a_machine_is_told_from_a_person_before_twiml_is_fetched(
    twilio: TwilioEmulator,
    application: Application,
    behaviour: Behaviour,
    wanted: str,
    answered_by: str,
) -> None:
    application.answers["/twiml"] = "<Response/>"
    twilio.people["+15550100"] = behaviour
    call = twilio.place(form(application, MachineDetection=wanted))
    await call.settled()
    (fetched,) = application.seen("/twiml")
    assert fetched.form["AnsweredBy"] == answered_by == call.answered_by


async def test_detection_meanwhile_tells_its_own_callback(
    twilio: TwilioEmulator, application: Application
) -> None:
    application.answers["/twiml"] = PAUSE
    twilio.people["+15550100"] = Voicemail("Leave a message.")
    call = twilio.place(
        form(
            application,
            MachineDetection="Enable",
            AsyncAmd="true",
            AsyncAmdStatusCallback=application.url("/amd"),
        )
    )
    await application.changes.until(lambda: bool(application.seen("/amd")))
    assert "AnsweredBy" not in application.seen("/twiml")[0].form
    assert application.seen("/amd")[0].form["AnsweredBy"] == "machine_start"
    call.hang_up()
    assert await call.ended() == "completed"


async def test_somebody_calls_in(twilio: TwilioEmulator, application: Application) -> None:
    application.answers["/inbound"] = PAUSE
    call = await twilio.call_in(
        "+15550100",
        "+15550001",
        application.url("/inbound"),
        Person([HangUp()]),
        status_callback=application.url("/status"),
    )
    assert await call.settled() == "completed"
    (asked,) = application.seen("/inbound")
    assert asked.form["Direction"] == "inbound"
    assert asked.form["CallStatus"] == "ringing"
    assert asked.form["From"] == "+15550100"
    assert RequestValidator(twilio.auth_token).validate(asked.url, asked.form, asked.signature)
    assert told(application) == ["completed"]


@pytest.mark.parametrize(("reason", "status"), [("busy", "busy"), ("rejected", "failed")])
async def test_a_rejected_call_was_never_answered(
    twilio: TwilioEmulator, application: Application, reason: str, status: str
) -> None:
    application.answers["/inbound"] = f'<Response><Reject reason="{reason}"/></Response>'
    call = await twilio.call_in("+15550100", "+15550001", application.url("/inbound"))
    assert await call.ended() == status
    assert call.line is None


async def test_closing_the_emulator_ends_everything(application: Application) -> None:
    before = asyncio.all_tasks()
    application.answers["/twiml"] = application.stream_twiml()
    async with TwilioEmulator() as twilio:
        twilio.place(form(application))
        await application.socket()
    remaining = {task for task in asyncio.all_tasks() - before if "twilio" in repr(task.get_coro())}
    assert remaining == set()
