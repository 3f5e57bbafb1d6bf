"""The plainest phone bot that Pipecat's documentation leads to: what this system is compared with.

Nothing here is tuned and nothing is left out. Twilio is told by TwiML to open a WebSocket; there, a
pipeline is built from Pipecat's own transport, serializer, Gemini service and context aggregators.
It runs at the phone's 8 kHz, as Pipecat's guide to Twilio says, or at Pipecat's own rates, which
its starter for Gemini on the phone leaves as they are.

Sources: https://docs.pipecat.ai/pipecat/telephony/twilio-websockets,
https://docs.pipecat.ai/pipecat/features/gemini-live and the phone bot among Pipecat's Gemini Live
starters (github.com/pipecat-ai/pipecat-examples).
"""

import os
import socket
import sys
from typing import Annotated
from xml.sax.saxutils import quoteattr

import uvicorn
from fastapi import FastAPI, Form, Request, Response, WebSocket
from pipecat.frames.frames import LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.services.google.gemini_live.llm import GeminiLiveLLMService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

from server.bench.texts import AGENT_VOICE, GREETING, OUR_NUMBER, system_prompt

TWIML = """<?xml version="1.0" encoding="UTF-8"?>
<Response><Connect><Stream url={url}><Parameter name="to_number" value={to}/></Stream></Connect>
</Response>"""

PARAMS = {
    "phone": PipelineParams(
        audio_in_sample_rate=8_000,
        audio_out_sample_rate=8_000,
        enable_metrics=True,
        enable_usage_metrics=True,
    ),
    "default": PipelineParams(enable_metrics=True, enable_usage_metrics=True),
}

app = FastAPI()


@app.post("/")
async def twiml(
    request: Request,
    to: Annotated[str, Form(alias="To")],
    caller: Annotated[str, Form(alias="From")],
) -> Response:
    """What Twilio shall do with an answered call."""
    url = f"ws://{request.url.netloc}/ws"
    number = caller if to == OUR_NUMBER else to
    document = TWIML.format(url=quoteattr(url), to=quoteattr(number))
    return Response(document, media_type="application/xml")


@app.websocket("/ws")
async def media(websocket: WebSocket) -> None:
    """One call, from Twilio's first message to its last."""
    await websocket.accept()
    _, call = await parse_telephony_websocket(websocket)
    serializer = TwilioFrameSerializer(
        stream_sid=call["stream_id"],
        call_sid=call["call_id"],
        account_sid=os.environ["TWILIO_ACCOUNT_SID"],
        auth_token=os.environ["TWILIO_AUTH_TOKEN"],
        base_url=os.environ["TWILIO_API_BASE_URL"],
    )
    transport = FastAPIWebsocketTransport(
        websocket=websocket,
        params=FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            add_wav_header=False,
            serializer=serializer,
        ),
    )
    llm = GeminiLiveLLMService(
        api_key=os.environ["GEMINI_API_KEY"],
        settings=GeminiLiveLLMService.Settings(
            system_instruction=system_prompt(call["body"]["to_number"]), voice=AGENT_VOICE
        ),
    )
    hello = f'Greet the caller: say this, word for word: "{GREETING}"'
    context = LLMContext([{"role": "user", "content": hello}])
    user_aggregator, assistant_aggregator = LLMContextAggregatorPair(context)
    worker = PipelineWorker(
        Pipeline(
            [
                transport.input(),
                user_aggregator,
                llm,
                transport.output(),
                assistant_aggregator,
            ]
        ),
        params=PARAMS[app.state.rates].model_copy(),
    )

    async def greet(_: FastAPIWebsocketTransport, __: WebSocket) -> None:
        await worker.queue_frames([LLMRunFrame()])

    async def leave(_: FastAPIWebsocketTransport, __: WebSocket) -> None:
        await worker.cancel()

    transport.add_event_handler("on_client_connected", greet)
    transport.add_event_handler("on_client_disconnected", leave)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def serve(bound: socket.socket, rates: str) -> None:
    """Serve on this socket until the process is told to end; `rates` is one of `PARAMS`."""
    app.state.rates = rates
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[bound])


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
