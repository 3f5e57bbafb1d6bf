"""What a client may say to Gemini Live, field by field.

Source: ai.google.dev/api/live, BidiGenerateContentClientMessage; api/generate-content.
Fields that only the Enterprise platform takes are unknown here, as they are to the real API.
"""

from typing import Any

from server.emulators.gemini_live.proto_json import (
    Check,
    InvalidMessage,
    anything,
    boolean,
    data,
    duration,
    enum,
    integer,
    list_of,
    map_of,
    message,
    number,
    struct,
    text,
)

_BLOB = message({"mimeType": text, "data": data, "displayName": text})
_EMPTY = message({})

_FUNCTION_CALL = message({"id": text, "name": text, "args": struct})
_FUNCTION_RESPONSE = message(
    {
        "id": text,
        "name": text,
        "response": struct,
        "willContinue": boolean,
        "scheduling": enum(
            "FunctionResponse.Scheduling",
            "SCHEDULING_UNSPECIFIED",
            "SILENT",
            "WHEN_IDLE",
            "INTERRUPT",
        ),
        "parts": list_of(message({"inlineData": _BLOB})),
    }
)
_PART = message(
    {
        "text": text,
        "thought": boolean,
        "thoughtSignature": data,
        "inlineData": _BLOB,
        "fileData": message({"fileUri": text, "mimeType": text, "displayName": text}),
        "functionCall": _FUNCTION_CALL,
        "functionResponse": _FUNCTION_RESPONSE,
        "executableCode": message({"code": text, "language": text, "id": text}),
        "codeExecutionResult": message({"outcome": text, "output": text, "id": text}),
        "videoMetadata": message({"startOffset": duration, "endOffset": duration, "fps": number}),
        "mediaResolution": anything,
        "partMetadata": struct,
    }
)
_CONTENT = message({"role": text, "parts": list_of(_PART)})

_SCHEMA_FIELDS: dict[str, Check] = {
    "type": enum(
        "Type",
        *("TYPE_UNSPECIFIED", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"),
    ),
    "format": text,
    "title": text,
    "description": text,
    "nullable": boolean,
    "enum": list_of(text),
    "pattern": text,
    "example": anything,
    "default": anything,
    "required": list_of(text),
    "propertyOrdering": list_of(text),
}
_SCHEMA_FIELDS |= dict.fromkeys(
    ["maxItems", "minItems", "minLength", "maxLength", "minProperties", "maxProperties"], integer
)
_SCHEMA_FIELDS |= dict.fromkeys(["minimum", "maximum"], number)
_SCHEMA = message(_SCHEMA_FIELDS)
_SCHEMA_FIELDS |= {"items": _SCHEMA, "anyOf": list_of(_SCHEMA), "properties": map_of(_SCHEMA)}

_FUNCTION_DECLARATION = message(
    {
        "name": text,
        "description": text,
        "behavior": enum("Behavior", "UNSPECIFIED", "BLOCKING", "NON_BLOCKING"),
        "parameters": _SCHEMA,
        "parametersJsonSchema": anything,
        "response": _SCHEMA,
        "responseJsonSchema": anything,
    }
)
_TOOLS = list_of(
    message(
        {
            "functionDeclarations": list_of(_FUNCTION_DECLARATION),
            "googleSearch": anything,
            "googleSearchRetrieval": anything,
            "codeExecution": _EMPTY,
            "urlContext": _EMPTY,
            "googleMaps": anything,
            "computerUse": anything,
            "fileSearch": anything,
            "mcpServers": anything,
        }
    )
)

_VOICE_FIELDS = {"prebuiltVoiceConfig": message({"voiceName": text}), "voice": text}
_VOICE = message(_VOICE_FIELDS)
_GENERATION_CONFIG = message(
    {
        "responseModalities": list_of(
            enum("Modality", "MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO", "VIDEO")
        ),
        "speechConfig": message(
            {
                "voiceConfig": _VOICE,
                "languageCode": text,
                "multiSpeakerVoiceConfig": message(
                    {
                        "speakerVoiceConfigs": list_of(
                            message({"speaker": text, "voiceConfig": _VOICE})
                        )
                    }
                ),
            }
        ),
        "thinkingConfig": message(
            {
                "includeThoughts": boolean,
                "thinkingBudget": integer,
                "thinkingLevel": enum(
                    "ThinkingConfig.ThinkingLevel",
                    *("THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH"),
                ),
            }
        ),
        "mediaResolution": enum(
            "MediaResolution",
            "MEDIA_RESOLUTION_UNSPECIFIED",
            "MEDIA_RESOLUTION_LOW",
            "MEDIA_RESOLUTION_MEDIUM",
            "MEDIA_RESOLUTION_HIGH",
        ),
        "enableAffectiveDialog": boolean,
        "candidateCount": integer,
        "maxOutputTokens": integer,
        "seed": integer,
        "temperature": number,
        "topP": number,
        "topK": number,
        "presencePenalty": number,
        "frequencyPenalty": number,
        "translationConfig": message({"targetLanguageCode": text, "echoTargetLanguage": boolean}),
    }
)

_REALTIME_INPUT_CONFIG = message(
    {
        "automaticActivityDetection": message(
            {
                "disabled": boolean,
                "startOfSpeechSensitivity": enum(
                    "StartSensitivity",
                    "START_SENSITIVITY_UNSPECIFIED",
                    "START_SENSITIVITY_HIGH",
                    "START_SENSITIVITY_LOW",
                ),
                "endOfSpeechSensitivity": enum(
                    "EndSensitivity",
                    "END_SENSITIVITY_UNSPECIFIED",
                    "END_SENSITIVITY_HIGH",
                    "END_SENSITIVITY_LOW",
                ),
                "prefixPaddingMs": integer,
                "silenceDurationMs": integer,
            }
        ),
        "activityHandling": enum(
            "ActivityHandling",
            "ACTIVITY_HANDLING_UNSPECIFIED",
            "START_OF_ACTIVITY_INTERRUPTS",
            "NO_INTERRUPTION",
        ),
        "turnCoverage": enum(
            "TurnCoverage",
            "TURN_COVERAGE_UNSPECIFIED",
            "TURN_INCLUDES_ONLY_ACTIVITY",
            "TURN_INCLUDES_ALL_INPUT",
            "TURN_INCLUDES_AUDIO_ACTIVITY_AND_ALL_VIDEO",
        ),
    }
)
_TRANSCRIPTION = message(
    {
        "languageCodes": list_of(text),
        "languageAuto": _EMPTY,
        "languageHints": message({"languageCodes": list_of(text)}),
        "customVocabulary": list_of(text),
        "adaptationPhrases": list_of(text),
    }
)

_SETUP = message(
    {
        "model": text,
        "generationConfig": _GENERATION_CONFIG,
        "systemInstruction": _CONTENT,
        "tools": _TOOLS,
        "realtimeInputConfig": _REALTIME_INPUT_CONFIG,
        "sessionResumption": message({"handle": text, "transparent": boolean}),
        "contextWindowCompression": message(
            {"triggerTokens": integer, "slidingWindow": message({"targetTokens": integer})}
        ),
        "inputAudioTranscription": _TRANSCRIPTION,
        "outputAudioTranscription": _TRANSCRIPTION,
        "proactivity": message({"proactiveAudio": boolean}),
        "historyConfig": message({"initialHistoryInClientContent": boolean}),
        "avatarConfig": anything,
        "safetySettings": list_of(message({"category": text, "threshold": text, "method": text})),
    }
)
_REALTIME_INPUT = message(
    {
        "mediaChunks": list_of(_BLOB),
        "audio": _BLOB,
        "video": _BLOB,
        "text": text,
        "audioStreamEnd": boolean,
        "activityStart": _EMPTY,
        "activityEnd": _EMPTY,
    }
)
_CLIENT_MESSAGE = message(
    {
        "setup": _SETUP,
        "clientContent": message({"turns": list_of(_CONTENT), "turnComplete": boolean}),
        "realtimeInput": _REALTIME_INPUT,
        "toolResponse": message({"functionResponses": list_of(_FUNCTION_RESPONSE)}),
        "contextUpdate": message(
            {"systemInstruction": _CONTENT, "tools": message({"tools": _TOOLS})}
        ),
    }
)


def check_client_message(parsed: Any) -> tuple[str, dict[str, Any]]:
    """Which message it is ("setup", "realtimeInput", …) and its checked content, in camelCase.

    Audio and other bytes come decoded.

    Raises: InvalidMessage.
    """
    fields: dict[str, Any] = _CLIENT_MESSAGE(parsed, "")
    if len(fields) != 1:
        raise InvalidMessage(
            "oneof field 'message_type' must have exactly one of setup, clientContent, "
            f"realtimeInput, toolResponse, contextUpdate; got {sorted(fields) or 'none'}"
        )
    return next(iter(fields.items()))
