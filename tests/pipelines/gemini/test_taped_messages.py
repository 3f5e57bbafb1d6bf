"""What comes from the model, on the tape: audio as it was decoded, all else as it came."""

import json
from base64 import b64encode

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from pipelines.gemini.audio_socket import AudioSocket
from pipelines.gemini.messages import Words
from pipelines.recording.tape import Kind, Tape, TapedMessage

SPEECH = [bytes([number]) * 1920 for number in range(1, 4)]
WORDS = {"serverContent": {"outputTranscription": {"text": "Hello."}}}
LAST = {"serverContent": {"turnComplete": True}}


def said(pcm: bytes) -> str:
    data = {"mimeType": "audio/pcm;rate=24000", "data": b64encode(pcm).decode()}
    return json.dumps({"serverContent": {"modelTurn": {"parts": [{"inlineData": data}]}}})


async def test_every_message_is_on_the_tape_and_its_audio_is_decoded_once() -> None:
    messages = [said(SPEECH[0]), json.dumps(WORDS), *map(said, SPEECH[1:]), json.dumps(LAST)]

    async def play(connection: ServerConnection) -> None:
        await connection.recv()
        for message in messages:
            await connection.send(message.encode())
        await connection.wait_closed()

    came: list[bytes | Words] = []

    async def keep(content: bytes | Words) -> None:
        came.append(content)

    tape = Tape(lambda: 0.0)
    async with serve(play, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}"
        async with connect(url, create_connection=AudioSocket, compression=None) as socket:
            assert isinstance(socket, AudioSocket)
            socket.tape_on(tape)
            socket.listen(keep, keep)
            await socket.send("{}")
            assert json.loads(await socket.recv(decode=False)) == LAST

    taped = [content for _, kind, _, content in tape.take() if kind == Kind.MODEL_IN]
    contents = [message.content for message in taped if isinstance(message, TapedMessage)]
    assert b"".join(one for one in came if isinstance(one, bytes)) == b"".join(SPEECH)
    assert [one[1] for one in contents if isinstance(one, tuple)] == SPEECH
    assert [written(content) for content in contents] == messages


def written(content: bytes | tuple[str, bytes, str]) -> str:
    if isinstance(content, bytes):
        return content.decode()
    before, audio, behind = content
    return before + b64encode(audio).decode() + behind
