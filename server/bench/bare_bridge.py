"""The least that carries a call between Twilio and Gemini Live: what this system is compared with.

One task a direction, no framework, no record, no measures: JSON, base64, mu-law and the resampling
that a phone call cannot do without, which is ours. A good engineer would write it like this.

Sources: https://www.twilio.com/docs/voice/media-streams/websocket-messages, ai.google.dev/api/live
"""

import asyncio
import audioop
import base64
import json
import os
import socket
import sys
from contextlib import suppress

import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from processors.polyphase import Polyphase
from server.bench.texts import AGENT_VOICE, GREETING, system_prompt

GEMINI_PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
MODEL = "models/gemini-3.8-live"
PHONE_RATE, GEMINI_HEARS_AT, GEMINI_SPEAKS_AT = 8_000, 16_000, 24_000


def gemini_url() -> str:
    """Where Gemini Live is, with the key."""
    base = os.environ["GOOGLE_GEMINI_BASE_URL"].replace("https://", "wss://", 1)
    return f"{base}{GEMINI_PATH}?key={os.environ['GEMINI_API_KEY']}"


def setup(number: str) -> str:
    """The session's first message."""
    voice = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": AGENT_VOICE}}}
    return json.dumps(
        {
            "setup": {
                "model": MODEL,
                "generationConfig": {"responseModalities": ["AUDIO"], "speechConfig": voice},
                "systemInstruction": {"parts": [{"text": system_prompt(number)}]},
            }
        }
    )


async def carry(twilio: ServerConnection) -> None:
    """One call, from Twilio's first message to its last."""
    with suppress(ConnectionClosed):
        await twilio.recv()
        start = json.loads(await twilio.recv())["start"]
        async with connect(gemini_url(), compression=None, ping_interval=None) as gemini:
            await gemini.send(setup(start["customParameters"]["to_number"]))
            await gemini.recv()
            hello = {"realtimeInput": {"text": f"Greet the caller. Say: {GREETING}"}}
            await gemini.send(json.dumps(hello))
            down = asyncio.create_task(to_phone(gemini, twilio, start["streamSid"]))
            try:
                await to_model(twilio, gemini)
            finally:
                down.cancel()


async def to_model(twilio: ServerConnection, gemini: ClientConnection) -> None:
    """What the caller says: 8 kHz mu-law, 16 kHz PCM16 to Gemini."""
    resampler = Polyphase(PHONE_RATE, GEMINI_HEARS_AT)
    async for text in twilio:
        message = json.loads(text)
        if message["event"] == "stop":
            return
        if message["event"] != "media":
            continue
        pcm = audioop.ulaw2lin(base64.b64decode(message["media"]["payload"]), 2)
        sound = base64.b64encode(resampler.convert(pcm)).decode()
        audio = {"data": sound, "mimeType": f"audio/pcm;rate={GEMINI_HEARS_AT}"}
        await gemini.send(json.dumps({"realtimeInput": {"audio": audio}}))


async def to_phone(gemini: ClientConnection, twilio: ServerConnection, stream_sid: str) -> None:
    """What the model says: 24 kHz PCM16, 8 kHz mu-law to Twilio; an interruption empties it."""
    resampler = Polyphase(GEMINI_SPEAKS_AT, PHONE_RATE)

    async def play(pcm: bytes) -> None:
        sound = base64.b64encode(audioop.lin2ulaw(pcm, 2)).decode()
        media = {"event": "media", "streamSid": stream_sid, "media": {"payload": sound}}
        await twilio.send(json.dumps(media))

    with suppress(ConnectionClosed):
        async for text in gemini:
            content = json.loads(text).get("serverContent", {})
            if content.get("interrupted"):
                resampler.reset()
                await twilio.send(json.dumps({"event": "clear", "streamSid": stream_sid}))
            for part in content.get("modelTurn", {}).get("parts", ()):
                await play(resampler.convert(base64.b64decode(part["inlineData"]["data"])))
            if content.get("generationComplete"):
                await play(resampler.flush())


async def main(bound: socket.socket) -> None:
    """Serve on this socket until the process is told to end."""
    async with serve(carry, sock=bound, compression=None, ping_interval=None):
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(main(socket.socket(fileno=int(sys.argv[1]))))
